"""The height of a list that stands above the details of what is selected in it."""

from __future__ import annotations

from qgis.PyQt.QtCore import QEvent, QObject
from qgis.PyQt.QtWidgets import QListWidget, QSplitter

# In rows: with fewer it would not look like a list, with more it leaves the details no room.
_LEAST, _MOST = 3, 8
# Qt's own QWIDGETSIZE_MAX, which PyQt does not tell.
_NO_LIMIT = 16777215
_NEW_LETTERS = (QEvent.Type.FontChange, QEvent.Type.StyleChange, QEvent.Type.Show)


class ListHeight(QObject):
    """Keeps the list as high as its rows, and where these are many as the user has it."""

    def __init__(self, rows: QListWidget, splitter: QSplitter) -> None:
        super().__init__(splitter)
        self._rows, self._splitter = rows, splitter
        self._moved = False
        splitter.setStretchFactor(splitter.indexOf(rows), 0)
        splitter.setStretchFactor(splitter.count() - 1, 1)
        splitter.splitterMoved.connect(self._keep)
        rows.installEventFilter(self)

    def fit(self) -> None:
        """The rows, or the letters, have become others."""
        count = self._rows.count()
        self._rows.setMaximumHeight(self._height(count) if count else _NO_LIMIT)
        if count and not self._moved:
            height, splitter = self._height(min(count, _MOST)), self._splitter
            splitter.setSizes([height, splitter.height() - splitter.handleWidth() - height])

    def eventFilter(self, _rows: QObject, event: QEvent) -> bool:  # noqa: N802 (Qt's name)
        if event.type() in _NEW_LETTERS:
            self.fit()
        return False

    def _height(self, count: int) -> int:
        return max(count, _LEAST) * self._rows.sizeHintForRow(0) + 2 * self._rows.frameWidth()

    def _keep(self, *_: object) -> None:
        self._moved = True
