"""Jobs on at most two workers."""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

import pytest
from tilth.plugin.engine.jobs import InspectJob, PredictJob, TrainJob
from tilth.plugin.environment.faults import EnvironmentError_
from tilth.plugin.worker.client import WorkerClient, WorkerError
from tilth.plugin.worker.pool import WorkerPool

DOUBLE = Path(__file__).with_name("worker_double.py")


def double(python, log_folder, *modes):
    argv = [str(python), "-I", "-u", "-X", "utf8", str(DOUBLE), *modes]
    return WorkerClient(python, log_folder, argv=argv, environment=dict(os.environ))


@pytest.fixture
def pool(tmp_path):
    made = WorkerPool(lambda: Path(sys.executable), tmp_path / "logs", client=double)
    yield made
    made.close()
    assert made.pids == []


class Run(threading.Thread):
    """A job in a thread of its own, as a task has it."""

    def __init__(self, pool, job):
        super().__init__()
        self.pool, self.job = pool, job
        self.events, self.result, self.error = [], None, None
        self.cancelled = False
        self.start()

    def run(self):
        try:
            self.result = self.pool.run(self.job, self.events.append, lambda: self.cancelled)
        except WorkerError as error:
            self.error = error

    def hears(self, text, seconds=10.0):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if any(text in str(event) for event in list(self.events)):
                return True
            time.sleep(0.01)
        return False

    def done(self):
        self.join(10)
        assert not self.is_alive()
        return self


def train(name):
    return TrainJob(images=["i"], out="o", labels="l", class_field="c", name=name)


def predict(adapter):
    return PredictJob(adapter=adapter, images=["i"], out="o")


def test_jobs_in_a_row_share_a_worker(pool):
    first = pool.run(InspectJob("x"))
    assert pool.run(train("x"))["pid"] == first["pid"]
    assert pool.run(predict("x"))["pid"] == first["pid"]
    assert len(pool.pids) == 1


def test_mapping_goes_on_beside_training(pool):
    training = Run(pool, train("slow 30"))
    assert training.hears("half-way")
    result = pool.run(predict("x"))
    assert training.is_alive() and pool.running == ["train"]
    assert len(pool.pids) == 2
    # The second map finds its model where the first one left it.
    assert pool.run(predict("x"))["pid"] == result["pid"]
    training.cancelled = True
    assert training.done().error.kind == "cancelled"
    assert pool.run(predict("x"))["pid"] == result["pid"]


def test_a_second_training_waits_and_says_so(pool):
    first = Run(pool, train("slow 1"))
    assert first.hears("half-way")
    second = Run(pool, train("x"))
    assert second.hears("Waiting for the training to finish")
    assert first.done().result["pid"] == second.done().result["pid"]
    assert sum("Waiting" in str(event) for event in second.events) == 1


def test_a_third_job_waits_for_either(pool):
    first, second = Run(pool, train("slow 30")), Run(pool, predict("slow 30"))
    assert first.hears("half-way") and second.hears("half-way")
    third = Run(pool, InspectJob("x"))
    assert third.hears("Waiting for")
    second.cancelled = True
    assert third.done().result["pid"] in pool.pids
    assert len(pool.pids) == 2
    first.cancelled = True
    assert first.done().error.kind == second.done().error.kind == "cancelled"


def test_a_job_can_be_cancelled_while_it_waits(pool):
    first = Run(pool, train("slow 30"))
    assert first.hears("half-way")
    second = Run(pool, train("x"))
    assert second.hears("Waiting")
    second.cancelled = True
    start = time.monotonic()
    assert second.done().error.kind == "cancelled"
    assert time.monotonic() - start < 20 and first.is_alive()
    first.cancelled = True
    first.done()


def test_close_ends_running_and_waiting_jobs(pool):
    runs = [Run(pool, train("slow 30"))]
    assert runs[0].hears("half-way")
    runs.append(Run(pool, train("x")))
    assert runs[1].hears("Waiting")
    pool.close()
    pool.close()
    assert [run.done().error.kind for run in runs] == ["cancelled", "cancelled"]
    with pytest.raises(WorkerError):
        pool.run(InspectJob("x"))


def test_a_slot_is_free_again_after_a_fault(pool):
    for _ in range(3):
        with pytest.raises(WorkerError) as caught:
            pool.run(predict("die 9"))
        assert caught.value.kind == "died"
    assert pool.running == []


def test_restart_ends_idle_workers_only(pool):
    training = Run(pool, train("slow 30"))
    assert training.hears("half-way")
    busy = set(pool.pids)
    pool.run(predict("x"))
    pool.restart()
    assert set(pool.pids) == busy and training.is_alive()
    training.cancelled = True
    training.done()


def lingering(python, log_folder):
    """One that does not end by itself."""
    return double(python, log_folder, "lingering")


def is_there(pid):
    """Whether there is a process, be it one that nobody has reaped."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.skipif(sys.platform == "win32", reason="os.kill ends processes there")
@pytest.mark.parametrize("then", ["nothing", "end_idle", "close"])
def test_restart_waits_for_no_worker(tmp_path, then):
    pool = WorkerPool(lambda: Path(sys.executable), tmp_path / "logs", client=lingering)
    pid = pool.run(InspectJob("x"))["pid"]

    start = time.monotonic()
    pool.restart()
    assert time.monotonic() - start < 0.5 and is_there(pid)

    if then == "nothing":
        end = time.monotonic() + 10
        while is_there(pid) and time.monotonic() < end:
            time.sleep(0.02)
    else:
        getattr(pool, then)()
    assert not is_there(pid)
    pool.close()


def test_another_interpreter_gets_a_new_worker(tmp_path):
    link = tmp_path / "python"
    link.symlink_to(sys.executable)
    pythons = [Path(sys.executable), link]
    pool = WorkerPool(lambda: pythons[0], tmp_path / "logs", client=double)
    first = pool.run(InspectJob("x"))["pid"]
    pythons.pop(0)
    assert pool.run(InspectJob("x"))["pid"] != first
    assert len(pool.pids) == 1
    pool.close()


def test_without_an_engine_there_is_a_fault_of_its_own_kind(tmp_path):
    with pytest.raises(WorkerError, match="not installed") as caught:
        WorkerPool(lambda: None, tmp_path).run(InspectJob("x"))
    assert caught.value.kind == "environment"

    def broken():
        raise EnvironmentError_("TILTH_PYTHON points nowhere")

    with pytest.raises(WorkerError, match="points nowhere") as caught:
        WorkerPool(broken, tmp_path).run(InspectJob("x"))
    assert caught.value.kind == "environment"
