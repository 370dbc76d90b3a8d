"""A form of which some rows are left out for a time."""

from __future__ import annotations

from typing import Collection, Optional, Tuple

from qgis.PyQt.QtWidgets import QFormLayout, QWidget

Row = Tuple[Optional[QWidget], QWidget, bool]


class FormRows:
    """All rows of a form, in their order: a label, if any, and a field, which may be across both.

    Rows are taken out of the form, since Qt 5 keeps the space between rows that are hidden.
    """

    def __init__(self, form: QFormLayout) -> None:
        """Take the rows that are in the form now; Tab goes through them in this order."""
        self._form = form
        self._rows = [_parts(form, row) for row in range(form.rowCount())]
        fields = [field for _label, field, _across in self._rows]
        for before, after in zip(fields, fields[1:]):
            QWidget.setTabOrder(before, after)
        self._shown = fields

    def leave_out(self, fields: Collection[QWidget]) -> None:
        """Show all rows but those of these fields."""
        shown = [field for _label, field, _across in self._rows if field not in fields]
        if shown == self._shown:
            return
        self._shown = shown
        while self._form.rowCount():
            self._form.takeRow(0)
        for label, field, across in self._rows:
            if field in shown:
                self._form.addRow(*((field,) if across else (label, field)))
            if label is not None:
                label.setVisible(field in shown)
            field.setVisible(field in shown)

    def shows(self, field: QWidget) -> bool:
        """Whether the row of a field is in the form, be the form itself open or closed."""
        return field in self._shown


def _parts(form: QFormLayout, row: int) -> Row:
    role = QFormLayout.ItemRole
    across = form.itemAt(row, role.SpanningRole) is not None
    label = None if across else form.itemAt(row, role.LabelRole)
    field = form.itemAt(row, role.FieldRole).widget()
    return label.widget() if label is not None else None, field, across
