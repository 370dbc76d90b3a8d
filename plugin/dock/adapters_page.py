"""The Adapters page: what there is, and each one's card."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Optional

from qgis.core import Qgis
from qgis.PyQt.QtCore import QSize, Qt, pyqtSignal
from qgis.PyQt.QtGui import QIcon
from qgis.PyQt.QtWidgets import QListWidgetItem, QMessageBox, QWidget

from . import card_view, icons, tips, wording
from .adapter_choice import ask_adapter
from .library import Adapter, Library
from .list_height import ListHeight
from .notice import Notice
from .opening import open_file
from .placeholder import Placeholder
from .session import Session
from .ui_file import load

ROLE = Qt.ItemDataRole.UserRole


class AdaptersPage(QWidget):
    """Lists the library."""

    map_wanted = pyqtSignal(str)

    def __init__(
        self, session: Session, library: Library, parent: Optional[QWidget] = None
    ) -> None:
        super().__init__(parent)
        load("adapters", self)
        self.session = session
        self.library = library
        self.notice = Notice(self)
        self.noticeHolder.addWidget(self.notice)
        self.list.setIconSize(QSize(20, 20))
        self.list_height = ListHeight(self.list, self.splitter)
        self.empty = Placeholder(
            self.list,
            self.tr(
                "No adapters yet. Every training on the Train page leaves one here, and"
                " “Load from file…” takes one that you were sent."
            ),
        )
        self.loadButton.setIcon(icons.theme("mActionFileOpen.svg"))
        self.folderButton.setIcon(icons.theme("mIconFolderOpen.svg"))
        self.removeButton.setIcon(icons.theme("mActionDeleteSelected.svg"))
        self.useButton.setIcon(icons.theme("mIconRaster.svg"))
        self.reportButton.setIcon(icons.theme("mIconInfo.svg"))
        self._connect()
        self.refresh()

    def select(self, path: str) -> None:
        """Show this adapter's card."""
        wanted = str(Path(path))
        for row in range(self.list.count()):
            if self.list.item(row).data(ROLE) == wanted:
                self.list.setCurrentRow(row)

    def current(self) -> Optional[Adapter]:
        """The selected adapter."""
        item = self.list.currentItem()
        return self.library.find(item.data(ROLE)) if item is not None else None

    def load_file(self, path: str) -> None:
        """Make a file known and show its card."""
        self.notice.clear()
        self.library.load(path)
        self.select(path)

    def refresh(self) -> None:
        """Show the library as it is now."""
        selected = self.list.currentItem()
        path = selected.data(ROLE) if selected is not None else ""
        self.list.blockSignals(True)
        self.list.clear()
        titles, icon = self.library.titles(), icons.own("tilth")
        for adapter in self.library.adapters():
            self._append(adapter, titles[adapter.path], icon)
        self.list.blockSignals(False)
        if self.list.count():
            self.list.setCurrentRow(0)
        self.select(path)
        self._show_card()
        self.list_height.fit()

    def showEvent(self, event: Any) -> None:  # noqa: N802 (Qt's name)
        super().showEvent(event)
        self._show_card()  # in the colours of the theme, which are known from now on

    def _connect(self) -> None:
        self.list.currentRowChanged.connect(self._show_card)
        self.list.itemDoubleClicked.connect(lambda _item: self._use())
        self.loadButton.clicked.connect(self._ask_file)
        self.folderButton.clicked.connect(self._open_folder)
        self.removeButton.clicked.connect(self._remove)
        self.useButton.clicked.connect(self._use)
        self.reportButton.clicked.connect(self._open_report)
        self.library.changed.connect(self.refresh)

    def _append(self, adapter: Adapter, title: str, icon: QIcon) -> None:
        item = QListWidgetItem(icons.theme("mIconWarning.svg") if adapter.fault else icon, title)
        item.setData(ROLE, str(adapter.path))
        score = wording.score_line(adapter.card.get("score"))
        lines = filter(None, [str(adapter.path), score, adapter.fault])
        item.setToolTip(tips.plain("\n".join(lines)))
        self.list.addItem(item)

    def _show_card(self, *_: object) -> None:
        adapter = self.current()
        self.card.document().setDefaultStyleSheet(card_view.quiet_style(self.card.palette()))
        self.card.setVisible(adapter is not None)
        if adapter is not None:
            waiting = self.tr("Reading…")
            if not self.session.description and not self.session.asking:
                waiting = self.tr("Its card is shown once Tilth's engine is installed.")
            self.card.setHtml(
                card_view.html(adapter, adapter.trouble or waiting, self.card.fontMetrics())
            )
        for button in (self.folderButton, self.removeButton):
            button.setEnabled(adapter is not None)
        self.useButton.setEnabled(adapter is not None and not adapter.fault)
        self.reportButton.setVisible(adapter is not None and _report(adapter).is_file())

    def _ask_file(self) -> None:
        path = ask_adapter(self)
        if path:
            self.load_file(path)

    def _use(self) -> None:
        adapter = self.current()
        if adapter is not None and not adapter.fault:
            self.map_wanted.emit(str(adapter.path))

    def _open_folder(self) -> None:
        adapter = self.current()
        if adapter is not None:
            open_file(adapter.path.parent)

    def _open_report(self) -> None:
        adapter = self.current()
        if adapter is not None:
            open_file(_report(adapter))

    def _remove(self) -> None:
        adapter = self.current()
        if adapter is None or (self.library.owns(adapter) and not self._sure(adapter)):
            return
        try:
            self.library.remove(adapter)
        except OSError as error:
            words = self.tr("{path} could not be removed: {why}").format(
                path=adapter.path, why=error.strerror
            )
            self.notice.show_text(words, Qgis.MessageLevel.Warning)
            self.session.tell(words, Qgis.MessageLevel.Warning)

    def _sure(self, adapter: Adapter) -> bool:
        question = self.tr("Delete the adapter “{name}”? Its file goes for good:\n{path}").format(
            name=adapter.name, path=adapter.path
        )
        answer = QMessageBox.question(self, self.tr("Delete adapter"), tips.plain(question))
        return answer == QMessageBox.StandardButton.Yes


def _report(adapter: Adapter) -> Path:
    return adapter.path.with_suffix(".html")
