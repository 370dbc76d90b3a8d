"""The box of methods."""

from __future__ import annotations

from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtWidgets import QComboBox
from tilth.plugin.dock import method_choice
from tilth.plugin.engine.method_list import BASELINES, GROUPS, METHODS


def test_every_method_is_there_once_lora_first_each_with_its_line(qgis_app):
    combo = QComboBox()
    combo.addItem("something earlier")

    method_choice.fill(combo)

    items = [combo.itemData(i) for i in range(combo.count())]
    names = [name for name in items if name is not None]
    assert names[0] == combo.currentData() == "lora"
    assert sorted(names) == sorted([*METHODS, *BASELINES])
    assert items.count(None) == len(GROUPS)
    for name in METHODS:
        at = combo.findData(name)
        assert combo.itemText(at) == METHODS[name].title
        assert combo.itemData(at, Qt.ItemDataRole.ToolTipRole) == METHODS[name].summary

    combo.setCurrentIndex(combo.findData("vpt"))
    method_choice.explain(combo)
    assert combo.toolTip() == METHODS["vpt"].summary
