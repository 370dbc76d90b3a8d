"""The Map page's choice of an adapter."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, Optional

from qgis.PyQt.QtCore import QObject, Qt, pyqtSignal
from qgis.PyQt.QtWidgets import QFileDialog, QWidget

from ..engine.errors import TilthError
from . import icons, settings, tips, wording
from .library import Adapter, Library
from .session import Session
from .ui_file import make_quiet

LAST = "map/adapter"


class AdapterChoice(QObject):
    """Fills the combo from the library, and says what the chosen one is."""

    changed = pyqtSignal()
    """Another adapter is chosen, or more is known of it."""

    def __init__(self, page: Any, session: Session, library: Library) -> None:
        super().__init__(page)
        self._page = page
        self._session = session
        self._library = library
        self._wanted = settings.text(LAST)
        make_quiet(page.adapterHint)
        page.loadButton.setIcon(icons.theme("mActionFileOpen.svg"))
        page.loadButton.clicked.connect(self._ask_file)
        page.adapterCombo.currentIndexChanged.connect(self._chosen)
        library.changed.connect(self.refresh)
        self.refresh()

    def current(self) -> Adapter:
        """The chosen adapter. Raises TilthError where there is none, or its file is gone."""
        path = self._page.adapterCombo.currentData()
        if not path:
            raise TilthError(self._none_chosen())
        adapter = self._library.find(path) or Adapter(Path(path))
        if not adapter.path.is_file():
            raise TilthError(self.tr("The adapter's file is gone: {}").format(path))
        return adapter

    def card(self) -> Dict[str, Any]:
        """The chosen adapter's card; empty where there is none, or it has not been read yet."""
        path = self._page.adapterCombo.currentData()
        adapter = self._library.find(path) if path else None
        return adapter.card if adapter is not None else {}

    def choose(self, path: str) -> None:
        """Choose the adapter in this file."""
        self._wanted = str(Path(path))
        self.refresh()

    def refresh(self) -> None:
        """Show the library as it is now, with the same choice."""
        combo = self._page.adapterCombo
        combo.blockSignals(True)
        combo.clear()
        titles, own = self._library.titles(), icons.own("tilth")
        for adapter in self._library.adapters():
            icon = icons.theme("mIconWarning.svg") if adapter.fault else own
            combo.addItem(icon, titles[adapter.path], str(adapter.path))
            item = combo.count() - 1
            combo.setItemData(item, tips.plain(str(adapter.path)), Qt.ItemDataRole.ToolTipRole)
        if not self._wanted and combo.count():
            # From here on it is the choice: the list's order changes with every training.
            self._wanted = combo.itemData(0)
        combo.setCurrentIndex(combo.findData(self._wanted))
        combo.blockSignals(False)
        self._show_hint()

    def _chosen(self, _index: int) -> None:
        self._wanted = self._page.adapterCombo.currentData() or ""
        settings.keep(LAST, self._wanted)
        self._show_hint()

    def _show_hint(self) -> None:
        path = self._page.adapterCombo.currentData()
        adapter = self._library.find(path) if path else None
        self._page.adapterHint.setText(tips.plain(self._hint(adapter)))
        self._page.adapterCombo.setToolTip(tips.plain(path or ""))
        self.changed.emit()

    def _hint(self, adapter: Optional[Adapter]) -> str:
        if adapter is None:
            return self._none_chosen()
        if adapter.fault:
            return adapter.fault
        if not adapter.card:
            return adapter.trouble
        classes = len(adapter.card.get("classes") or [])
        bands = len(adapter.card.get("bands") or [])
        parts = [self.tr("{} classes").format(classes), self.tr("{} bands").format(bands)]
        return " · ".join([*parts, *filter(None, [wording.score_line(adapter.card.get("score"))])])

    def _none_chosen(self) -> str:
        if self._page.adapterCombo.count():
            return self.tr("No adapter is chosen: pick one, or load one from a file.")
        return self.tr("No adapter yet: train one, or load one from a file.")

    def _ask_file(self) -> None:
        path = ask_adapter(self._page)
        if path:
            self._wanted = path
            self._library.load(path)


def ask_adapter(parent: QWidget) -> str:
    """Let the user pick an adapter's file; empty where they did not."""
    translate = parent.tr
    path, _ = QFileDialog.getOpenFileName(
        parent,
        translate("Load an adapter"),
        settings.text("adapters/folder"),
        translate("Tilth adapters") + " (*.tilth);;" + translate("All files") + " (*)",
    )
    if not path:
        return ""
    # Qt writes slashes on Windows too; adapters are looked up as Python writes their paths.
    file = Path(path)
    settings.keep("adapters/folder", str(file.parent))
    return str(file)
