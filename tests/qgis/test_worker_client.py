"""The worker client, with real processes that behave well and badly."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
from tilth.plugin.engine.jobs import DescribeJob, InspectJob, TrainJob
from tilth.plugin.worker import process
from tilth.plugin.worker.client import WorkerClient, WorkerError

DOUBLE = Path(__file__).with_name("worker_double.py")


@pytest.fixture
def make(tmp_path):
    """A maker of clients of the stand-in; all are closed at the end."""
    clients = []
    folder = tmp_path / "ein Ordner für Täler"
    folder.mkdir()
    script = folder / "worker double.py"
    script.write_bytes(DOUBLE.read_bytes())

    def build(mode="", **options):
        argv = [sys.executable, "-I", "-u", "-X", "utf8", str(script), mode]
        client = WorkerClient(
            sys.executable, folder / "logs", argv=argv, environment=dict(os.environ), **options
        )
        clients.append(client)
        return client

    yield build
    for client in clients:
        client.close()


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()


def open_files():
    return {path.name for path in Path("/proc/self/fd").iterdir()}


def gone(pid, seconds=3.0):
    end = time.monotonic() + seconds
    while alive(pid) and time.monotonic() < end:
        time.sleep(0.02)
    return not alive(pid)


def fault(client, adapter, **options):
    with pytest.raises(WorkerError) as caught:
        client.run(InspectJob(adapter), **options)
    return caught.value


def test_a_job_gives_its_result_and_the_worker_lives_on(make):
    client = make()
    events = []
    first = client.run(InspectJob("slow 0"), events.append)
    second = client.run(InspectJob("Äcker und Wiesen"))
    assert first["pid"] == second["pid"] == client.pid
    assert second["job"] == {"kind": "inspect", "adapter": "Äcker und Wiesen"}
    kinds = [event["event"] for event in events]
    assert kinds == ["progress", "started", "progress", "metrics"]
    assert events[0]["message"] == "Starting the engine"
    assert not client.busy


def test_a_notice_and_a_line_of_two_megabytes_arrive(make):
    client, events = make(), []
    client.run(InspectJob("notice"), events.append)
    client.run(InspectJob("big"), events.append)
    notices = [event for event in events if event["event"] == "notice"]
    assert notices[0]["level"] == "warning"
    assert len(notices[1]["message"]) == 1_000_000


def test_an_error_of_the_engine_keeps_its_kind_and_the_worker(make):
    client = make()
    pid = client.run(InspectJob("x"))["pid"]
    error = fault(client, "error")
    assert (error.kind, error.message, error.log) == ("input", "labels: no", "some.log")
    assert client.run(InspectJob("x"))["pid"] == pid


def test_a_job_that_contradicts_itself_starts_nothing(make):
    client = make()
    with pytest.raises(WorkerError, match="pick at least one image") as caught:
        client.run(TrainJob(images=[], out="a.tilth"))
    assert caught.value.kind == "input"
    assert client.pid is None


def test_cancel_is_cooperative_first(make):
    client = make()
    pid = client.run(InspectJob("x"))["pid"]
    start = time.monotonic()
    error = fault(client, "slow 30", is_cancelled=lambda: time.monotonic() > start + 0.2)
    assert error.kind == "cancelled"
    assert time.monotonic() - start < 20
    assert client.pid == pid


def test_a_worker_that_does_not_hear_is_killed_within_two_seconds(make):
    client = make()
    pid = client.run(InspectJob("x"))["pid"]
    start = time.monotonic()
    error = fault(client, "stubborn 30", is_cancelled=lambda: True)
    assert error.kind == "cancelled"
    assert 1.9 < time.monotonic() - start < 20.5
    assert not alive(pid)
    assert client.run(InspectJob("x"))["pid"] != pid


def test_a_result_that_came_before_the_cancel_counts(make):
    client, heard = make(), []
    result = client.run(InspectJob("stubborn 0.3"), heard.append, lambda: len(heard) > 2)
    assert result["pid"] == client.pid


def test_a_killed_worker_is_explained_and_replaced(make):
    client = make()
    error = fault(client, "die 9")
    assert error.kind == "died"
    assert "exit code -9: killed, most likely out of memory" in error.message
    assert error.log in error.message and Path(error.log).is_file()
    assert client.run(InspectJob("x"))["pid"] == client.pid


def test_the_last_line_of_the_log_is_told(make):
    error = fault(make(), "exit 1")
    assert error.kind == "died"
    assert "exit code 1" in error.message and "ModuleNotFoundError: no torch" in error.message
    assert "\n" not in error.message


def test_a_worker_that_does_not_even_start_is_explained(make):
    error = fault(make("broken"), "x")
    assert error.kind == "died" and "ImportError: no engine here" in error.message


def test_a_missing_interpreter_is_a_fault_of_the_environment(tmp_path):
    (tmp_path / "file").touch()
    for python, folder in [("none/python", "logs"), (sys.executable, "file")]:
        client = WorkerClient(tmp_path / python, tmp_path / folder)
        with pytest.raises(WorkerError, match="could not be started") as caught:
            client.run(DescribeJob())
        assert caught.value.kind == "environment"


def test_a_dead_worker_is_noticed_though_its_child_holds_the_pipe(make):
    client, events = make(), []
    start = time.monotonic()
    error = fault(client, "child", on_event=events.append)
    assert error.kind == "died" and time.monotonic() - start < 20
    assert gone(int(events[-1]["message"]))


def test_noise_is_passed_over_and_kept_in_the_log(make):
    client, events = make(), []
    assert client.run(InspectJob("garbage"), events.append)["pid"] == client.pid
    log = Path(client.log).read_bytes()
    assert b"a library that prints while it is imported" in log
    assert b"a library says \xff hello" in log and b"[1, 2]" in log
    assert events[-1]["event"] == "mystery"


def test_a_flood_of_noise_ends_the_worker(make):
    client = make()
    error = fault(client, "flood")
    assert error.kind == "protocol"
    assert client.pid is None
    assert Path(error.log).stat().st_size < 1_000_000


def test_a_result_that_is_none_is_a_fault(make):
    assert fault(make(), "nothing").kind == "protocol"


@pytest.mark.parametrize(("version", "word"), [("0", "older"), ("7", "newer")])
def test_an_engine_of_another_version_is_refused(make, version, word):
    client = make(version)
    error = fault(client, "x")
    assert error.kind == "protocol" and word in error.message and "Restart QGIS" in error.message
    assert client.pid is None


def test_an_engine_that_says_nothing_is_given_up(make):
    client = make("mute", start_seconds=0.3)
    error = fault(client, "x")
    assert error.kind == "protocol" and "did not start" in error.message
    assert client.pid is None


def test_cancel_while_the_engine_starts_lets_it_start(make):
    client, start = make("late"), time.monotonic()
    assert fault(client, "x", is_cancelled=lambda: True).kind == "cancelled"
    assert time.monotonic() - start < 20
    pid = client.pid
    assert client.run(InspectJob("x"))["pid"] == pid


def test_an_engine_that_is_starting_can_be_closed(make):
    client = make("mute")
    assert fault(client, "x", is_cancelled=lambda: True).kind == "cancelled"
    pid = client.pid
    client.close()
    assert not alive(pid)


def test_a_worker_that_went_while_idle_is_replaced_silently(make):
    client = make()
    pid = client.run(InspectJob("x"))["pid"]
    os.kill(pid, signal.SIGKILL)
    assert gone(pid)
    assert client.run(InspectJob("x"))["pid"] != pid


def test_a_worker_that_goes_just_as_the_job_comes_is_replaced(make):
    client = make("leaving")
    assert client.run(InspectJob("x"))["pid"] == client.pid


def test_a_listener_that_fails_ends_the_job(make):
    client = make()
    pid = client.run(InspectJob("x"))["pid"]

    def listen(event):
        raise ValueError("a fault of the listener")

    with pytest.raises(ValueError, match="of the listener"):
        client.run(InspectJob("slow 30"), listen)
    assert not alive(pid)


def test_close_while_a_job_runs(make):
    client, caught = make(), []

    def work():
        caught.append(fault(client, "slow 30"))

    thread = threading.Thread(target=work)
    thread.start()
    while client.pid is None or not client._ready:
        time.sleep(0.01)
    pid, start = client.pid, time.monotonic()
    client.close()
    client.close()
    thread.join(5)
    assert time.monotonic() - start < 20
    assert caught[0].kind == "cancelled" and not alive(pid)
    assert fault(client, "x").kind == "cancelled"


def test_close_leaves_no_process_thread_or_open_file(make):
    files = open_files()
    threads = set(threading.enumerate())
    client = make()
    pid = client.run(InspectJob("x"))["pid"]
    client.close()
    assert not alive(pid)
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    assert set(threading.enumerate()) == threads
    assert open_files() == files


def test_the_worker_leads_a_group_of_its_own(make):
    client = make()
    pid = client.run(InspectJob("x"))["pid"]
    assert os.getpgid(pid) == pid != os.getpgid(0)


def test_old_logs_go(tmp_path):
    for number in range(14):
        (tmp_path / f"worker-20240101-0000{number:02}-1-1.log").touch()
    (tmp_path / "environment.log").touch()
    fresh = process.new_log(tmp_path)
    assert fresh.exists() and process.new_log(tmp_path) != fresh
    logs = sorted(path.name for path in tmp_path.glob("worker-*.log"))
    assert len(logs) == 10 and fresh.name in logs
    assert (tmp_path / "environment.log").exists()
