"""The worker as QGIS has it: a process at the other end of two pipes."""

from __future__ import annotations

import dataclasses
import os
import queue
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from tilth_engine import jobs, protocol
from tilth_engine.jobs import DescribeJob, InspectJob, PlanJob, PredictJob

from .worlds import train_job

LAUNCH = Path(__file__).resolve().parents[2] / "plugin" / "engine" / "launch.py"
SOON = 60.0  # seconds; imports take their time on a busy machine


class Client:
    """A worker process, and its events as they come."""

    def __init__(self, folder, command=(str(LAUNCH), "worker")):
        self.log = (folder / "worker.log").open("wb")
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-u", "-X", "utf8", *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            env={**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": str(folder)},
        )
        self.lines = queue.Queue()
        self.seen = []
        threading.Thread(target=self._read, daemon=True).start()
        self.ready = self.next()

    def _read(self):
        for line in self.process.stdout:
            self.lines.put(protocol.decode(line))  # anything but JSON would end the test here
        self.lines.put(None)

    def next(self, timeout=SOON):
        event = self.lines.get(timeout=timeout)
        self.seen.append(event)
        return event

    def send(self, message):
        self.raw(protocol.encode(message))

    def raw(self, data):
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def run(self, name, job):
        self.send(protocol.run(name, job if isinstance(job, dict) else jobs.to_json(job)))

    def until(self, *kinds, name=None):
        """The first event of one of these kinds, of the job where one is named."""
        while True:
            event = self.next()
            if event is None:
                raise AssertionError(f"the worker is gone after {self.seen}")
            if event["event"] in kinds and (name is None or event.get("id") == name):
                return event

    def end(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.log.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("worker")


@pytest.fixture(scope="module")
def shared(folder):
    """One worker for the tests that leave it as it was."""
    client = Client(folder)
    yield client
    client.end()


@pytest.fixture
def fresh(tmp_path):
    clients = []

    def make(*arguments):
        clients.append(Client(tmp_path, *arguments))
        return clients[-1]

    yield make
    for client in clients:
        client.end()


@pytest.fixture
def endless(tmp_path):
    """A training that takes longer than any test."""
    return train_job(tmp_path, epochs=10_000, split="none", method="frozen")


def test_it_is_ready_at_once_and_says_who_it_is(fresh):
    client = fresh()

    assert client.ready == {
        "event": "ready",
        "protocol": protocol.VERSION,
        "version": "0.1.0",
        "pid": client.process.pid,
    }
    assert time.monotonic() - client.started < 3


def test_nothing_heavy_is_imported_to_be_ready():
    code = (
        "import runpy, sys; runpy.run_path(sys.argv[1]); import tilth_engine.worker;"
        "sys.exit(bool({'torch', 'numpy', 'rasterio'} & set(sys.modules)))"
    )

    assert subprocess.run([sys.executable, "-I", "-c", code, str(LAUNCH)]).returncode == 0


@pytest.mark.skipif(not hasattr(os, "getpriority"), reason="POSIX priorities")
def test_it_lets_others_go_first(shared):
    own = os.getpriority(os.PRIO_PROCESS, 0)

    assert os.getpriority(os.PRIO_PROCESS, shared.process.pid) == min(own + 10, 19)


def test_jobs_run_one_at_a_time_in_the_order_they_came(shared, trained):
    start = len(shared.seen)
    shared.run("a", DescribeJob())
    shared.run("b", InspectJob(trained.job.out))
    shared.run("ü", InspectJob(trained.job.out))
    shared.until("result", name="ü")

    told = [
        (event["id"], event["event"]) for event in shared.seen[start:] if event["event"] != "notice"
    ]
    assert told == [(name, kind) for name in ("a", "b", "ü") for kind in ("started", "result")]


def test_a_second_map_needs_no_loading(shared, trained, tmp_path):
    names = []
    for turn in range(2):
        out = str(tmp_path / f"{turn}.tif")
        job = PredictJob(trained.job.out, trained.job.images, out, device="cpu", threads=1)
        shared.run(f"map{turn}", job)
        result = shared.until("result", "error", name=f"map{turn}")["result"]
        names.append(result["map"])
    assert [Path(name).is_file() for name in names] == [True, True]
    assert result["seconds"] < 5


def test_a_job_tells_its_course(shared, tmp_path):
    start = len(shared.seen)
    shared.run("t", train_job(tmp_path, epochs=1, split="none", method="frozen"))
    result = shared.until("result", "error")

    assert result["event"] == "result"
    mine = [event for event in shared.seen[start:] if event["event"] != "ready"]
    assert {event["id"] for event in mine} == {"t"}
    assert [event["event"] for event in mine].count("metrics") == 1
    assert mine[0]["event"] == "started"
    assert any(event["event"] == "progress" and event["message"] for event in mine)


def test_a_plan_says_what_would_run(shared, tmp_path):
    shared.run("p", PlanJob(train_job(tmp_path)))

    plan = shared.until("result", "error")["result"]

    assert "2 classes" in plan["text"]
    assert plan["seconds"] > 0
    assert not (tmp_path / "adapter.tilth").exists()


@pytest.mark.parametrize(
    ("request_", "kind", "word"),
    [
        ({"request": "run", "id": "x", "job": {"kind": "steal"}}, "input", "steal"),
        ({"request": "run", "id": "x", "job": None}, "input", "object"),
        ({"request": "run", "id": "x"}, "input", "object"),
        (
            {"request": "run", "id": "x", "job": {"kind": "inspect", "adapter": "/no"}},
            "input",
            "no",
        ),
        ({"request": "dance", "id": "x"}, "input", "dance"),
        ({}, "input", "unknown request"),
    ],
)
def test_a_bad_request_gets_an_answer(shared, request_, kind, word):
    shared.send(request_)

    error = shared.until("error")

    assert error["kind"] == kind
    assert word in error["message"]
    assert error["id"] == request_.get("id", "")


@pytest.mark.parametrize(
    "line", [b"hello\n", b"[1]\n", b"\xff\xfe\n", b"{" * 50_000 + b"\n", b'{"request": "r\n']
)
def test_garbage_gets_an_answer_and_the_worker_lives(shared, line):
    shared.raw(b"\n" + line)

    assert shared.until("error")["kind"] == "input"
    shared.run("after", DescribeJob())
    assert shared.until("result", name="after")


def test_a_cancel_for_no_one_is_no_harm(shared):
    shared.send(protocol.cancel("later"))
    shared.run("later", DescribeJob())

    assert shared.until("result", "error", name="later")["event"] == "result"


def test_a_running_training_stops_within_two_seconds(shared, endless, tmp_path):
    before = set(tmp_path.iterdir())
    shared.run("run", endless)
    shared.run("queued", DescribeJob())
    shared.run("next", DescribeJob())
    shared.until("metrics", name="run")

    shared.send(protocol.cancel("queued"))
    shared.send(protocol.cancel("run"))
    started = time.monotonic()
    error = shared.until("error", "result", name="run")

    assert error["kind"] == "cancelled"
    assert time.monotonic() - started < 20
    assert shared.until("error", "result", name="queued")["kind"] == "cancelled"
    assert shared.until("error", "result", name="next")["event"] == "result"
    assert set(tmp_path.iterdir()) == before


def test_an_error_of_ours_is_internal_and_leaves_a_log(shared, endless, tmp_path):
    """A name that no file system takes is nothing that anyone foresaw."""
    shared.run("odd", dataclasses.replace(endless, work_folder=str(tmp_path / "wo\0rk")))

    error = shared.until("error", "result", name="odd")

    assert error["kind"] in ("input", "internal")
    assert "\n" not in error["message"]
    if error["kind"] == "internal":
        assert "Traceback" in Path(error["log"]).read_text()


def test_quit_ends_it_after_the_last_job(fresh):
    client = fresh()
    client.run("a", {"kind": "steal"})
    client.send({"request": "quit"})

    assert client.until("error")["id"] == "a"
    assert client.process.wait(timeout=10) == 0


def test_it_goes_when_its_input_closes(fresh):
    client = fresh()

    client.process.stdin.close()

    client.process.wait(timeout=3)


NOISE = """
import os, runpy, sys
runpy.run_path(sys.argv[1])
from tilth_engine import run
from tilth_engine.cli import main

print("a library prints before the worker starts", file=sys.stderr)

def noisy(self, job, reporter):
    print("a library prints")
    sys.stdout.write("without a newline")
    sys.stdout.flush()
    os.write(1, b"and past Python\\n")
    os.system("echo a child prints")
    if job.kind == "inspect":
        return {"bad": object()}
    if job.kind == "evaluate":
        raise MemoryError
    return {"fine": True, "odd": float("nan"), "path": "\\udcff"}

run.Runner.run = noisy
sys.exit(main(["worker"]))
"""


def test_what_libraries_print_never_reaches_the_events(fresh, tmp_path):
    client = fresh(("-c", NOISE, str(LAUNCH)))
    client.run("a", DescribeJob())
    client.run("b", InspectJob("x"))
    client.run("c", {"kind": "evaluate", "map": "m", "reference": "r"})
    client.run("d", DescribeJob())
    client.until("result", name="d")

    told = {event["id"]: event for event in client.seen if event["event"] in ("result", "error")}
    assert told["a"]["result"] == {"fine": True, "odd": None, "path": "\udcff"}
    assert told["b"]["kind"] == "internal"
    assert told["c"]["kind"] == "memory"
    assert told["d"]["event"] == "result"
    log = (tmp_path / "worker.log").read_bytes()
    for text in (b"a library prints", b"past Python", b"a child prints"):
        assert text in log


LONG = """
import runpy, sys
runpy.run_path(sys.argv[1])
from tilth_engine import protocol, run
from tilth_engine.cli import main
from tilth_engine.errors import TilthError

def long(self, job, reporter):
    text = "ü" * protocol.MAX_LINE
    if job.kind == "inspect":
        raise TilthError(text)
    if job.kind == "evaluate":
        reporter.warn(text)
    return {"text": text} if job.kind == "describe" else {"fine": True}

run.Runner.run = long
sys.exit(main(["worker"]))
"""


def test_what_is_too_long_for_a_line_ends_the_job_as_an_error(fresh):
    """The plugin takes a longer line for noise, and would wait for the job's end for ever."""
    client = fresh(("-c", LONG, str(LAUNCH)))
    evaluation = {"kind": "evaluate", "map": "m", "reference": "r"}
    for name, job in (("a", DescribeJob()), ("b", InspectJob("x")), ("c", evaluation)):
        client.run(name, job)
    client.until("error", "result", name="c")

    told = [event for event in client.seen if event["event"] in ("error", "result")]
    kinds = [(event["id"], event.get("kind")) for event in told]
    assert kinds == [("a", "internal"), ("b", "input"), ("c", "internal")]
    assert "too long to be told" in told[0]["message"]
    assert told[1]["message"].startswith("üüü")
    assert max(len(protocol.encode(event)) for event in client.seen) < protocol.MAX_LINE


def test_it_goes_when_its_input_closes_in_the_middle_of_a_job(shared, endless):
    """The last test, since it ends the worker that the others share."""
    shared.run("run", endless)
    shared.until("metrics", name="run")

    shared.process.stdin.close()

    shared.process.wait(timeout=3)
