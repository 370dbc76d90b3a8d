"""Which band of the image is which of the backbone's: shown in a line, changed in a dialog."""

from __future__ import annotations

from typing import Any, Dict, Hashable, List, Optional

from qgis.core import QgsRaster, QgsRasterLayer
from qgis.PyQt.QtCore import Qt, pyqtSignal
from qgis.PyQt.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QTableWidget,
    QTableWidgetItem,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from .brief import Brief
from .ui_file import make_quiet

NOT_USED, EXTRA = "", "+"


class BandMatch(QWidget):
    """A line that says how many bands are used, with a button that opens the table.

    What the user chooses holds for one `subject` (a backbone and its images); with another, Tilth
    finds the match anew.
    """

    changed = pyqtSignal()

    def __init__(self, parent: Optional[QWidget] = None) -> None:
        super().__init__(parent)
        self._told: Dict[str, Any] = {}
        self._subject: Hashable = None
        self._chosen: List[str] = []
        self._chosen_for: Hashable = None
        self.label = QLabel(self)
        make_quiet(self.label)
        self._words = Brief(self.label)
        self.button = QToolButton(self)
        self.button.setText(self.tr("Bands…"))
        self.button.setToolTip(self.tr("See and change which band is which of the backbone's"))
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.label, 1)
        layout.addWidget(self.button)
        self.button.clicked.connect(self.ask)
        self.hide()

    def matching(self, subject: Hashable) -> List[str]:
        """The user's match for a job; empty where Tilth shall find it."""
        return list(self._chosen) if self._chosen and subject == self._chosen_for else []

    def show_plan(self, plan: Dict[str, Any], subject: Hashable) -> None:
        """What the engine found for a subject."""
        match = plan.get("matching") or {}
        self._told, self._subject = match, subject
        self.setVisible(bool(match.get("summary")))
        summary = str(match.get("summary") or "")
        chosen = self.tr(" (chosen by you)") if self.matching(subject) else ""
        words = self.tr("Bands: {}").format(summary) + chosen
        # How many are used comes first in a summary.
        brief = self.tr("Bands: {}").format(summary.partition(";")[0]) + chosen
        scale = str((plan.get("image") or {}).get("scale") or "")
        if scale:
            words += self.tr(". Values: {}").format(scale)
        lines = "\n".join(str(line) for line in match.get("lines") or [])
        self._words.show_text(words, brief, tip=lines)

    def show_refusal(
        self, message: str, subject: Hashable, layers: List[QgsRasterLayer], card: Dict[str, Any]
    ) -> None:
        """The engine can't use what is chosen: where that is about bands, offer to make a match of
        the layers' bands and the card's. What was found for the subject before stays."""
        if subject != self._subject or not self._told.get("table"):
            self._subject = subject
            self._told = {"table": _rows(layers), "choices": _labels(card)}
            self.hide()
        if message.startswith(("bands:", "matching:")):
            unusable = self.tr("Bands: your choice can't be used")
            unknown = self.tr("Bands: no match found")
            self._words.show_text(unusable if self.matching(subject) else unknown, tip=message)
            self.show()

    def ask(self) -> None:
        """Open the table; what is accepted holds from then on."""
        dialog = MatchDialog(self._told, self.matching(self._subject), self)
        if dialog.exec():
            self.choose(dialog.chosen())

    def choose(self, chosen: List[str]) -> None:
        """Take a match for what was last shown; an empty one leaves it to Tilth."""
        self._chosen, self._chosen_for = list(chosen), self._subject
        self.changed.emit()


class MatchDialog(QDialog):
    """A table: each band of the image, and the backbone's band that it is."""

    def __init__(
        self, told: Dict[str, Any], chosen: List[str], parent: Optional[QWidget] = None
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle(self.tr("Bands for the backbone"))
        self._rows = [row for row in told.get("table") or [] if isinstance(row, dict)]
        self._choices = [str(name) for name in told.get("choices") or []]
        self._automatic = False
        self.combos: List[QComboBox] = []
        text = QLabel(
            self.tr(
                "Which band of the image is which of those that the backbone was trained on. "
                "With its image branch, the decoder sees all bands in any case."
            ),
            self,
        )
        text.setWordWrap(True)
        make_quiet(text)
        self.table = self._make_table(chosen)
        standard = QDialogButtonBox.StandardButton
        self.buttons = QDialogButtonBox(standard.Ok | standard.Cancel | standard.Reset, self)
        self.buttons.button(standard.Reset).setText(self.tr("Automatic"))
        self.buttons.button(standard.Reset).setToolTip(self.tr("Let Tilth find the match"))
        self.buttons.button(standard.Reset).clicked.connect(self._reset)
        self.buttons.accepted.connect(self.accept)
        self.buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.addWidget(text)
        layout.addWidget(self.table)
        layout.addWidget(self.buttons)
        self.resize(420, min(560, 180 + 32 * len(self._rows)))

    def chosen(self) -> List[str]:
        """The backbone's band of each of the image's; empty where Tilth shall find them."""
        return [] if self._automatic else [str(combo.currentData()) for combo in self.combos]

    def _make_table(self, chosen: List[str]) -> QTableWidget:
        table = QTableWidget(len(self._rows), 2, self)
        table.setHorizontalHeaderLabels([self.tr("Image"), self.tr("Backbone")])
        table.verticalHeader().hide()
        table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        table.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        table.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        table.setShowGrid(False)
        header = table.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        for number, row in enumerate(self._rows):
            item = QTableWidgetItem(_band_text(row))
            table.setItem(number, 0, item)
            known = len(chosen) == len(self._rows)
            now = chosen[number] if known else str(row.get("model_band") or NOT_USED)
            combo = self._make_combo(now)
            self.combos.append(combo)
            table.setCellWidget(number, 1, combo)
        return table

    def _make_combo(self, now: str) -> QComboBox:
        combo = QComboBox(self)
        combo.addItem(self.tr("not used"), NOT_USED)
        for name in self._choices:
            combo.addItem(name, name)
        extra = self.tr("extra, by its wavelength") if self._choices else self.tr("used")
        combo.addItem(extra, EXTRA)
        combo.setCurrentIndex(max(combo.findData(now), 0))
        return combo

    def _reset(self) -> None:
        self._automatic = True
        self.accept()


def _rows(layers: List[QgsRasterLayer]) -> List[Dict[str, Any]]:
    """The bands of layers as a plan's table has them; an alpha band is a mask and no band."""
    rows = []
    for layer in layers:
        provider = layer.dataProvider()
        for number in range(1, layer.bandCount() + 1):
            if provider.colorInterpretation(number) != QgsRaster.AlphaBand:
                rows.append({"band": layer.bandName(number), "model_band": NOT_USED})
    return rows


def _labels(card: Dict[str, Any]) -> List[str]:
    """The names of a card's bands, with their group where several have the name."""
    bands = [band for band in card.get("bands") or [] if isinstance(band, dict)]
    names = [str(band.get("name")) for band in bands]
    return [
        f"{band['group']} {name}" if band.get("group") and names.count(name) > 1 else name
        for band, name in zip(bands, names)
    ]


def _band_text(row: Dict[str, Any]) -> str:
    length = row.get("wavelength_nm")
    name = str(row.get("band") or "")
    return f"{name} ({length:.0f} nm)" if isinstance(length, (int, float)) else name
