"""A form of which some rows are left out for a time."""

from __future__ import annotations

from typing import Collection, List, Tuple

from qgis.PyQt.QtWidgets import QFormLayout, QWidget


class FormRows:
    """All rows of a form, each a label and a field, in their order.

    Rows are taken out of the form, since Qt 5 keeps the space between rows that are hidden.
    """

    def __init__(self, form: QFormLayout) -> None:
        """Take the rows that are in the form now; Tab goes through them in this order."""
        self._form = form
        role = QFormLayout.ItemRole
        self._rows: List[Tuple[QWidget, QWidget]] = [
            (
                form.itemAt(row, role.LabelRole).widget(),
                form.itemAt(row, role.FieldRole).widget(),
            )
            for row in range(form.rowCount())
        ]
        fields = [field for _label, field in self._rows]
        for before, after in zip(fields, fields[1:]):
            QWidget.setTabOrder(before, after)
        self._shown = fields

    def leave_out(self, fields: Collection[QWidget]) -> None:
        """Show all rows but those of these fields."""
        shown = [field for _label, field in self._rows if field not in fields]
        if shown == self._shown:
            return
        self._shown = shown
        while self._form.rowCount():
            self._form.takeRow(0)
        for label, field in self._rows:
            if field in shown:
                self._form.addRow(label, field)
            label.setVisible(field in shown)
            field.setVisible(field in shown)

    def shows(self, field: QWidget) -> bool:
        """Whether the row of a field is in the form, be the form itself open or closed."""
        return field in self._shown
