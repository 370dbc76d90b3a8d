"""Removing the engine: not while it works, and not with a worker that still uses it."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import Any, Iterator, List, Optional

import pytest
from dock_window import shown_dock, wait
from qgis.PyQt.QtWidgets import QMessageBox
from tilth.plugin.dock import engine as module
from tilth.plugin.dock import footer, settings
from tilth.plugin.dock.engine import Engine, WorkTask
from tilth.plugin.dock.session import Session
from tilth.plugin.engine.jobs import InspectJob
from tilth.plugin.environment import paths
from tilth.plugin.environment.faults import EnvironmentError_
from tilth.plugin.environment.state import lock_sha256, write_record
from tilth.plugin.tasks import registry
from tilth.plugin.worker.client import WorkerClient
from tilth.plugin.worker.pool import WorkerPool

DOUBLE = Path(__file__).with_name("worker_double.py")
AT_WORK = "Tilth is at work: cancel that first."

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="an environment of links")


def double(python: Path, log_folder: Path) -> WorkerClient:
    argv = [str(python), "-I", "-u", "-X", "utf8", str(DOUBLE)]
    return WorkerClient(python, log_folder, argv=argv, environment=dict(os.environ))


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The managed environment, ready as far as can be told, with a Python that runs."""
    monkeypatch.setenv("TILTH_HOME", str(tmp_path))
    monkeypatch.delenv("TILTH_PYTHON", raising=False)
    settings.keep(module.OWN, None)
    target = paths.environment_folder()
    python = Path(os.path.realpath(sys.executable))
    (target / "bin").mkdir(parents=True)
    (target / "bin" / "python").symlink_to(python)
    (target / "pyvenv.cfg").write_text(f"home = {python.parent}\nprompt = tilth\n")
    write_record(target, {"lock_sha256": lock_sha256(paths.REQUIREMENTS)})
    return target


@pytest.fixture
def engine(qgis_app: Any, environment: Path) -> Engine:
    made = Engine()
    assert made.state == "ready", made.reason
    return made


@pytest.fixture
def pool(engine: Engine, tmp_path: Path) -> Iterator[WorkerPool]:
    made = WorkerPool(engine.python, tmp_path / "logs", client=double)
    yield made
    made.close()


@pytest.fixture
def work(qgis_app: Any) -> Iterator[WorkTask]:
    """A task that works until the test is over."""
    over = threading.Event()
    task = registry.start(WorkTask("At work", lambda: over.wait(30)))
    yield task
    over.set()
    assert wait(lambda: not registry.running())


