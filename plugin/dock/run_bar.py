"""The foot of a page that runs something: progress, time left, its two buttons."""

from __future__ import annotations

from typing import Any, Optional

from qgis.PyQt.QtCore import QObject, pyqtSignal

from ..tasks.base import BaseTask
from .ui_file import make_plain, make_quiet


def time_text(seconds: float) -> str:
    """A duration as people say it."""
    if seconds < 50:
        return f"{max(1, round(seconds))} s"
    if seconds < 90 * 60:
        return f"{max(1, round(seconds / 60))} min"
    return f"{seconds / 3600:.1f} h"


class RunBar(QObject):
    """Shows one task at a time with the page's own widgets."""

    ended = pyqtSignal()

    def __init__(self, page: Any) -> None:
        super().__init__(page)
        self._page = page
        self.task: Optional[BaseTask] = None
        make_quiet(page.progressLabel)
        make_plain(page.progressLabel)
        page.cancelButton.clicked.connect(self.cancel)
        self._show(False)

    @property
    def busy(self) -> bool:
        """Whether a task is running."""
        return self.task is not None

    def follow(self, task: BaseTask) -> None:
        """Show this task until it ends. To be called before it is started."""
        self.task = task
        task.progressed.connect(self._progressed)
        task.ended.connect(self._ended)
        self._page.progressBar.setRange(0, 0)
        self._page.progressLabel.setText(self.tr("Starting…"))
        self._show(True)

    def cancel(self) -> None:
        """Ask the task to stop."""
        if self.task is not None:
            self._page.cancelButton.setEnabled(False)
            self._page.progressLabel.setText(self.tr("Cancelling…"))
            self.task.cancel()

    def _progressed(self, fraction: float, message: str, left: Any) -> None:
        if self.task is None or self.task.isCanceled():
            return
        self._page.progressBar.setRange(0, 1000 if fraction > 0 else 0)
        self._page.progressBar.setValue(int(1000 * fraction))
        if isinstance(left, (int, float)) and left >= 1:
            message += " · " + self.tr("about {} left").format(time_text(left))
        self._page.progressLabel.setText(message)

    def _ended(self) -> None:
        self.task = None
        self._show(False)
        self.ended.emit()

    def _show(self, busy: bool) -> None:
        page = self._page
        page.runButton.setVisible(not busy)
        page.cancelButton.setVisible(busy)
        page.cancelButton.setEnabled(busy)
        page.progressBar.setVisible(busy)
        if not busy:
            page.progressLabel.clear()
