"""Jobs as tasks of QGIS's task manager, with real worker processes."""

from __future__ import annotations

import gc
import os
import sys
import threading
import time
from pathlib import Path

import pytest
from qgis.core import (
    QgsApplication,
    QgsFeature,
    QgsGeometry,
    QgsMapRendererParallelJob,
    QgsMapSettings,
    QgsTask,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import QCoreApplication, QRunnable, QSize, QThreadPool, QTimer
from tilth.plugin.engine.errors import TilthError
from tilth.plugin.engine.jobs import InspectJob, PredictJob, TrainJob
from tilth.plugin.tasks import registry
from tilth.plugin.tasks.base import BaseTask
from tilth.plugin.tasks.job import JobTask, Step
from tilth.plugin.worker.client import WorkerClient
from tilth.plugin.worker.pool import WorkerPool

DOUBLE = Path(__file__).with_name("worker_double.py")


def double(python, log_folder):
    argv = [str(python), "-I", "-u", "-X", "utf8", str(DOUBLE)]
    return WorkerClient(python, log_folder, argv=argv, environment=dict(os.environ))


@pytest.fixture
def pool(tmp_path):
    made = WorkerPool(lambda: Path(sys.executable), tmp_path / "logs", client=double)
    yield made
    assert registry.stop_all(made)
    assert made.pids == [] and registry.running() == []


def until(condition, seconds=15.0):
    """Let QGIS's event loop run until it is so."""
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        QCoreApplication.processEvents()
        time.sleep(0.002)
    assert condition()


class Heard:
    """What a task said, with the thread in which it was heard."""

    def __init__(self, task):
        self.said, self.threads = [], set()
        for name in ("progressed", "measured", "noticed", "succeeded", "failed", "ended"):
            getattr(task, name, task.ended).connect(self._ear(name))

    def _ear(self, name):
        def hear(*values):
            self.threads.add(threading.current_thread())
            self.said.append((name, *values))

        return hear

    def of(self, name):
        return [values for kind, *values in self.said if kind == name]

    @property
    def ended(self):
        return bool(self.of("ended"))


def started(task):
    heard = Heard(task)
    registry.start(task)
    return heard


def job_of(what):
    return InspectJob(what)


def test_a_job_from_start_to_end(pool):
    task = JobTask("Looking", pool, job_of("slow 0"))
    heard = started(task)
    assert registry.running() == [task]
    until(lambda: heard.ended)
    assert heard.threads == {threading.main_thread()}
    assert heard.of("progressed")[0] == [0.0, "Starting the engine", None]
    assert [0.25, "half-way", 3.0] in heard.of("progressed")
    assert heard.of("measured") == [[1, 4, {"train_loss": 0.5}]]
    assert heard.of("succeeded")[0][0]["job"]["adapter"] == "slow 0"
    assert [kind for kind, *_ in heard.said[-2:]] == ["succeeded", "ended"]
    assert heard.of("failed") == [] and registry.running() == []
    assert task.status() == QgsTask.TaskStatus.Complete


def test_qgis_shows_it_with_its_progress_and_a_cancel_button(pool):
    task = JobTask("Training “Täler”", pool, job_of("slow 30"))
    heard = started(task)
    until(lambda: heard.of("measured"))
    assert task in QgsApplication.taskManager().activeTasks()
    assert task.description() == "Training “Täler”" and task.canCancel()
    assert task.progress() == pytest.approx(25)
    start = time.monotonic()
    task.cancel()
    task.cancel()
    until(lambda: heard.ended)
    assert time.monotonic() - start < 20
    assert heard.of("failed") == [["cancelled", "Cancelled.", ""]]
    assert heard.of("succeeded") == [] and len(heard.of("ended")) == 1


def test_steps_run_in_the_thread_and_complete_the_job(pool):
    seen = {}

    def name_it(job, folder, feedback):
        feedback.setProgress(40)
        seen.update(folder=folder, thread=threading.current_thread(), there=folder.is_dir())
        (folder / "labels.gpkg").touch()
        job.adapter = "x from the step"
        return ["2 features left out"]

    steps = [Step("Exporting the labels", name_it), Step("Nothing", lambda *args: None)]
    heard = started(JobTask("t", pool, job_of(""), steps))
    until(lambda: heard.ended)
    assert heard.of("succeeded")[0][0]["job"]["adapter"] == "x from the step"
    assert heard.of("noticed") == [["warning", "2 features left out"]]
    assert [0.0, "Exporting the labels", None] in heard.of("progressed")
    assert [0.0, "Exporting the labels (40 %)", None] in heard.of("progressed")
    assert seen["thread"] is not threading.main_thread() and seen["there"]
    assert seen["folder"].name.startswith("tilth-") and not seen["folder"].exists()


def test_a_given_folder_is_kept(pool, tmp_path):
    def act(job, folder, feedback):
        (folder / "labels.gpkg").touch()

    folder = tmp_path / "work" / "run 1"
    heard = started(JobTask("t", pool, job_of("x"), [Step("s", act)], folder))
    until(lambda: heard.ended)
    assert heard.of("succeeded") and (folder / "labels.gpkg").exists()


def fail(job, folder, feedback):
    raise TilthError("labels: the layer 'x' has no polygons")


def break_(job, folder, feedback):
    raise ZeroDivisionError("a fault of ours")


def test_faults_keep_their_kind(pool):
    cases = [
        (job_of("x"), [Step("s", fail)], "input", "has no polygons"),
        (job_of("x"), [Step("s", break_)], "internal", "ZeroDivisionError: a fault of ours"),
        (job_of("error"), [], "input", "labels: no"),
        (job_of("die 9"), [], "died", "out of memory"),
        (TrainJob(images=[], out=""), [], "input", "pick at least one image"),
    ]
    for job, steps, kind, message in cases:
        heard = started(JobTask("t", pool, job, steps))
        until(lambda heard=heard: heard.ended)
        assert heard.of("succeeded") == []
        assert heard.of("failed")[0][0] == kind and message in heard.of("failed")[0][1]
    assert heard.threads == {threading.main_thread()}


def test_cancel_reaches_a_step(pool):
    def wait(job, folder, feedback):
        while not feedback.isCanceled():
            time.sleep(0.01)

    task = JobTask("t", pool, job_of("x"), [Step("Exporting", wait)])
    heard = started(task)
    until(lambda: heard.of("progressed"))
    task.cancel()
    until(lambda: heard.ended)
    assert heard.of("failed")[0][0] == "cancelled"
    assert pool.pids == []


class Slow(BaseTask):
    def work(self):
        while self.wanted():
            time.sleep(0.01)


def test_a_task_that_is_cancelled_in_the_queue_ends_too(pool):
    first = JobTask("first", pool, job_of("slow 30"))
    last = JobTask("last", pool, job_of("x"))
    last.addSubTask(first, [], QgsTask.SubTaskDependency.ParentDependsOnSubTask)
    heard = started(last)
    QCoreApplication.processEvents()
    last.cancel()
    until(lambda: heard.ended)
    assert heard.of("failed") == [["cancelled", "Cancelled.", ""]]


def test_tasks_live_though_nobody_else_holds_them(pool):
    heard = started(JobTask("t", pool, job_of("slow 0.5")))
    for _ in range(5):
        gc.collect()
        QCoreApplication.processEvents()
    until(lambda: heard.ended)
    assert heard.of("succeeded")


def test_many_events_reach_the_event_loop_ten_times_a_second(pool):
    ticks = []
    timer = QTimer()
    timer.timeout.connect(lambda: ticks.append(time.monotonic()))
    timer.start(10)
    start = time.monotonic()
    heard = started(JobTask("t", pool, job_of("chatter 20000")))
    until(lambda: heard.ended)
    taken = time.monotonic() - start
    timer.stop()
    assert len(heard.of("progressed")) <= 10 * taken + 5
    gaps = sorted(after - before for before, after in zip(ticks, ticks[1:]))
    assert len(gaps) > 5 and gaps[len(gaps) // 2] < 0.05


def test_the_map_is_drawn_while_tasks_wait(pool):
    cores = QThreadPool.globalInstance().maxThreadCount()
    tasks = [Slow("waits") for _ in range(cores)]
    ears = [started(task) for task in tasks]
    until(lambda: all(task.status() == QgsTask.TaskStatus.Running for task in tasks))
    layer = QgsVectorLayer("Polygon?crs=EPSG:4326", "l", "memory")
    feature = QgsFeature()
    feature.setGeometry(QgsGeometry.fromWkt("Polygon((0 0, 1 0, 1 1, 0 0))"))
    layer.dataProvider().addFeatures([feature])
    layer.updateExtents()
    settings = QgsMapSettings()
    settings.setLayers([layer])
    settings.setOutputSize(QSize(20, 20))
    settings.setExtent(layer.extent())
    drawn = []
    render = QgsMapRendererParallelJob(settings)
    render.finished.connect(lambda: drawn.append(True))
    render.start()
    until(lambda: drawn, 5)
    for task in tasks:
        task.cancel()
    until(lambda: all(ear.ended for ear in ears))
    pools = [QThreadPool.globalInstance(), tasks[0]._threads]
    until(lambda: all(each.activeThreadCount() == 0 for each in pools), 5)
    assert [each.maxThreadCount() for each in pools] == [cores, cores]


def test_other_tasks_go_on_while_tasks_wait(pool):
    tasks = [Slow("waits") for _ in range(QThreadPool.globalInstance().maxThreadCount() + 2)]
    ears = [started(task) for task in tasks]
    done = []
    other = QgsTask.fromFunction("another plugin's", lambda task: done.append(True))
    QgsApplication.taskManager().addTask(other)
    until(lambda: done, 5)
    assert not any(ear.ended for ear in ears)
    for task in tasks:
        task.cancel()
    until(lambda: all(ear.ended for ear in ears))


def test_a_task_is_in_a_thread_before_any_event_is_handled(pool):
    """In QGIS's queue of threads it could be lost."""
    free = threading.Event()
    task = Slow("is not lost")
    busy = task._threads
    for _ in range(busy.maxThreadCount()):
        busy.start(QRunnable.create(free.wait))
    try:
        heard = started(task)
        assert task.status() == QgsTask.TaskStatus.Running
    finally:
        free.set()
    task.cancel()
    until(lambda: heard.ended)


def test_mapping_beside_training_and_a_job_that_waits(pool):
    train = TrainJob(images=["i"], out="o", labels="l", class_field="c", name="slow 30")
    again = TrainJob(images=["i"], out="o", labels="l", class_field="c", name="x")
    first = JobTask("training", pool, train)
    ears = [started(first)]
    # The threads of two tasks begin in any order: the first must have the worker.
    until(lambda: ears[0].of("measured"))
    ears.append(started(JobTask("again", pool, again)))
    mapping = started(JobTask("map", pool, PredictJob(adapter="x", images=["i"], out="o")))
    until(lambda: mapping.ended)
    assert mapping.of("succeeded") and not ears[0].ended
    until(lambda: any("Waiting for the training" in str(said) for said in ears[1].said))
    first.cancel()
    until(lambda: all(ear.ended for ear in ears))
    assert ears[1].of("succeeded")


def test_stop_all_ends_tasks_processes_and_threads(pool):
    before = set(threading.enumerate())
    tasks = [JobTask(str(number), pool, job_of("stubborn 30")) for number in range(3)]
    ears = [started(task) for task in tasks]
    until(lambda: sum(bool(ear.of("measured")) for ear in ears) == 2)
    start = time.monotonic()
    assert registry.stop_all(pool)
    assert time.monotonic() - start < 20
    assert all(ear.of("failed")[0][0] == "cancelled" for ear in ears)
    assert pool.pids == [] and registry.running() == []
    workers = {thread for thread in threading.enumerate() if "tilth" in thread.name}
    assert not workers - before
    assert registry.stop_all(pool)


def test_a_slot_that_fails_does_not_stop_the_end(pool, capsys):
    task = JobTask("t", pool, job_of("x"))
    heard = Heard(task)
    registry.start(task)
    until(lambda: heard.ended)
    task.finished(True)
    assert len(heard.of("succeeded")) == 1 and len(heard.of("ended")) == 1
