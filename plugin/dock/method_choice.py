"""The choice of a method: all there are, in groups, each with a line that says what it does."""

from __future__ import annotations

from qgis.PyQt.QtCore import QCoreApplication, Qt
from qgis.PyQt.QtWidgets import QComboBox

from ..engine.method_list import BASELINES, GROUPS, METHODS


def fill(combo: QComboBox) -> None:
    """Put the methods into a combo box: the id is an item's data, the line its tool tip."""
    combo.blockSignals(True)
    combo.clear()
    for group in GROUPS:
        if combo.count():
            combo.insertSeparator(combo.count())
        for name in group:
            combo.addItem(_tr(METHODS[name].title), name)
            tip = _tr(METHODS[name].summary)
            combo.setItemData(combo.count() - 1, tip, Qt.ItemDataRole.ToolTipRole)
    combo.insertSeparator(combo.count())
    for name, baseline in BASELINES.items():
        combo.addItem(_tr(baseline.title), name)
        tip = _tr(baseline.summary)
        combo.setItemData(combo.count() - 1, tip, Qt.ItemDataRole.ToolTipRole)
    combo.setMaxVisibleItems(combo.count())
    combo.blockSignals(False)


def explain(combo: QComboBox) -> None:
    """Let the tool tip of the box be the line of the method that is chosen."""
    name = str(combo.currentData())
    about = METHODS.get(name) or BASELINES.get(name)
    combo.setToolTip(_tr(about.summary) if about else "")


def _tr(text: str) -> str:
    return QCoreApplication.translate("Methods", text)
