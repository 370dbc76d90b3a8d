"""The dock: four pages, the engine's panel above them, the status below."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any, Optional

from qgis.gui import QgsDockWidget
from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtGui import QIcon
from qgis.PyQt.QtWidgets import QWidget

from . import icons, settings
from .adapters_page import AdaptersPage
from .engine_panel import EnginePanel
from .footer import Footer
from .labels_page import LabelsPage
from .library import Library
from .map_page import MapPage
from .session import Session
from .train_page import TrainPage
from .ui_file import load

LABELS, TRAIN, MAP, ADAPTERS = range(4)


class TilthDock(QgsDockWidget):
    """Owns the session and the pages."""

    def __init__(self, iface: Any, parent: Optional[QWidget] = None) -> None:
        super().__init__("Tilth", parent)
        self.setObjectName("TilthDock")
        self.setWindowIcon(icons.own("tilth"))
        self.session = Session(iface, self)
        self.library = Library(self.session, self)
        self.contents = QWidget(self)
        load("dock", self.contents)
        self.setWidget(self.contents)
        self.panel = EnginePanel(self.session.engine, self.contents)
        self.labels = LabelsPage(self.session, self.contents)
        self.train = TrainPage(self.session, self.labels, self.contents)
        self.map = MapPage(self.session, self.library, self.contents)
        self.adapters = AdaptersPage(self.session, self.library, self.contents)
        self.pages = (
            (self.labels, "mActionCapturePolygon.svg", self.tr("Labels")),
            (self.train, "mActionStart.svg", self.tr("Train")),
            (self.map, "mIconRaster.svg", self.tr("Map")),
            (self.adapters, "mActionShowPluginManager.svg", self.tr("Adapters")),
        )
        self._lay_out()
        self.footer = Footer(self.contents, self.session, self.panel)
        self._connect()

    def was_open(self) -> bool:
        """Whether the dock was open when QGIS was closed."""
        return settings.flag("dock/open", False)

    def show_page(self, page: int) -> None:
        """Turn to LABELS, TRAIN, MAP or ADAPTERS."""
        self.contents.tabs.setCurrentIndex(page)

    def shut_down(self) -> None:
        """Stop everything, and let go of everything outside."""
        # Each is called whatever another raises: workers that nobody stopped would go on.
        with ExitStack() as parts:
            parts.callback(self.session.shut_down)
            for part in (self.library, self.map, self.train, self.labels):
                parts.callback(part.shut_down)

    def showEvent(self, event: Any) -> None:  # noqa: N802 (Qt's name)
        super().showEvent(event)
        self.session.engine.refresh()
        self.session.describe()
        self.labels.images.offer_first()

    def resizeEvent(self, event: Any) -> None:  # noqa: N802 (Qt's name)
        super().resizeEvent(event)
        self._fit_tabs()

    def _fit_tabs(self) -> None:
        """Show the tabs' icons where there is room for them beside the words."""
        tabs = self.contents.tabs
        for number, (_page, icon, _title) in enumerate(self.pages):
            tabs.setTabIcon(number, icons.theme(icon))
        if tabs.minimumSizeHint().width() > self.width():
            for number in range(tabs.count()):
                tabs.setTabIcon(number, QIcon())

    def _lay_out(self) -> None:
        contents = self.contents
        contents.panelHolder.setContentsMargins(9, 6, 9, 0)
        contents.panelHolder.addWidget(self.panel)
        contents.tabs.setDocumentMode(True)
        contents.tabs.setExpanding(True)
        contents.tabs.setDrawBase(True)
        contents.tabs.setUsesScrollButtons(False)
        contents.tabs.setElideMode(Qt.TextElideMode.ElideNone)
        for page, icon, title in self.pages:
            contents.pages.addWidget(page)
            contents.tabs.addTab(icons.theme(icon), title)
        contents.tabs.currentChanged.connect(contents.pages.setCurrentIndex)

    def _connect(self) -> None:
        self.opened.connect(lambda: settings.keep("dock/open", True))
        self.closed.connect(lambda: settings.keep("dock/open", False))
        self.train.trained.connect(self.library.load)
        self.train.map_wanted.connect(self._map_now)
        self.train.card_wanted.connect(self._show_card)
        self.adapters.map_wanted.connect(self._use)

    def _map_now(self, path: str) -> None:
        """Turn to the Map page with the new adapter and the image that it learnt from."""
        self._use(path)
        images = self.train.trained_on()
        if not images:
            return
        self.map.severalCheck.setChecked(len(images) > 1)
        if len(images) > 1:
            self.map.images.set_layers(images)
        else:
            self.map.choose_image(images[0])

    def _use(self, path: str) -> None:
        self.map.choose_adapter(path)
        self.show_page(MAP)

    def _show_card(self, path: str) -> None:
        self.adapters.select(path)
        self.show_page(ADAPTERS)