def test_idle_workers_end_before_the_removal(
    engine: Engine, pool: WorkerPool, environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive: List[int] = []
    pythons: List[Optional[Path]] = []

    def spied(folder: Path) -> None:
        alive.extend(pool.pids)
        pythons.append(engine.python())
        assert threading.current_thread() is not threading.main_thread()
        removed(folder)

    removed = module.remove
    monkeypatch.setattr(module, "remove", spied)
    pool.run(InspectJob("x"))
    assert len(pool.pids) == 1
    engine.remove(pool.end_idle)
    assert wait(lambda: not engine.busy)
    assert (alive, pythons) == ([], [None])  # nor could a job start one meanwhile
    assert not environment.exists() and engine.state == "absent"


def test_nothing_is_removed_while_tilth_works(
    engine: Engine, environment: Path, work: WorkTask
) -> None:
    told: List[str] = []
    engine.told.connect(lambda text, _level: told.append(text))
    engine.remove(lambda: None)
    assert told == [AT_WORK] and not engine.busy
    assert engine.state == "ready" and environment.exists()


def test_what_another_window_uses_is_not_removed(
    engine: Engine, environment: Path, tmp_path: Path
) -> None:
    told: List[str] = []
    engine.told.connect(lambda text, _level: told.append(text))
    other = WorkerPool(lambda: environment / "bin" / "python", tmp_path / "logs", client=double)
    other.run(InspectJob("x"))
    try:
        engine.remove(lambda: None)
        assert wait(lambda: not engine.busy)
        assert "another QGIS window" in told[0]
        assert environment.exists() and engine.state == "ready"
    finally:
        other.close()
    engine.remove(lambda: None)
    assert wait(lambda: not engine.busy)
    assert not environment.exists()


def test_what_is_installed_takes_the_place_of_a_python_that_did_not_do(
    engine: Engine, environment: Path
) -> None:
    engine.use_own_python(str(environment / "pyvenv.cfg"))
    assert wait(lambda: not engine.busy)
    engine._take_own(str(environment / "pyvenv.cfg"))  # it was a Python once
    engine.mark_broken("it does not start")
    engine.install()
    assert wait(lambda: not engine.busy)
    assert engine.python() == environment / "bin" / "python"
    assert (engine.own, settings.text(module.OWN), engine.state) == ("", "", "ready")


def test_another_python_is_asked_where_one_is_still_being_asked(
    environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the old one answers is about itself, such as its devices."""
    asked: List[Any] = []
    monkeypatch.setattr(Session, "start", lambda _session, task: asked.append(task))
    with shown_dock() as dock:
        session = dock.session
        session.describe()
        session.engine._take_own(sys.executable)
        old, new = asked
        assert old.isCanceled() and session.asking
        old.succeeded.emit({"devices": [{"id": "old", "label": "old"}]})
        old.ended.emit()
        assert session.asking and not session.devices()
        new.succeeded.emit({"devices": [{"id": "new", "label": "new"}]})
        new.ended.emit()
        assert dock.contents.deviceLabel.text() == "Runs on new" and not session.asking
        settings.keep(module.OWN, None)


def test_the_foot_names_no_device_of_an_engine_that_was_removed(
    environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Session, "describe", lambda session: None)
    with shown_dock() as dock:
        engine, foot = dock.session.engine, dock.contents
        dock.session.description = {"devices": [{"id": "cpu", "label": "CPU"}]}
        dock.session.described.emit()
        assert foot.deviceLabel.text() == "Runs on CPU"
        engine.remove(lambda: None)
        assert foot.engineLabel.text() == "Engine busy…"
        assert wait(lambda: not engine.busy)
        assert (foot.deviceLabel.text(), foot.engineLabel.text()) == ("", "No engine yet")
        assert not dock.session.devices()
        combo = dock.train.deviceCombo
        assert [combo.itemText(row) for row in range(combo.count())] == ["Automatic"]


def test_a_home_that_can_not_be_used_is_told_in_one_line(
    qgis_app: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.touch()
    monkeypatch.setenv("TILTH_HOME", str(home))
    monkeypatch.setenv("TILTH_PYTHON", sys.executable)
    with shown_dock() as dock:
        assert wait(lambda: dock.session.engine.state == "broken")
        assert f"{home / 'logs'} can't be used (" in dock.session.engine.reason
        assert "set TILTH_HOME" in dock.session.engine.reason
        assert "Errno" not in dock.session.engine.reason

        told: List[str] = []
        task = WorkTask("Writing", lambda: (home / "runs").mkdir(parents=True))
        task.failed.connect(lambda _kind, message, _log: told.append(message))
        registry.start(task)
        assert wait(lambda: told)
        dock.footer._open_home()
        wait(lambda: False, 0.1)
        for said in (told[0], dock.session.iface.bar.currentItem().text()):
            assert f"{home}" in said and " can't be used (" in said and "Error" not in said


def test_a_removal_that_fails_says_why(
    engine: Engine, environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(folder: Path) -> None:
        raise EnvironmentError_("It could not be removed: close what uses it.")

    told: List[str] = []
    engine.told.connect(lambda text, _level: told.append(text))
    monkeypatch.setattr(module, "remove", refuse)
    engine.remove(lambda: None)
    assert wait(lambda: not engine.busy)
    assert told == ["It could not be removed: close what uses it."]
    assert engine.state == "ready" and engine.python() is not None


def test_the_dock_asks_only_when_nothing_works(
    environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: List[str] = []

    def yes(_parent: Any, title: str, _question: str) -> Any:
        asked.append(title)
        return QMessageBox.StandardButton.Yes

    monkeypatch.setattr(footer.QMessageBox, "question", yes)
    monkeypatch.setattr(Session, "describe", lambda session: None)
    with shown_dock() as dock:
        engine = dock.session.engine
        over = threading.Event()
        registry.start(WorkTask("At work", lambda: over.wait(30)))
        dock.footer._ask_remove()
        assert wait(lambda: dock.session.iface.bar.currentItem() is not None)
        assert dock.session.iface.bar.currentItem().text() == AT_WORK
        assert not asked and environment.exists()
        over.set()
        assert wait(lambda: not registry.running())
        dock.footer._ask_remove()
        assert wait(lambda: not engine.busy)
        assert len(asked) == 1 and not environment.exists()
