"""Asks for one more choice to compare: a backbone, a method, a decoder, and their settings."""

from __future__ import annotations

from typing import List, Optional

from qgis.PyQt.QtWidgets import (
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QFormLayout,
    QLabel,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from . import method_choice
from .backbone_facts import Card
from .compare_entry import Values
from .form_rows import FormRows
from .method_fields import MethodFields
from .ui_file import make_quiet


class AddChoice(QDialog):
    """Offers the backbones that can be trained now."""

    def __init__(
        self, cards: List[Card], backbone: str, decoder: str, parent: Optional[QWidget] = None
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle(self.tr("Add a choice to compare"))
        self._cards = [card for card in cards if can_train(card)]
        self.backbone, self.method, self.decoder = (_combo(self) for _ in range(3))
        for card in self._cards:
            self.backbone.addItem(str(card["title"]), str(card["id"]))
        method_choice.fill(self.method, baselines=False)
        method_choice.fill_decoders(self.decoder)
        column, form = QVBoxLayout(self), QFormLayout()
        column.addLayout(form)
        form.addRow(self.tr("Backbone"), self.backbone)
        form.addRow(self.tr("Method"), self.method)
        form.addRow(self.tr("Decoder"), self.decoder)
        self.fields = MethodFields(form, self.method, self.decoder)
        self._rows = FormRows(form)
        text = QLabel(self.tr("Other backbones have to be downloaded first, on the Train page."))
        text.setWordWrap(True)
        make_quiet(text)
        standard = QDialogButtonBox.StandardButton
        self.buttons = QDialogButtonBox(standard.Ok | standard.Cancel, self)
        self.buttons.button(standard.Ok).setText(self.tr("Add"))
        self.buttons.accepted.connect(self.accept)
        self.buttons.rejected.connect(self.reject)
        column.addWidget(text)
        column.addStretch(1)
        column.addWidget(self.buttons)
        self.resize(440, 420)
        self.backbone.setCurrentIndex(max(self.backbone.findData(backbone), 0))
        self.decoder.setCurrentIndex(max(self.decoder.findData(decoder), 0))
        for combo in (self.backbone, self.method, self.decoder):
            combo.currentIndexChanged.connect(self._show)
        self._show()

    def values(self) -> Values:
        """The entries of a training that were chosen."""
        values = {"backbone": self.backbone.currentData(), "method": self.method.currentData()}
        decoder = self.decoder.currentData()
        if decoder != "slim" and self._rows.shows(self.decoder):
            values["decoder"] = decoder
        return {**values, **self.fields.values()}

    def _show(self, *_: object) -> None:
        method = str(self.method.currentData())
        method_choice.explain(self.method)
        card = self._cards[self.backbone.currentIndex()] if self._cards else {}
        unused = self.fields.adapt_to(method, str(self.decoder.currentData()), card)
        if method == "probe":
            unused.append(self.decoder)
        self._rows.leave_out(unused)


def can_train(card: Card) -> bool:
    """Whether a backbone can be trained now: it runs, and its weights are here or not needed."""
    return bool(card.get("runs") and (card.get("present") or not card.get("needed")))


def _combo(parent: QWidget) -> QComboBox:
    combo = QComboBox(parent)
    combo.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
    return combo
