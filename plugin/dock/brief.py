"""A label that says what matters first where there is no room for all; the tip has the rest."""

from __future__ import annotations

from qgis.PyQt.QtCore import QEvent, QObject, QRect, Qt
from qgis.PyQt.QtWidgets import QLabel

from . import tips
from .ui_file import make_plain

# With more lines the whole text takes the page's room.
_MOST_LINES = 4
_OTHER_ROOM = (QEvent.Type.Show, QEvent.Type.Resize, QEvent.Type.FontChange)


class Brief(QObject):
    """Chooses between a text and a brief one by the label's width and letters."""

    def __init__(self, label: QLabel) -> None:
        super().__init__(label)
        self._label = label
        self._whole = self._brief = self._also = self._tip = ""
        label.setWordWrap(True)
        make_plain(label)
        label.installEventFilter(self)

    def show_text(self, whole: str, brief: str = "", also: str = "", tip: str = "") -> None:
        """Without a brief text the whole one is shown anywhere; ``also`` stands below either."""
        self._whole, self._brief, self._also, self._tip = whole, brief, also, tip
        self._fit()

    def eventFilter(self, _label: QObject, event: QEvent) -> bool:  # noqa: N802 (Qt's name)
        if event.type() in _OTHER_ROOM:
            self._fit()
        return False

    def _fit(self) -> None:
        # What is not shown has no place yet, and so no room that could be told.
        short = bool(self._brief) and self._label.isVisible() and not self._has_room()
        shown = self._brief if short else self._whole
        self._label.setText("\n\n".join(filter(None, [shown, self._also])))
        more = filter(None, [self._whole if short else "", self._tip])
        self._label.setToolTip(tips.plain("\n".join(more)))

    def _has_room(self) -> bool:
        metrics, room = self._label.fontMetrics(), QRect(0, 0, self._label.width(), 0)
        box = metrics.boundingRect(room, Qt.TextFlag.TextWordWrap, self._whole)
        # Rounded: a text's lines are not whole pixels high.
        return round(box.height() / metrics.lineSpacing()) <= _MOST_LINES
