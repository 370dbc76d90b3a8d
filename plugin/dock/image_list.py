"""The list of images to work on: raster layers of the project, and files."""

from __future__ import annotations

from pathlib import Path
from typing import Hashable, Iterable, List, Optional

from qgis.core import QgsMapLayer, QgsMapLayerType, QgsProject, QgsProviderRegistry, QgsRasterLayer
from qgis.PyQt.QtCore import QSize, Qt, QTimer, pyqtSignal
from qgis.PyQt.QtWidgets import QFileDialog, QListWidgetItem, QMenu, QWidget

from ..layers import result
from . import icons, settings, tips
from .connections import Connections
from .ui_file import load

ROLE = Qt.ItemDataRole.UserRole


def is_image(layer: Optional[QgsMapLayer]) -> bool:
    """Whether a layer can be worked on: a raster that is there."""
    return layer is not None and layer.type() == QgsMapLayerType.RasterLayer and layer.isValid()


def is_likely(layer: QgsMapLayer) -> bool:
    """Whether a layer is more likely the image than a base map from a server, or Tilth's map."""
    return is_image(layer) and layer.providerType() == "gdal" and not result.is_ours(layer)


def identity(layers: Iterable[QgsRasterLayer]) -> Hashable:
    """Which images these are: a layer that reads something else now is another one."""
    return tuple((layer.id(), layer.source()) for layer in layers)


class ImageList(QWidget):
    """Images, added from the project or from files. Files become layers of the project.

    ``one_scene``: several are the bands of one scene in any case, which is not asked.
    """

    changed = pyqtSignal()

    def __init__(self, parent: Optional[QWidget] = None, one_scene: bool = False) -> None:
        super().__init__(parent)
        load("image_list", self)
        self._asks_stack = not one_scene
        self.addButton.setIcon(icons.theme("symbologyAdd.svg"))
        self.removeButton.setIcon(icons.theme("symbologyRemove.svg"))
        self.list.setIconSize(QSize(16, 16))
        self._touched = False
        self._menu = QMenu(self)
        self._menu.aboutToShow.connect(self._fill_menu)
        self.addButton.setMenu(self._menu)
        self.removeButton.clicked.connect(self._remove_selected)
        self.list.itemSelectionChanged.connect(self._refresh)
        self.stackCheck.toggled.connect(lambda _on: self.changed.emit())
        self._outside = Connections()
        project = QgsProject.instance()
        self._outside.add(project.layersRemoved, self._forget)
        self._outside.add(project.layersAdded, self._offer_first)
        self._outside.add(project.layerTreeRoot().nameChanged, self._show_names)
        self._refresh()

    def layers(self) -> List[QgsRasterLayer]:
        """The chosen layers that are still in the project, in order."""
        project = QgsProject.instance()
        ids = [self.list.item(row).data(ROLE) for row in range(self.list.count())]
        return [layer for layer in map(project.mapLayer, ids) if layer is not None]

    def stack(self) -> bool:
        """Whether the files are the bands of one scene."""
        return self.list.count() > 1 and self.stackCheck.isChecked()

    def set_layers(self, layers: List[QgsRasterLayer]) -> None:
        """Choose these layers, and no others."""
        self._touched = True
        self.list.clear()
        for layer in layers:
            self._append(layer)
        self._refresh()
        self.changed.emit()

    def add_layer(self, layer: QgsRasterLayer) -> None:
        """Choose one more layer."""
        if layer.id() in [chosen.id() for chosen in self.layers()]:
            return
        self._touched = True
        self._append(layer)
        self._refresh()
        self.changed.emit()

    def offer_first(self) -> None:
        """Until the user chose, the project's first image is chosen, as in QGIS's own tools."""
        if self._touched or self.list.count():
            return
        images = [layer for layer in _tree_layers() if is_likely(layer)]
        if images:
            self._append(images[0])
            self._refresh()
            self.changed.emit()

    def shut_down(self) -> None:
        """Let go of the project."""
        self._outside.clear()

    def _offer_first(self, _layers: object = None) -> None:
        # The layers are in the layer tree only after this signal.
        QTimer.singleShot(0, self.offer_first)

    def _append(self, layer: QgsRasterLayer) -> None:
        item = QListWidgetItem(icons.theme("mIconRaster.svg"), "")
        item.setData(ROLE, layer.id())
        self._show_name(item, layer)
        self.list.addItem(item)

    def _show_names(self, *_: object) -> None:
        """Layers may have been renamed."""
        for item in map(self.list.item, range(self.list.count())):
            layer = QgsProject.instance().mapLayer(item.data(ROLE))
            if layer is not None:
                self._show_name(item, layer)

    def _show_name(self, item: QListWidgetItem, layer: QgsRasterLayer) -> None:
        item.setText(layer.name())
        bands = layer.bandCount()
        words = self.tr("1 band") if bands == 1 else self.tr("{} bands").format(bands)
        size = f"{layer.width()} × {layer.height()}"
        tip = f"{layer.name()}\n{words}, {size}\n{layer.publicSource()}"
        item.setToolTip(tips.plain(tip))

    def _refresh(self) -> None:
        several = self.list.count() > 1
        self.stackCheck.setVisible(several and self._asks_stack)
        self.removeButton.setEnabled(bool(self.list.selectedItems()) or self.list.count() == 1)
        rows = min(5, max(2, self.list.count()))
        self.list.setFixedHeight(rows * max(20, self.fontMetrics().height() + 6) + 6)
        self.list.setToolTip("" if self.list.count() else self.tr("No image yet: add one with +"))

    def _fill_menu(self) -> None:
        self._menu.clear()
        chosen = {layer.id() for layer in self.layers()}
        for layer in _tree_layers():
            if is_image(layer) and layer.id() not in chosen:
                name = layer.name().replace("&", "&&")  # a single one marks a key
                action = self._menu.addAction(icons.theme("mIconRaster.svg"), name)
                action.triggered.connect(lambda _on=False, added=layer: self.add_layer(added))
        self._menu.addSeparator()
        files = self._menu.addAction(icons.theme("mActionFileOpen.svg"), self.tr("From files…"))
        files.triggered.connect(self._ask_files)

    def _ask_files(self) -> None:
        names, _ = QFileDialog.getOpenFileNames(
            self,
            self.tr("Images"),
            settings.text("images/folder"),
            QgsProviderRegistry.instance().fileRasterFilters(),
        )
        for name in names:
            settings.keep("images/folder", str(Path(name).parent))
            layer = QgsRasterLayer(name, Path(name).stem)
            if layer.isValid():
                QgsProject.instance().addMapLayer(layer)
                self.add_layer(layer)

    def _remove_selected(self) -> None:
        self._touched = True
        rows = sorted({self.list.row(item) for item in self.list.selectedItems()}, reverse=True)
        if not rows and self.list.count() == 1:
            rows = [0]
        for row in rows:
            self.list.takeItem(row)
        self._refresh()
        self.changed.emit()

    def _forget(self, ids: List[str]) -> None:
        gone = set(ids)
        rows = [r for r in range(self.list.count()) if self.list.item(r).data(ROLE) in gone]
        for row in reversed(rows):
            self.list.takeItem(row)
        if rows:
            self._touched = self.list.count() > 0
            self._refresh()
            self.changed.emit()


def _tree_layers() -> List[QgsMapLayer]:
    """The project's layers in the order of the layer tree, from the top."""
    return [layer for layer in QgsProject.instance().layerTreeRoot().layerOrder() if layer]
