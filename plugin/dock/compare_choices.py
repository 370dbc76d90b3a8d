"""The list of what can be compared, with check boxes: what has no backbone, and all methods."""

from __future__ import annotations

from typing import List

from qgis.PyQt.QtCore import QCoreApplication, QObject, Qt, pyqtSignal
from qgis.PyQt.QtWidgets import QListWidget, QListWidgetItem

from ..engine.compare_job import Choice
from ..engine.method_list import BASELINES, GROUPS, METHODS
from . import settings

USUAL = ("forest", "forest-neighbourhood", "alone", "frozen", "lora")
_KEY = "compare/choices"


def title(name: str) -> str:
    """What a method or baseline is called, in the user's language."""
    about = METHODS.get(name) or BASELINES.get(name)
    return QCoreApplication.translate("Methods", about.title) if about else name


class ChoiceList(QObject):
    """Fills the list that it is given, and reads it."""

    changed = pyqtSignal()

    def __init__(self, widget: QListWidget) -> None:
        super().__init__(widget)
        self._widget = widget
        self._heading = QListWidgetItem()
        ticked = settings.text(_KEY, " ".join(USUAL)).split()
        self._add_heading(QListWidgetItem(self.tr("Without a foundation model")))
        for name, baseline in BASELINES.items():
            self._add(name, baseline.summary, name in ticked)
        self._add_heading(self._heading)
        for name in (name for group in GROUPS for name in group):
            self._add(name, METHODS[name].summary, name in ticked)
        widget.itemChanged.connect(self._changed)

    def name_backbone(self, backbone: str) -> None:
        """Say which backbone the methods are tried on."""
        self._heading.setText(self.tr("With {}").format(backbone))

    def ticked(self) -> List[str]:
        """The methods and baselines to compare, in order."""
        items = [self._widget.item(row) for row in range(self._widget.count())]
        return [
            item.data(Qt.ItemDataRole.UserRole)
            for item in items
            if item.data(Qt.ItemDataRole.UserRole) and item.checkState() == Qt.CheckState.Checked
        ]

    def choices(self) -> List[Choice]:
        """What is ticked, for a job."""
        return [Choice(name, {"method": name}) for name in self.ticked()]

    def tick(self, names: List[str]) -> None:
        """Tick just these."""
        for row in range(self._widget.count()):
            item = self._widget.item(row)
            name = item.data(Qt.ItemDataRole.UserRole)
            if name:
                on = name in names
                item.setCheckState(Qt.CheckState.Checked if on else Qt.CheckState.Unchecked)

    def keep(self) -> None:
        """Remember what is ticked for the next time."""
        settings.keep(_KEY, " ".join(self.ticked()))

    def _add(self, name: str, summary: str, on: bool) -> None:
        item = QListWidgetItem(title(name))
        item.setData(Qt.ItemDataRole.UserRole, name)
        item.setToolTip(QCoreApplication.translate("Methods", summary))
        item.setFlags(Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsUserCheckable)
        item.setCheckState(Qt.CheckState.Checked if on else Qt.CheckState.Unchecked)
        self._widget.addItem(item)

    def _add_heading(self, item: QListWidgetItem) -> None:
        font = item.font()
        font.setBold(True)
        item.setFont(font)
        item.setFlags(Qt.ItemFlag.ItemIsEnabled)
        self._widget.addItem(item)

    def _changed(self, _item: QListWidgetItem) -> None:
        self.changed.emit()
