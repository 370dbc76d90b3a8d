"""What all background tasks of Tilth have in common.

``work`` is called in a thread of QGIS's task manager: no widget, no layer, no message box there.
Everything that the main thread has to know leaves as a signal; Qt delivers it in the main thread.
A task ends with exactly one of ``succeeded`` and ``failed``, then ``ended``.
"""

from __future__ import annotations

import time
import traceback
from typing import Optional, Tuple

from qgis.core import Qgis, QgsMessageLog, QgsRasterBlockFeedback, QgsTask
from qgis.PyQt.QtCore import pyqtSignal

from ..engine.errors import TilthError
from ..environment import explain
from ..worker.faults import WorkerError
from .threads import pool_of_tasks, thread_lent

LOG_TAG = "Tilth"
_TELL_SECONDS = 0.1


class BaseTask(QgsTask):
    """A task whose progress and cancel button QGIS shows."""

    progressed = pyqtSignal(float, str, object)
    """Fraction done (0 to 1), what happens now, seconds left or None."""
    noticed = pyqtSignal(str, str)
    """Level ("info" or "warning") and a message."""
    succeeded = pyqtSignal(object)
    """The result."""
    failed = pyqtSignal(str, str, str)
    """Kind of fault ("cancelled", "input", ...), one line for people, path of a log or ""."""
    ended = pyqtSignal()
    """The last word, after either."""

    def __init__(self, description: str) -> None:
        """To be made in the main thread."""
        super().__init__(description, QgsTask.Flag.CanCancel)
        self.feedback = QgsRasterBlockFeedback()
        self._threads = pool_of_tasks()
        self._result: object = None
        self._fault: Optional[Tuple[str, str, str]] = None
        self._done = False
        self._told = (0.0, "")
        self._told_at = 0.0

    def work(self) -> object:
        """Do the work, in the thread, and return the result. Raise what went wrong."""
        raise NotImplementedError

    def wanted(self) -> bool:
        """Whether the work should go on."""
        return not self.isCanceled()

    def tell(self, fraction: float, message: str, seconds_left: Optional[float] = None) -> None:
        """Announce progress, from the thread; ten times a second at most."""
        now = time.monotonic()
        due = now - self._told_at >= _TELL_SECONDS
        if due or message != self._told[1] or fraction >= 1.0:
            self._told, self._told_at = (fraction, message), now
            self.setProgress(100.0 * min(max(fraction, 0.0), 1.0))
            self.progressed.emit(fraction, message, seconds_left)

    def run(self) -> bool:
        """Called by QGIS in the thread."""
        try:
            # It mostly waits. Without this, two of ours would stop all other tasks of a small
            # machine, and in QGIS 3.22 the drawing of the map too.
            with thread_lent(self._threads):
                self._result = self.work()
        except WorkerError as error:
            self._fault = (error.kind, error.message, error.log)
        except TilthError as error:
            kind = "input" if self.wanted() else "cancelled"
            self._fault = (kind, str(error), "")
        except Exception as error:  # nothing may leave a thread of QGIS
            known = explain.disk(error) if isinstance(error, OSError) else ""
            if not known:  # a fault of ours
                details, level = traceback.format_exc(), Qgis.MessageLevel.Critical
                QgsMessageLog.logMessage(details, LOG_TAG, level)
                known = f"{type(error).__name__}: {error} (details are in the Tilth log of QGIS)"
            self._fault = ("internal" if self.wanted() else "cancelled", known, "")
        return self._fault is None

    def finished(self, result: bool) -> None:
        """Called by QGIS in the main thread; also for a task that was cancelled in the queue."""
        if self._done:
            return
        self._done = True
        try:
            if result:
                self.succeeded.emit(self._result)
            else:
                self.failed.emit(*(self._fault or ("cancelled", "Cancelled.", "")))
        finally:
            self.ended.emit()

    def cancel(self) -> None:
        """Stop as soon as possible; safe from any thread, also twice."""
        self.feedback.cancel()
        super().cancel()
