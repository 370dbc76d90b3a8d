"""A narrow dock, or large letters: what does not fit side by side goes one above the other."""

from __future__ import annotations

from typing import Sequence

from qgis.PyQt.QtCore import QEvent, QObject
from qgis.PyQt.QtWidgets import QBoxLayout, QFormLayout, QLayout, QScrollArea

# In a field of fewer letters than these, little can be read.
_LETTERS = 15


class Narrow(QObject):
    """Puts the labels of a page's forms above their fields while the page is too narrow, and the
    buttons of its rows one above the other."""

    def __init__(
        self, scroll: QScrollArea, forms: Sequence[QFormLayout], rows: Sequence[QBoxLayout] = ()
    ) -> None:
        super().__init__(scroll)
        self._scroll = scroll
        self._forms = forms
        self._rows = rows
        scroll.viewport().installEventFilter(self)

    def eventFilter(self, _viewport: QObject, event: QEvent) -> bool:  # noqa: N802 (Qt's name)
        if event.type() == QEvent.Type.Resize:
            self.fit()
        return False

    def fit(self) -> None:
        """All forms of a page alike."""
        policy, wide = QFormLayout.RowWrapPolicy, self._scroll.viewport().width()
        fits = all(_width(form) <= wide - self._around(form) for form in self._forms)
        for form in self._forms:
            form.setRowWrapPolicy(policy.DontWrapRows if fits else policy.WrapAllRows)
        for row in self._rows:
            fit_row(row, wide - self._around(row))

    def _around(self, layout: QLayout) -> int:
        """The margins around a layout within the page's contents."""
        taken, widget = 0, layout.parentWidget()
        while widget is not None:
            for box in (widget.contentsMargins(), widget.layout().contentsMargins()):
                taken += box.left() + box.right()
            widget = widget.parentWidget() if widget is not self._scroll.widget() else None
        return taken


def fit_row(row: QBoxLayout, width: int) -> None:
    """Put a row's buttons side by side, or one above the other where there is no room."""
    parts = [row.itemAt(number).widget() for number in range(row.count())]
    shown = [part for part in parts if part is not None and not part.isHidden()]
    wide = sum(part.sizeHint().width() + row.spacing() for part in shown) - row.spacing()
    direction = QBoxLayout.Direction
    row.setDirection(direction.LeftToRight if wide <= width else direction.TopToBottom)


def _width(form: QFormLayout) -> int:
    """What a form takes with labels beside the fields."""
    labels, fields = [0], [_LETTERS * form.parentWidget().fontMetrics().averageCharWidth()]
    for row in range(form.rowCount()):
        label = form.itemAt(row, QFormLayout.ItemRole.LabelRole)
        field = form.itemAt(row, QFormLayout.ItemRole.FieldRole)
        if label is not None:
            labels.append(label.minimumSize().width())
        if field is not None and form.itemAt(row, QFormLayout.ItemRole.SpanningRole) is None:
            fields.append(field.minimumSize().width())
    return max(labels) + max(form.horizontalSpacing(), 0) + max(fields)
