"""The engine's environment as the dock sees it: its state, installing it, one's own Python."""

from __future__ import annotations

from pathlib import Path
from typing import Callable, Optional

from qgis.core import Qgis
from qgis.PyQt.QtCore import QObject, pyqtSignal

from ..environment import explain, paths, state
from ..environment.create import remove
from ..environment.faults import EnvironmentError_
from ..tasks import registry
from ..tasks.base import BaseTask
from ..tasks.environment import EnvironmentTask
from ..worker.faults import WorkerError
from . import own_python, settings

OWN = "engine/python"


class WorkTask(BaseTask):
    """A call that takes too long for the main thread."""

    def __init__(self, description: str, call: Callable[[], object]) -> None:
        super().__init__(description)
        self._call = call

    def work(self) -> object:
        try:
            return self._call()
        except EnvironmentError_ as error:
            raise WorkerError("environment", str(error)) from error


class Engine(QObject):
    """``state`` is absent, broken or ready; ``reason`` says why where it is not ready."""

    changed = pyqtSignal()
    progressed = pyqtSignal(float, str)
    told = pyqtSignal(str, object)
    """A message and its level, for the message bar."""
    installed = pyqtSignal()

    def __init__(self, parent: Optional[QObject] = None) -> None:
        super().__init__(parent)
        self.state = "absent"
        self.reason = ""
        self.doing = ""
        self.size = state.size_text()
        self._own = settings.text(OWN)
        self._going = False
        self._task: Optional[BaseTask] = None
        self.refresh()

    @property
    def folder(self) -> Path:
        """Where the managed environment is, or will be."""
        return paths.environment_folder()

    @property
    def own(self) -> str:
        """The user's own interpreter, or empty."""
        return self._own

    @property
    def busy(self) -> bool:
        """Whether the environment is being made or checked."""
        return self._task is not None

    def python(self) -> Optional[Path]:
        """The interpreter to start the engine with; called from tasks' threads."""
        if self._going:
            return None
        if self._own:
            return Path(self._own)
        try:
            return state.engine_python()
        except EnvironmentError_:
            return None

    def refresh(self) -> None:
        """Look again whether there is an engine. Cheap."""
        if self._own and not Path(self._own).is_file():
            self._own = ""
        self.state, self.reason = "ready", ""
        if not self._own:
            self._look()
        self.changed.emit()

    def _look(self) -> None:
        try:
            if state.engine_python() is None:
                self.state, self.reason = state.state(self.folder)
        except EnvironmentError_ as error:
            self.state, self.reason = "broken", str(error)
        except OSError as error:
            self.state, self.reason = "broken", explain.refused(error)

    def mark_broken(self, reason: str) -> None:
        """The engine was there but did not start."""
        self.state, self.reason = "broken", reason
        self.changed.emit()

    def install(self) -> None:
        """Make the environment, in the background."""
        if self.busy:
            return
        task = EnvironmentTask(self.folder)
        task.succeeded.connect(self._made)
        self._run(task, self.tr("Installing Tilth's engine"))

    def use_own_python(self, python: str) -> None:
        """Use an interpreter of the user's, once it has shown that it has what is needed."""
        if self.busy:
            return
        settings.keep("engine/folder", str(Path(python).parent))
        task = WorkTask("Checking " + python, lambda: own_python.verify(python))
        task.succeeded.connect(lambda _report: self._take_own(python))
        self._run(task, self.tr("Checking that Python"))

    def stop_own_python(self) -> None:
        """Use the managed environment again."""
        self._take_own("")

    def can_remove(self) -> bool:
        """Whether nothing of Tilth is at work, which would lose its files; where not, says so."""
        if registry.running():
            words = self.tr("Tilth is at work: cancel that first.")
            self.told.emit(words, Qgis.MessageLevel.Warning)
        return not registry.running()

    def remove(self, end_workers: Callable[[], None]) -> None:
        """Remove the managed environment, once the workers that are idle have let go of it."""
        if not self.can_remove():
            return
        folder = self.folder

        def act() -> None:
            end_workers()
            remove(folder)

        # Until it is gone no job may start a worker in it.
        self._going = True
        self._run(WorkTask("Removing Tilth's engine", act), self.tr("Removing Tilth's engine"))

    def cancel(self) -> None:
        """Stop what is being done to the environment."""
        if self._task is not None:
            self._task.cancel()

    def _run(self, task: BaseTask, doing: str) -> None:
        self._task, self.doing = task, doing
        task.progressed.connect(lambda share, text, _left: self.progressed.emit(share, text))
        task.failed.connect(self._failed)
        task.ended.connect(self._ended)
        registry.start(task)
        self.progressed.emit(0.0, self.tr("Starting…"))
        self.changed.emit()

    def _made(self, _folder: object) -> None:
        # Whoever installs wants this one, and no longer the Python that did not do.
        self._keep_own("")
        self.told.emit(self.tr("Tilth's engine is installed."), Qgis.MessageLevel.Success)
        self.installed.emit()

    def _take_own(self, python: str) -> None:
        self._keep_own(python)
        self.installed.emit()
        self.refresh()

    def _keep_own(self, python: str) -> None:
        self._own = python
        settings.keep(OWN, python)

    def _failed(self, kind: str, message: str, _log: str) -> None:
        if kind != "cancelled":
            self.told.emit(message, Qgis.MessageLevel.Critical)

    def _ended(self) -> None:
        self._task, self._going = None, False
        self.refresh()
