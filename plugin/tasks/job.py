"""The task that runs a job in a worker."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, Optional, Sequence

from qgis.core import QgsFeedback
from qgis.PyQt.QtCore import Qt, pyqtSignal

from ..worker.faults import WorkerError
from ..worker.pool import WorkerPool
from .base import BaseTask


@dataclass
class Step:
    """Something to do in the task's thread before the job is sent, such as writing labels.

    ``act(job, folder, feedback)`` completes the job; ``folder`` is for its files. What it returns,
    if anything, are warnings for the user. It raises TilthError where a person can mend it.
    """

    message: str
    act: Callable[[Any, Path, QgsFeedback], Optional[Iterable[str]]]


class JobTask(BaseTask):
    """Runs its steps, then its job; turns the worker's events into signals.

    ``folder`` is where the steps write; it is kept. Without one they get a temporary folder, which
    goes when the job has ended.
    """

    measured = pyqtSignal(int, int, object)
    """Epoch, epochs (0: not known), and a dictionary of values."""

    def __init__(
        self,
        description: str,
        pool: WorkerPool,
        job: Any,
        prepare: Sequence[Step] = (),
        folder: Optional[Path] = None,
    ) -> None:
        super().__init__(description)
        self.job = job
        self._pool = pool
        self._steps = list(prepare)
        self._folder = folder

    def work(self) -> object:
        """In the thread: prepare, run, tidy up."""
        if self._folder is not None:
            self._folder.mkdir(parents=True, exist_ok=True)
            return self._in_folder(self._folder)
        folder = Path(tempfile.mkdtemp(prefix="tilth-"))
        try:
            return self._in_folder(folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _in_folder(self, folder: Path) -> Dict[str, Any]:
        for step in self._steps:
            self._stop_if_cancelled()
            self._take(step, folder)
        self._stop_if_cancelled()
        return self._pool.run(self.job, self._hear, self.isCanceled)

    def _take(self, step: Step, folder: Path) -> None:
        """Do a step. Its progress shows in words: the bar is the job's."""

        def show(percent: float) -> None:
            self.tell(0.0, f"{step.message} ({percent:.0f} %)" if percent > 0 else step.message)

        show(0.0)
        self.feedback.progressChanged.connect(show, Qt.ConnectionType.DirectConnection)
        try:
            for warning in step.act(self.job, folder, self.feedback) or ():
                self.noticed.emit("warning", warning)
        finally:
            self.feedback.progressChanged.disconnect(show)

    def _stop_if_cancelled(self) -> None:
        if not self.wanted():
            raise WorkerError("cancelled", "Cancelled.")

    def _hear(self, event: Dict[str, Any]) -> None:
        """In the thread: an event of the worker as a signal. Entries that lack are left out."""
        kind = event["event"]
        if kind == "progress":
            left = event.get("seconds_left")
            self.tell(
                float(event.get("fraction") or 0.0),
                str(event.get("message") or ""),
                None if left is None else float(left),
            )
        elif kind == "metrics":
            values = event.get("values")
            self.measured.emit(
                int(event.get("epoch") or 0),
                int(event.get("epochs") or 0),
                values if isinstance(values, dict) else {},
            )
        elif kind == "notice":
            self.noticed.emit(str(event.get("level") or "info"), str(event.get("message") or ""))
