"""Brings parts of a scrolled page into view, upwards and downwards only."""

from __future__ import annotations

from typing import Optional, Tuple

from qgis.PyQt.QtCore import QEvent, QObject, QPoint, QTimer
from qgis.PyQt.QtWidgets import QScrollArea, QWidget


class InView(QObject):
    """Scrolls once all that appears with a part has its place, and once the page is shown."""

    def __init__(self, scroll: QScrollArea) -> None:
        super().__init__(scroll)
        self._scroll = scroll
        self._wanted: Optional[QWidget] = None
        self._brought: Tuple[Optional[QWidget], int] = None, 0
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._go)
        scroll.installEventFilter(self)

    def bring(self, part: QWidget) -> None:
        """Show the whole part; of one that is too high, its beginning."""
        self._wanted = part
        self._timer.start()

    def holds(self, part: QWidget) -> bool:
        """Whether the part is in view, as far as there is room for it. On a page that is not shown:
        whether it was brought there and nobody has scrolled since."""
        if not self._scroll.isVisible():
            return self._brought == (part, self._scroll.verticalScrollBar().value())
        if not part.isVisible():
            return False
        room = min(part.height(), self._scroll.viewport().height())
        return bool(part.visibleRegion().boundingRect().height() >= room)

    def eventFilter(self, _scroll: QObject, event: QEvent) -> bool:  # noqa: N802 (Qt's name)
        if event.type() == QEvent.Type.Show and self._wanted is not None:
            self._timer.start()
        return False

    def _go(self) -> None:
        part, contents = self._wanted, self._scroll.widget()
        if part is None or not self._scroll.isVisible():
            return
        self._wanted = None
        for layout in (self._scroll.parentWidget().layout(), contents.layout()):
            layout.activate()
        bar, room = self._scroll.verticalScrollBar(), self._scroll.viewport().height()
        top = part.mapTo(contents, QPoint(0, 0)).y()
        least = min(top, top + part.height() + contents.layout().spacing() - room)
        bar.setValue(min(max(bar.value(), least), top))
        self._brought = part, bar.value()
