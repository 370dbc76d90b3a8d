"""The table of classes: colour, name, how many polygons."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, List, Sequence

from qgis.PyQt.QtCore import QSize, Qt
from qgis.PyQt.QtWidgets import QHeaderView, QTableWidget, QTableWidgetItem

from . import icons, tips

MOST_ROWS = 8


@dataclass
class ClassRow:
    """One class as the table shows it; ``polygons`` is empty where it means nothing."""

    name: str
    colour: str
    polygons: str
    tip: str = ""


def prepare(table: QTableWidget, headers: Sequence[str]) -> None:
    """Set the table's looks, once."""
    table.setColumnCount(len(headers))
    table.setHorizontalHeaderLabels(list(headers))
    header = table.horizontalHeader()
    header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
    for column in range(1, len(headers)):
        header.setSectionResizeMode(column, QHeaderView.ResizeMode.ResizeToContents)
    header.setHighlightSections(False)
    first = table.horizontalHeaderItem(0)
    first.setTextAlignment(_value(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter))
    table.verticalHeader().hide()
    table.verticalHeader().setDefaultSectionSize(table.fontMetrics().height() + 8)
    table.setIconSize(QSize(14, 14))
    table.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    table.setTextElideMode(Qt.TextElideMode.ElideRight)
    fill(table, [])


def fill(table: QTableWidget, rows: List[ClassRow]) -> None:
    """Show these classes."""
    table.setRowCount(len(rows))
    for number, row in enumerate(rows):
        name = QTableWidgetItem(icons.swatch(row.colour), row.name)
        name.setToolTip(tips.plain(row.tip or row.name))
        polygons = QTableWidgetItem(row.polygons)
        polygons.setTextAlignment(
            _value(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        )
        table.setItem(number, 0, name)
        table.setItem(number, 1, polygons)
    shown = min(MOST_ROWS, len(rows))
    height = table.horizontalHeader().sizeHint().height() + 2 * table.frameWidth()
    table.setFixedHeight(height + shown * table.verticalHeader().defaultSectionSize() + 1)
    table.setVisible(bool(rows))


def _value(alignment: Any) -> int:
    """The number of an alignment, in PyQt5 and in PyQt6."""
    return int(getattr(alignment, "value", alignment))
