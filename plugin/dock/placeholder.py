"""What an empty list or table says: what will be there, and what to do about it."""

from __future__ import annotations

from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtGui import QPalette
from qgis.PyQt.QtWidgets import QAbstractItemView, QLabel, QVBoxLayout

from .ui_file import make_plain, make_quiet

_MARGIN = 24


class Placeholder(QLabel):
    """Stands in the middle of a view while it has no rows."""

    def __init__(self, view: QAbstractItemView, text: str = "") -> None:
        super().__init__(text, view.viewport())
        self._model = view.model()
        self.setWordWrap(True)
        self.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        # A view's letters are those of its rows; these are a label's.
        self.setForegroundRole(QPalette.ColorRole.WindowText)
        make_plain(self)
        make_quiet(self)
        layout = QVBoxLayout(view.viewport())
        layout.setContentsMargins(_MARGIN, _MARGIN, _MARGIN, _MARGIN)
        layout.addWidget(self)
        for signal in (self._model.rowsInserted, self._model.rowsRemoved, self._model.modelReset):
            signal.connect(self._show)
        self._show()

    def _show(self, *_: object) -> None:
        self.setVisible(self._model.rowCount() == 0)
