"""The list of what can be compared, with check boxes: what has no backbone, what the user has
added, and all methods on the Train page's backbone."""

from __future__ import annotations

import json
from typing import Callable, Dict, List

from qgis.PyQt.QtCore import QCoreApplication, QObject, Qt, pyqtSignal
from qgis.PyQt.QtWidgets import QListWidget, QListWidgetItem

from ..engine.compare_job import Choice
from ..engine.jobs import FORESTS
from ..engine.method_list import BASELINES, GROUPS, METHODS
from . import settings
from .compare_entry import Values, choice_of, name_of, title_of
from .method_choice import title

USUAL = ("forest", "forest-neighbourhood", "alone", "frozen", "lora")
_KEY, _ADDED = "compare/choices", "compare/added"
_NAME, _VALUES = Qt.ItemDataRole.UserRole, Qt.ItemDataRole.UserRole + 1


class ChoiceList(QObject):
    """Fills the list that it is given, and reads it."""

    changed = pyqtSignal()

    def __init__(self, widget: QListWidget, backbone_title: Callable[[str], str]) -> None:
        super().__init__(widget)
        self._widget = widget
        self._backbone_title = backbone_title
        # Also of what was taken out of the list since: it may stand in the table still.
        self._known: Dict[str, Values] = {}
        self._added_heading, self._methods_heading = QListWidgetItem(), QListWidgetItem()
        ticked = settings.text(_KEY, " ".join(USUAL)).split()
        self._add_heading(QListWidgetItem(self.tr("Without a foundation model")))
        for name, baseline in BASELINES.items():
            self._add_preset(name, baseline.summary, name in ticked)
        self._added_heading.setText(self.tr("Added by you"))
        self._add_heading(self._added_heading)
        self._add_heading(self._methods_heading)
        for name in (name for group in GROUPS for name in group):
            self._add_preset(name, METHODS[name].summary, name in ticked)
        for values in _kept():
            self.add(values, name_of(values) in ticked)
        self._show_added()
        widget.itemChanged.connect(self._changed)

    def name_backbone(self, backbone: str) -> None:
        """Say which backbone the methods are tried on, and call all by their titles."""
        words = self.tr("With {}").format(self._backbone_title(backbone))
        self._methods_heading.setText(words)
        for item in self._added():
            item.setText(title_of(item.data(_VALUES), self._backbone_title))

    def ticked(self) -> List[str]:
        """The names of the choices to compare, in order."""
        return [item.data(_NAME) for item in self._ticked()]

    def trainings(self) -> List[bool]:
        """For each of what is ticked whether it is a training, and not a forest, which is fast."""
        return [item.data(_VALUES)["method"] not in FORESTS for item in self._ticked()]

    def choices(self, backbone: str) -> List[Choice]:
        """What is ticked, for a job whose training is on this backbone."""
        return [choice_of(item.data(_VALUES), backbone) for item in self._ticked()]

    def values_of(self, name: str) -> Values:
        """The entries of a training that a choice is about."""
        return dict(self._known.get(name, {"method": name}))

    def title_of(self, name: str) -> str:
        """What a choice of this name is called."""
        return title_of(self.values_of(name), self._backbone_title)

    def added_titles(self) -> Dict[str, str]:
        """What the choices that were added are called, by their names."""
        return {item.data(_NAME): item.text() for item in self._added()}

    def add(self, values: Values, on: bool = True) -> None:
        """Add a choice below the others that were added; where it is there, tick it."""
        name = name_of(values)
        found = [item for item in self._added() if item.data(_NAME) == name]
        if found:
            found[0].setCheckState(Qt.CheckState.Checked)
        else:
            text = title_of(values, self._backbone_title)
            item = self._item(text, name, values, on)
            item.setFlags(item.flags() | Qt.ItemFlag.ItemIsSelectable)
            item.setToolTip(text)
            self._widget.insertItem(self._widget.row(self._methods_heading), item)
            self._widget.scrollToItem(item)
        self._show_added()
        self.changed.emit()

    def can_remove(self) -> bool:
        """Whether something that was added is selected."""
        return bool(self._widget.selectedItems())

    def remove_selected(self) -> None:
        """Take out what was added and is selected."""
        for item in self._widget.selectedItems():
            self._widget.takeItem(self._widget.row(item))
        self._show_added()
        self.changed.emit()

    def tick(self, names: List[str]) -> None:
        """Tick just these."""
        for item in self._items():
            on = item.data(_NAME) in names
            item.setCheckState(Qt.CheckState.Checked if on else Qt.CheckState.Unchecked)

    def to_keep(self) -> Dict[str, str]:
        """The list as settings, for the next time."""
        added = json.dumps([item.data(_VALUES) for item in self._added()])
        return {_KEY: " ".join(self.ticked()), _ADDED: added}

    def _items(self) -> List[QListWidgetItem]:
        items = [self._widget.item(row) for row in range(self._widget.count())]
        return [item for item in items if item.data(_NAME)]

    def _added(self) -> List[QListWidgetItem]:
        return [item for item in self._items() if "backbone" in item.data(_VALUES)]

    def _ticked(self) -> List[QListWidgetItem]:
        return [item for item in self._items() if item.checkState() == Qt.CheckState.Checked]

    def _show_added(self) -> None:
        self._added_heading.setHidden(not self._added())

    def _add_preset(self, name: str, summary: str, on: bool) -> None:
        item = self._item(title(name), name, {"method": name}, on)
        item.setToolTip(QCoreApplication.translate("Methods", summary))
        self._widget.addItem(item)

    def _item(self, text: str, name: str, values: Values, on: bool) -> QListWidgetItem:
        self._known[name] = values
        item = QListWidgetItem(text)
        item.setData(_NAME, name)
        item.setData(_VALUES, values)
        item.setFlags(Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsUserCheckable)
        item.setCheckState(Qt.CheckState.Checked if on else Qt.CheckState.Unchecked)
        return item

    def _add_heading(self, item: QListWidgetItem) -> None:
        font = item.font()
        font.setBold(True)
        item.setFont(font)
        item.setFlags(Qt.ItemFlag.ItemIsEnabled)
        self._widget.addItem(item)

    def _changed(self, _item: QListWidgetItem) -> None:
        self.changed.emit()


def _kept() -> List[Values]:
    """What was added the last time."""
    try:
        kept = json.loads(settings.text(_ADDED, "[]"))
    except ValueError:
        return []
    entries = kept if isinstance(kept, list) else []
    return [v for v in entries if isinstance(v, dict) and v.get("backbone") and v.get("method")]
