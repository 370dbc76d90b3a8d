"""Says what will run, and about how long, before it starts: a plan job after each pause."""

from __future__ import annotations

from typing import Any, Callable, List, Optional

from qgis.PyQt.QtCore import QObject, QTimer, pyqtSignal

from ..engine.errors import TilthError
from ..tasks.job import JobTask
from .session import Session

PAUSE_MS = 900


class Planner(QObject):
    """``make`` gives the plan's task for what is chosen now, or raises TilthError."""

    planned = pyqtSignal(object)
    refused = pyqtSignal(str)
    incomplete = pyqtSignal(str)
    """Something has not been chosen yet."""
    looking = pyqtSignal()

    def __init__(self, session: Session, make: Callable[[], JobTask], parent: QObject) -> None:
        super().__init__(parent)
        self._session = session
        self._make = make
        self._task: Optional[JobTask] = None
        self._wanted = False
        self._stale = True
        self._warnings: List[str] = []
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(PAUSE_MS)
        self._timer.timeout.connect(self._plan)

    @property
    def busy(self) -> bool:
        """Whether a plan is coming."""
        return self._wanted or self._timer.isActive()

    def ask(self) -> None:
        """Something was chosen: plan again, once the user pauses."""
        self._wanted, self._stale = False, True
        self._timer.start()

    def ask_if_stale(self) -> None:
        """Plan, unless that was done for what is chosen."""
        if self._stale and not self.busy:
            self.ask()

    def stop(self) -> None:
        """No plan is wanted now. One that is being made ends by itself: it takes a moment only,
        and stopping it would cost the engine that has just started."""
        self._timer.stop()
        self._wanted = False

    def forget(self) -> None:
        """Something was chosen, or the plan is out of sight: no plan is wanted now, and a new one
        when it is asked for."""
        self.stop()
        self._stale = True

    def _plan(self) -> None:
        if not self._session.description:
            return
        if self._task is not None:
            self._timer.start()
            return
        try:
            task = self._make()
        except TilthError as error:
            self.incomplete.emit(str(error))
            return
        self._warnings = []
        task.noticed.connect(self._noticed)
        task.succeeded.connect(self._succeeded)
        task.failed.connect(self._failed)
        task.ended.connect(self._ended)
        self._task, self._wanted = task, True
        self.looking.emit()
        self._session.start(task)

    def _noticed(self, level: str, message: str) -> None:
        if level == "warning" and message not in self._warnings:
            self._warnings.append(message)

    def _succeeded(self, plan: Any) -> None:
        if self._wanted:
            self._stale = False
            told = [text for text in plan.get("warnings") or [] if text not in self._warnings]
            self.planned.emit({**plan, "warnings": self._warnings + told})

    def _failed(self, kind: str, message: str, _log: str) -> None:
        if self._wanted and kind != "cancelled":
            self._stale = False
            self.refused.emit(message)

    def _ended(self) -> None:
        self._task, self._wanted = None, False
