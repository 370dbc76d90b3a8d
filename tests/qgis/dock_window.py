"""A window for the dock to be in, where no QGIS window runs, and a way to wait for what it does."""

from __future__ import annotations

import contextlib
from typing import Any, Callable, Iterator, Optional

from qgis.core import QgsApplication, QgsMapLayer
from qgis.gui import QgsMapCanvas, QgsMessageBar
from qgis.PyQt.QtCore import QElapsedTimer, QEventLoop, Qt
from qgis.PyQt.QtWidgets import QAction, QMainWindow
from tilth.plugin.dock.dock_widget import TilthDock


class Iface:
    """As much of QGIS's interface as the dock uses."""

    def __init__(self) -> None:
        self.window = QMainWindow()
        self.canvas = QgsMapCanvas(self.window)
        self.window.setCentralWidget(self.canvas)
        self.bar = QgsMessageBar(self.window)
        self.adding = QAction(self.window)
        self.active: Optional[QgsMapLayer] = None

    def mapCanvas(self) -> QgsMapCanvas:  # noqa: N802 (QGIS's name)
        return self.canvas

    def messageBar(self) -> QgsMessageBar:  # noqa: N802 (QGIS's name)
        return self.bar

    def setActiveLayer(self, layer: QgsMapLayer) -> None:  # noqa: N802 (QGIS's name)
        self.active = layer

    def actionAddFeature(self) -> QAction:  # noqa: N802 (QGIS's name)
        return self.adding


def wait(ready: Callable[[], Any], seconds: float = 60.0) -> bool:
    """Let events happen until ``ready()``, or the time is over; whether it is ready."""
    clock = QElapsedTimer()
    clock.start()
    while not ready() and clock.elapsed() < 1000 * seconds:
        QgsApplication.processEvents(QEventLoop.ProcessEventsFlag.AllEvents, 20)
    return bool(ready())


@contextlib.contextmanager
def shown_dock() -> Iterator[TilthDock]:
    """The dock in a window; inside the ``with`` block only."""
    iface = Iface()
    dock = TilthDock(iface, iface.window)
    iface.window.addDockWidget(Qt.DockWidgetArea.RightDockWidgetArea, dock)
    iface.window.resize(900, 800)
    iface.window.show()
    dock.show()
    try:
        yield dock
    finally:
        dock.shut_down()
        dock.setParent(None)
        dock.deleteLater()
        wait(lambda: False, 0.05)
