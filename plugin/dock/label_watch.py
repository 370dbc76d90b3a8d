"""Follows the chosen label layer: edits, filters, the selection; counts its classes on demand."""

from __future__ import annotations

from typing import Optional

from qgis.core import QgsVectorLayer
from qgis.PyQt.QtCore import QObject, pyqtSignal

from .class_scan import ClassScan
from .connections import Connections
from .session import Session


class LabelWatch(QObject):
    """Forgets a layer before it is deleted."""

    edited = pyqtSignal()
    selection_changed = pyqtSignal()
    counted = pyqtSignal(object)
    failed = pyqtSignal(str)
    """Why the classes were not counted."""

    def __init__(self, session: Session, parent: QObject) -> None:
        super().__init__(parent)
        self._session = session
        self._layer: Optional[QgsVectorLayer] = None
        self._connections = Connections()
        self._scan: Optional[ClassScan] = None

    def set_layer(self, layer: Optional[QgsVectorLayer]) -> None:
        """Follow this layer, and no other."""
        self.shut_down()
        self._layer = layer
        if layer is None:
            return
        add = self._connections.add
        add(layer.layerModified, self._changed)
        add(layer.afterRollBack, self._changed)
        add(layer.subsetStringChanged, self._changed)
        add(layer.rendererChanged, self._changed)
        add(layer.updatedFields, self._changed)
        add(layer.selectionChanged, self._selected)
        add(layer.willBeDeleted, self._forget)

    def count(self, field: str, only_selected: bool) -> None:
        """Count the classes in the background; ``counted`` tells when it is done."""
        self._stop()
        if self._layer is None or self._layer.fields().lookupField(field) < 0:
            return
        scan = ClassScan(self._layer, field, only_selected)
        scan.succeeded.connect(lambda count, mine=scan: self._done(mine, count))
        scan.failed.connect(lambda _kind, text, _log, mine=scan: self._failed(mine, text))
        self._scan = scan
        self._session.start(scan)

    def shut_down(self) -> None:
        """Follow nothing."""
        self._connections.clear()
        self._layer = None
        self._stop()

    def _stop(self) -> None:
        scan, self._scan = self._scan, None
        if scan is not None:
            scan.cancel()

    def _done(self, scan: ClassScan, count: object) -> None:
        if scan is self._scan:
            self._scan = None
            self.counted.emit(count)

    def _failed(self, scan: ClassScan, message: str) -> None:
        if scan is self._scan:
            self._scan = None
            self.failed.emit(message)

    def _changed(self, *_: object) -> None:
        self.edited.emit()

    def _selected(self, *_: object) -> None:
        self.selection_changed.emit()

    def _forget(self) -> None:
        self.shut_down()
