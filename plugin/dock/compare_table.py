"""The table of a comparison: one row a choice, the best first."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Optional

from qgis.PyQt.QtCore import QCoreApplication, Qt
from qgis.PyQt.QtWidgets import QHeaderView, QTableWidget, QTableWidgetItem

from . import tips

# The column that is there only where a region was cut off.
_UNSEEN = 2


def _tr(text: str) -> str:
    return QCoreApplication.translate("CompareTable", text)


def set_up(table: QTableWidget) -> None:
    """Give the table its columns."""
    heads = (
        (_tr("Choice"), ""),
        (_tr("Score"), _tr("Macro-F1 on the held-out polygons, the mean over the seeds")),
        (_tr("Unseen"), _tr("Macro-F1 in the region that no training saw")),
        (_tr("Spread"), _tr("Standard deviation of the score over the seeds")),
        (_tr("Minutes"), _tr("What a training takes")),
        (_tr("Memory"), _tr("The GPU's peak where there is one, else all that the process took")),
        (_tr("File"), _tr("Size of the adapter's file")),
        (_tr("Verdict"), _tr("By 95 % intervals over the seeds, paired; from three seeds on")),
    )
    table.setColumnCount(len(heads))
    for column, (text, tip) in enumerate(heads):
        item = QTableWidgetItem(text)
        item.setToolTip(tip)
        table.setHorizontalHeaderItem(column, item)
    table.verticalHeader().hide()
    table.setColumnHidden(_UNSEEN, True)
    # Names and verdicts share what the figures leave, and break where they have to.
    header, mode = table.horizontalHeader(), QHeaderView.ResizeMode
    for column in range(len(heads)):
        wide = column in (0, len(heads) - 1)
        header.setSectionResizeMode(column, mode.Stretch if wide else mode.ResizeToContents)
    table.verticalHeader().setSectionResizeMode(mode.ResizeToContents)


def show(
    table: QTableWidget, choices: List[Dict[str, Any]], title_of: Callable[[str], str]
) -> None:
    """Fill in the summaries of the choices; the selection stays on its choice. ``title_of`` says
    what a choice of a name is called."""
    chosen, last = selected(table), table.columnCount() - 1
    table.setRowCount(len(choices))
    table.setColumnHidden(_UNSEEN, all(entry.get("region_score") is None for entry in choices))
    for row, summary in enumerate(choices):
        name = str(summary.get("choice") or "")
        for column, text in enumerate([title_of(name), *_cells(summary)]):
            item = QTableWidgetItem(text)
            item.setToolTip(tips.plain(text) if column in (0, last) else "")
            if 0 < column < last:
                item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
            table.setItem(row, column, item)
        table.item(row, 0).setData(Qt.ItemDataRole.UserRole, name)
        if name == chosen:
            table.selectRow(row)


def selected(table: QTableWidget) -> Optional[str]:
    """The choice whose row is selected."""
    rows = table.selectionModel().selectedRows()
    item = table.item(rows[0].row(), 0) if rows else None
    return item.data(Qt.ItemDataRole.UserRole) if item is not None else None


def _cells(summary: Dict[str, Any]) -> List[str]:
    spread, peak = summary.get("spread"), summary.get("peak_mb")
    return [
        _figure(summary.get("score"), "{:.3f}"),
        _figure(summary.get("region_score"), "{:.3f}"),
        _figure(spread, "± {:.3f}"),
        _figure(summary.get("minutes"), "{:.1f}"),
        _figure(peak / 1000 if isinstance(peak, (int, float)) else None, "{:.1f} GB"),
        _figure(summary.get("adapter_mb"), "{:.1f} MB"),
        _verdict(summary),
    ]


def _verdict(summary: Dict[str, Any]) -> str:
    if summary.get("error"):
        return str(summary["error"])
    difference = summary.get("difference")
    if not difference:
        return ""
    if difference[0] == 0:
        return _tr("the best")
    if summary.get("like_best"):
        return _tr("not told apart from the best")
    return _tr("below the best")


def _figure(value: Any, form: str) -> str:
    return form.format(value) if isinstance(value, (int, float)) else "–"
