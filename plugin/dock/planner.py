"""Says what will run, and about how long, before it starts: a plan job after each pause."""

from __future__ import annotations

from typing import Any, Callable, Optional

from qgis.PyQt.QtCore import QObject, QTimer, pyqtSignal

from ..engine.errors import TilthError
from ..tasks.job import JobTask
from .session import Session

PAUSE_MS = 900


class Planner(QObject):
    """``make`` gives the plan's task for what is chosen now, or raises TilthError."""

    planned = pyqtSignal(object)
    refused = pyqtSignal(str)
    looking = pyqtSignal()

    def __init__(self, session: Session, make: Callable[[], JobTask], parent: QObject) -> None:
        super().__init__(parent)
        self._session = session
        self._make = make
        self._task: Optional[JobTask] = None
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(PAUSE_MS)
        self._timer.timeout.connect(self._plan)

    def ask(self) -> None:
        """Something was chosen: plan again, once the user pauses."""
        self._timer.start()

    def stop(self) -> None:
        """No plan is wanted now."""
        self._timer.stop()
        task, self._task = self._task, None
        if task is not None:
            task.cancel()

    def _plan(self) -> None:
        self.stop()
        if self._session.engine.state != "ready":
            return
        try:
            task = self._make()
        except TilthError as error:
            self.refused.emit(str(error))
            return
        task.succeeded.connect(lambda plan, mine=task: self._done(mine, plan))
        task.failed.connect(lambda kind, text, _log, mine=task: self._failed(mine, kind, text))
        self._task = task
        self.looking.emit()
        self._session.start(task)

    def _done(self, task: JobTask, plan: Any) -> None:
        if task is self._task:
            self._task = None
            self.planned.emit(plan)

    def _failed(self, task: JobTask, kind: str, message: str) -> None:
        if task is self._task:
            self._task = None
            if kind != "cancelled":
                self.refused.emit(message)
