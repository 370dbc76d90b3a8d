"""A rectangle that the user draws on the map, shown there until it is no longer wanted."""

from __future__ import annotations

import contextlib
from typing import Any, Optional

from qgis.core import QgsCoordinateReferenceSystem, QgsGeometry, QgsRectangle, QgsWkbTypes
from qgis.gui import QgsMapTool, QgsMapToolExtent, QgsRubberBand
from qgis.PyQt.QtCore import QObject, pyqtSignal
from qgis.PyQt.QtGui import QColor

from .connections import Connections

COLOUR = QColor(217, 95, 2)


class DrawnRectangle(QObject):
    """``rectangle`` is in ``crs``, the canvas's at the time of drawing."""

    drawn = pyqtSignal()
    active_changed = pyqtSignal(bool)

    def __init__(self, canvas: Any, parent: QObject) -> None:
        super().__init__(parent)
        self._canvas = canvas
        self.rectangle: Optional[QgsRectangle] = None
        self._shown = False
        self.crs = QgsCoordinateReferenceSystem()
        self._before: Optional[QgsMapTool] = None
        self._tool = QgsMapToolExtent(canvas)
        self._tool.extentChanged.connect(self._take)
        self._band = QgsRubberBand(canvas, QgsWkbTypes.GeometryType.PolygonGeometry)
        self._band.setStrokeColor(COLOUR)
        self._band.setWidth(2)
        fill = QColor(COLOUR)
        fill.setAlpha(30)
        self._band.setFillColor(fill)
        self._outside = Connections()
        self._outside.add(canvas.mapToolSet, self._tool_set)
        self._outside.add(canvas.destinationCrsChanged, self._place)

    def start(self) -> None:
        """Let the user draw."""
        if self._canvas.mapTool() is not self._tool:
            self._before = self._canvas.mapTool()
            self._canvas.setMapTool(self._tool)

    def stop(self) -> None:
        """Give the map back to the tool that was there before."""
        if self._canvas.mapTool() is self._tool:
            self._tool.clearRubberBand()
            before, self._before = self._before, None
            if before is not None:
                with contextlib.suppress(RuntimeError):  # the tool may be gone by now
                    self._canvas.setMapTool(before)
                    return
            self._canvas.unsetMapTool(self._tool)

    def set_shown(self, shown: bool) -> None:
        """Whether the rectangle is on the map."""
        self._shown = shown
        self._band.setVisible(shown and self.rectangle is not None)

    def clear(self) -> None:
        """Forget the rectangle."""
        self.rectangle = None
        self._band.reset(QgsWkbTypes.GeometryType.PolygonGeometry)

    def shut_down(self) -> None:
        """Leave nothing on the canvas."""
        self._outside.clear()
        self.stop()
        self._canvas.scene().removeItem(self._band)
        self._tool.extentChanged.disconnect(self._take)
        self._tool.deleteLater()

    def _take(self, rectangle: QgsRectangle) -> None:
        if rectangle.isEmpty():
            return
        self.rectangle = QgsRectangle(rectangle)
        self.crs = self._canvas.mapSettings().destinationCrs()
        self.stop()
        self._place()
        self.drawn.emit()

    def _place(self) -> None:
        """Put it where it lies in the canvas's coordinate system, without showing it."""
        if self.rectangle is not None:
            self._band.setToGeometry(QgsGeometry.fromRect(self.rectangle), self.crs)
        self.set_shown(self._shown)

    def _tool_set(self, new: Any, _old: Any = None) -> None:
        self.active_changed.emit(new is self._tool)
