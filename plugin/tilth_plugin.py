"""What QGIS loads: the actions, the dock, and their tidy end."""

from __future__ import annotations

import sys
from typing import Any, Optional

from qgis.PyQt.QtCore import QCoreApplication, Qt
from qgis.PyQt.QtWidgets import QAction

from .dock import icons
from .dock.dock_widget import TilthDock


class TilthPlugin:
    """The plugin's life in QGIS. Everything that ``initGui`` adds, ``unload`` takes away."""

    def __init__(self, iface: Any) -> None:
        self.iface = iface
        self.dock: Optional[TilthDock] = None
        self.action: Optional[QAction] = None

    def initGui(self) -> None:  # noqa: N802 (QGIS's name)
        """Add the toolbar button, the menu entry and the dock (hidden until asked for)."""
        window = self.iface.mainWindow()
        self.dock = TilthDock(self.iface, window)
        self.iface.addDockWidget(Qt.DockWidgetArea.RightDockWidgetArea, self.dock)
        if not self.dock.was_open():
            self.dock.hide()
        self.action = QAction(icons.own("tilth"), "Tilth", window)
        self.action.setObjectName("TilthAction")
        self.action.setToolTip(self.tr("Tilth: draw a few polygons, get a classified map"))
        self.action.setCheckable(True)
        self.action.setChecked(not self.dock.isHidden())
        self.action.toggled.connect(self.dock.setUserVisible)
        self.dock.visibilityChanged.connect(self._show_state)
        self.iface.addRasterToolBarIcon(self.action)
        self.iface.rasterMenu().addAction(self.action)

    def unload(self) -> None:
        """Stop what runs, and take everything away."""
        action, self.action = self.action, None
        if action is not None:
            self.iface.removeRasterToolBarIcon(action)
            self.iface.rasterMenu().removeAction(action)
            action.deleteLater()
        dock, self.dock = self.dock, None
        try:
            if dock is not None:
                self._remove(dock)
        finally:
            _forget_modules()

    def tr(self, text: str) -> str:
        """The text in the user's language."""
        return QCoreApplication.translate("TilthPlugin", text)

    def _remove(self, dock: TilthDock) -> None:
        """Take the dock away, also where it can't let go of everything."""
        dock.visibilityChanged.disconnect(self._show_state)
        try:
            dock.shut_down()
        finally:
            self.iface.removeDockWidget(dock)
            dock.setParent(None)
            dock.deleteLater()

    def _show_state(self, _visible: bool) -> None:
        if self.action is None or self.dock is None:
            return
        self.action.blockSignals(True)
        self.action.setChecked(not self.dock.isHidden())
        self.action.blockSignals(False)


def _forget_modules() -> None:
    """Take our modules out of Python: QGIS forgets those only that it saw being imported."""
    package = __name__.rpartition(".")[0]
    for name in list(sys.modules):
        if name == package or name.startswith(package + "."):
            del sys.modules[name]
