"""The fields that only some methods, backbones and decoders heed."""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, Set

from qgis.PyQt.QtCore import QObject, Qt, pyqtSignal
from qgis.PyQt.QtWidgets import QFormLayout, QWidget

from ..engine.jobs import METHOD_SETTINGS, NO_BACKBONE
from ..engine.method_list import BASELINES, METHODS
from . import settings
from .backbone_facts import Card
from .layer_names import FUSED, NAMES, as_targets, layers_of
from .ui_file import load

DEFAULTS: Dict[str, Any] = {
    "rank": None,
    "alpha": None,
    "dropout": None,
    "targets": [],
    "prompts": 100,
    "image_branch": True,
    "normalisation": "auto",
    "zoom": 0.0,
    "time_location": False,
}
"""What a training has where nobody says otherwise, entry by entry."""

OF_METHOD = ("rank", "alpha", "dropout", "targets", "prompts")
"""The entries that a method has; the others concern decoder and image."""

_BRANCHED = ("linear", "fcn", "unet", "upernet")


class MethodFields(QObject):
    """Adds its rows to a form, below the rows of the method and of the decoder."""

    changed = pyqtSignal()

    def __init__(self, form: QFormLayout, method: QWidget, decoder: QWidget) -> None:
        super().__init__(form)
        self._card: Card = {}
        self._heeded: Set[str] = set()
        parts = QWidget(form.parentWidget())
        load("method_fields", parts)
        self.widgets: Dict[str, Any] = {
            "rank": parts.rankSpin,
            "alpha": parts.alphaSpin,
            "dropout": parts.dropoutSpin,
            "targets": parts.targetsCombo,
            "prompts": parts.promptsSpin,
            "image_branch": parts.imageBranchCheck,
            "normalisation": parts.normalisationCombo,
            "zoom": parts.zoomSpin,
            "time_location": parts.timeLocationCheck,
        }
        self._labels = {name: getattr(parts, f"{name}Label") for name in self.widgets}
        self._fill()
        for name in reversed(tuple(self.widgets)):
            row = form.getWidgetPosition(method if name in OF_METHOD else decoder)[0] + 1
            form.insertRow(row, self._labels[name], self.widgets[name])
        parts.deleteLater()
        self.set_values({})
        self._connect()

    def adapt_to(self, method: str, decoder: str, card: Card) -> List[QWidget]:
        """Be about a training with these; returns the fields that it does not heed, which are to
        be left out of the form. The card is empty where it isn't known yet."""
        self._card, self._heeded = card, set(_heeded(method, decoder, card))
        about = METHODS.get(method)
        rank, dropout = (about.rank, about.dropout) if about else (0, 0.0)
        self._labels["rank"].setText(self.tr("Block side") if method == "oft" else self.tr("Rank"))
        self.widgets["rank"].setSpecialValueText(self.tr("Automatic: {}").format(rank))
        self.widgets["dropout"].setSpecialValueText(self.tr("Automatic: {:g}").format(dropout))
        there, combo = layers_of(card), self.widgets["targets"]
        for row in range(combo.count()):
            combo.model().item(row).setEnabled(combo.itemData(row) in there)
        return [widget for name, widget in self.widgets.items() if name not in self._heeded]

    def values(self) -> Dict[str, Any]:
        """The entries of a training job that are heeded and other than the usual ones."""
        heeded = {name: value for name, value in self._all().items() if name in self._heeded}
        if "targets" in heeded:
            heeded["targets"] = as_targets(heeded["targets"], self._card)
        return {name: value for name, value in heeded.items() if value != DEFAULTS[name]}

    def set_values(self, values: Dict[str, Any]) -> None:
        """Fill in these entries, and the usual ones for all others."""
        wanted, fields = {**DEFAULTS, **values}, self.widgets
        fields["rank"].setValue(wanted["rank"] or 0)
        fields["alpha"].setValue(wanted["alpha"] or 0)
        dropout = wanted["dropout"]
        fields["dropout"].setValue(fields["dropout"].minimum() if dropout is None else dropout)
        combo = fields["targets"]
        ticked = [part for name in wanted["targets"] for part in FUSED.get(name, (name,))]
        for row in range(combo.count()):
            on = combo.itemData(row) in ticked
            state = Qt.CheckState.Checked if on else Qt.CheckState.Unchecked
            combo.setItemCheckState(row, state)
        fields["prompts"].setValue(wanted["prompts"])
        fields["image_branch"].setChecked(wanted["image_branch"])
        combo = fields["normalisation"]
        combo.setCurrentIndex(max(combo.findData(wanted["normalisation"]), 0))
        fields["zoom"].setValue(wanted["zoom"])
        fields["time_location"].setChecked(wanted["time_location"])

    def to_keep(self) -> Dict[str, Any]:
        """The entries as settings, for the next time."""
        kept = {f"train/{name}": value for name, value in self._all().items()}
        kept["train/targets"] = " ".join(kept["train/targets"])
        return {key: "" if value is None else value for key, value in kept.items()}

    def restore(self) -> None:
        """Fill in what was kept."""
        dropout = settings.number("train/dropout", -1.0)
        self.set_values(
            {
                "rank": int(settings.number("train/rank", 0)),
                "alpha": int(settings.number("train/alpha", 0)),
                "dropout": dropout if dropout >= 0 else None,
                "targets": settings.text("train/targets").split(),
                "prompts": int(settings.number("train/prompts", DEFAULTS["prompts"])),
                "image_branch": settings.flag("train/image_branch", True),
                "normalisation": settings.text("train/normalisation", "auto"),
                "zoom": settings.number("train/zoom", 0.0),
                "time_location": settings.flag("train/time_location", False),
            }
        )

    def show_plan(self, plan: Dict[str, Any]) -> None:
        """Say what the engine chose where it was left to it."""
        values, automatic = self.values(), self.tr("Automatic")
        zoom, by = plan.get("zoom"), str(plan.get("normalisation"))
        known = isinstance(zoom, (int, float)) and "zoom" not in values
        text = f"{automatic}: {zoom:g} ×" if known else automatic
        self.widgets["zoom"].setSpecialValueText(text)
        words = {"card": self.tr("by the model"), "image": self.tr("by the image")}
        known = by in words and "normalisation" not in values
        text = f"{automatic}: {words[by]}" if known else automatic
        self.widgets["normalisation"].setItemText(0, text)

    def _all(self) -> Dict[str, Any]:
        fields = self.widgets
        dropout = round(fields["dropout"].value(), 2)
        return {
            "rank": fields["rank"].value() or None,
            "alpha": fields["alpha"].value() or None,
            "dropout": None if dropout < 0 else dropout,
            "targets": [str(name) for name in fields["targets"].checkedItemsData()],
            "prompts": fields["prompts"].value(),
            "image_branch": fields["image_branch"].isChecked(),
            "normalisation": str(fields["normalisation"].currentData()),
            "zoom": round(fields["zoom"].value(), 2),
            "time_location": fields["time_location"].isChecked(),
        }

    def _fill(self) -> None:
        combo = self.widgets["targets"]
        combo.setSeparator(", ")
        combo.setDefaultText(self.tr("Automatic"))
        for name in NAMES:
            combo.addItemWithCheckState(name, Qt.CheckState.Unchecked, name)
        combo = self.widgets["normalisation"]
        combo.addItem(self.tr("Automatic"), "auto")
        combo.addItem(self.tr("By the image's own values"), "image")
        combo.addItem(self.tr("By what the model was trained on"), "card")

    def _connect(self) -> None:
        fields = self.widgets
        for name in ("rank", "alpha", "dropout", "prompts", "zoom"):
            fields[name].valueChanged.connect(self._emit)
        for name in ("image_branch", "time_location"):
            fields[name].toggled.connect(self._emit)
        fields["normalisation"].currentIndexChanged.connect(self._emit)
        fields["targets"].checkedItemsChanged.connect(self._emit)

    def _emit(self, *_: object) -> None:
        self.changed.emit()


def _heeded(method: str, decoder: str, card: Card) -> Iterator[str]:
    """The entries that concern a training with this method, decoder and backbone."""
    if method in BASELINES or card.get("id") == NO_BACKBONE:
        return
    for name in METHOD_SETTINGS.get(method, ()):
        if name != "targets" or layers_of(card):
            yield name
    if decoder in _BRANCHED and method != "probe":
        yield "image_branch"
    if card.get("mean"):
        yield "normalisation"
    yield "zoom"
    if card.get("time_location"):
        yield "time_location"
