"""The choices of a method and of a decoder: all methods, in groups, each with a line about it."""

from __future__ import annotations

from qgis.PyQt.QtCore import QCoreApplication, Qt
from qgis.PyQt.QtWidgets import QComboBox

from ..engine.method_list import BASELINES, GROUPS, METHODS

_DECODERS = {
    "slim": "Detailed and small",
    "unet": "U-Net",
    "upernet": "UperNet",
    "fcn": "FCN",
    "linear": "Plain (linear)",
}


def title(name: str) -> str:
    """What a method or baseline is called."""
    about = METHODS.get(name) or BASELINES.get(name)
    return _tr(about.title) if about else name


def decoder_title(name: str) -> str:
    """What a decoder is called."""
    return _tr(_DECODERS.get(name, name))


def fill_decoders(combo: QComboBox) -> None:
    """Put the decoders into a combo box: the id is an item's data."""
    for name in _DECODERS:
        combo.addItem(decoder_title(name), name)


def fill(combo: QComboBox, baselines: bool = True) -> None:
    """Put the methods into a combo box: the id is an item's data, the line its tool tip.

    Without ``baselines`` only those that have a backbone.
    """
    combo.blockSignals(True)
    combo.clear()
    for group in GROUPS:
        if combo.count():
            combo.insertSeparator(combo.count())
        for name in group:
            combo.addItem(_tr(METHODS[name].title), name)
            tip = _tr(METHODS[name].summary)
            combo.setItemData(combo.count() - 1, tip, Qt.ItemDataRole.ToolTipRole)
    if baselines:
        combo.insertSeparator(combo.count())
    for name, baseline in BASELINES.items() if baselines else ():
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
