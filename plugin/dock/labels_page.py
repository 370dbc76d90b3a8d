"""The Labels page: which images, which labels, and what classes they hold."""

from __future__ import annotations

from typing import Any, Dict, List, Optional

from qgis.core import Qgis, QgsFieldProxyModel, QgsMapLayer, QgsMapLayerProxyModel, QgsProject
from qgis.PyQt.QtCore import QTimer, pyqtSignal
from qgis.PyQt.QtWidgets import QWidget

from ..engine.errors import TilthError
from ..layers import labels
from . import class_table, icons, label_checks, new_layer, settings
from .choices import LabelChoice
from .class_scan import ClassCount
from .connections import Connections, Places
from .image_list import ImageList
from .label_watch import LabelWatch
from .narrow import Narrow
from .notice import Notice
from .session import Session
from .ui_file import load, make_plain, make_quiet


class LabelsPage(QWidget):
    """Chooses; what is chosen is read with ``choice``."""

    changed = pyqtSignal()

    def __init__(self, session: Session, parent: Optional[QWidget] = None) -> None:
        super().__init__(parent)
        load("labels", self)
        self.session = session
        self.count: Optional[ClassCount] = None
        self._count_fault = ""
        self._colours: Dict[str, str] = {}
        self._engine_warnings: Optional[List[str]] = None
        self._area = ""
        self._field = ""
        self.images = ImageList(self)
        self.imagesHolder.addWidget(self.images)
        self.notice = Notice(self, closable=False)
        self.noticeHolder.addWidget(self.notice)
        self.watch = LabelWatch(session, self)
        self._places = Places(self._touched)
        Narrow(self.scroll, [self.polygonsForm, self.rasterForm])
        self._set_up_inputs()
        self._raster = _id(self.rasterCombo.currentLayer())
        class_table.prepare(self.classTable, [self.tr("Class"), self.tr("Polygons")])
        make_quiet(self.classHint)
        make_plain(self.classHint)
        self._connect()
        self._layer_changed()

    def choice(self) -> LabelChoice:
        """What is chosen now."""
        return LabelChoice(
            images=self.images.layers(),
            stack=self.images.stack(),
            polygons=self.polygonsRadio.isChecked(),
            layer=self.layerCombo.currentLayer(),
            class_field=self.fieldCombo.currentField(),
            only_selected=self.selectedCheck.isChecked(),
            area=self.areaCombo.currentLayer(),
            raster=self.rasterCombo.currentLayer(),
        )

    def show_plan(self, plan: Dict[str, Any]) -> None:
        """The engine looked at the labels: its colours and warnings."""
        self._engine_warnings = [str(text) for text in plan.get("warnings") or []]
        self.show_colours(plan.get("classes") or [])

    def show_refusal(self, message: str) -> None:
        """The engine looked, and can't use what is chosen."""
        self._engine_warnings = [message]
        self._show_classes()

    def show_colours(self, classes: List[Dict[str, Any]]) -> None:
        """The colours that the classes have on maps."""
        for entry in classes:
            for key in ("value", "name"):
                self._colours[str(entry.get(key, ""))] = str(entry.get("colour", ""))
        self._show_classes()

    def shut_down(self) -> None:
        """Let go of everything outside."""
        self._outside.clear()
        self.images.shut_down()
        self.watch.shut_down()
        self._places.shut_down()
        self._timer.stop()

    def _set_up_inputs(self) -> None:
        polygons = QgsMapLayerProxyModel.Filter.PolygonLayer
        self.layerCombo.setFilters(polygons)
        self.areaCombo.setFilters(polygons)
        self.areaCombo.setAllowEmptyLayer(True, self.tr("none"))
        self.areaCombo.setLayer(None)
        raster = QgsMapLayerProxyModel.Filter.RasterLayer
        self.rasterCombo.setFilters(raster)
        self.fieldCombo.setFilters(QgsFieldProxyModel.Filter.AllTypes)
        self.newLayerButton.setIcon(icons.theme("mActionNewVectorLayer.svg"))
        self.newLayerButton.setToolTip(self.tr("New label layer…"))
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(300)
        self._timer.timeout.connect(self._scan)

    def _connect(self) -> None:
        self.layerCombo.layerChanged.connect(self._layer_changed)
        self.fieldCombo.fieldChanged.connect(self._field_changed)
        self.selectedCheck.toggled.connect(self._selected_toggled)
        self.areaCombo.layerChanged.connect(self._area_changed)
        self.rasterCombo.currentIndexChanged.connect(self._raster_changed)
        self.polygonsRadio.toggled.connect(self._source_changed)
        self.images.changed.connect(self._touched)
        self.newLayerButton.clicked.connect(self._new_layer)
        self.watch.edited.connect(self._edited)
        self.watch.selection_changed.connect(self._selection_changed)
        self.watch.counted.connect(self._counted)
        self.watch.failed.connect(self._not_counted)
        self._outside = Connections()
        self._outside.add(QgsProject.instance().layersRemoved, self._layers_removed)

    def _layer_changed(self, _layer: object = None) -> None:
        layer = self.layerCombo.currentLayer()
        self.fieldCombo.setLayer(layer)
        if layer is not None:
            field = label_checks.guess_field(layer, settings.text("labels/field"))
            self.fieldCombo.setField(field)
        self._field = self.fieldCombo.currentField()
        self._colours = {}
        self.watch.set_layer(layer)
        self._show_selection()
        self._touched()

    def _area_changed(self, layer: Optional[QgsMapLayer]) -> None:
        self._area = _id(layer)
        self._touched()

    def _raster_changed(self, _index: int) -> None:
        """The index tells of removals too, but it also changes where rasters only move."""
        raster = _id(self.rasterCombo.currentLayer())
        if raster != self._raster:
            self._raster = raster
            self._touched()

    def _layers_removed(self, ids: List[str]) -> None:
        """The combos take another layer then, and do not say so (QGIS 3.22)."""
        if self.layerCombo.currentLayer() != self.fieldCombo.layer():
            self._layer_changed()
        if self._area in ids:
            self._area = ""
            self.areaCombo.setCurrentIndex(0)
            self._touched()

    def _field_changed(self, field: str) -> None:
        self._field = field
        self._colours = {}
        if field and self.fieldCombo.hasFocus():
            settings.keep("labels/field", field)
        self._touched()

    def _selected_toggled(self, *_: object) -> None:
        self._show_selection()
        self._touched()

    def _selection_changed(self) -> None:
        self._show_selection()
        # Else the labels are what they were, and planning again could cost an export of the image.
        if self.selectedCheck.isChecked():
            self._touched()

    def _show_selection(self) -> None:
        layer = self.layerCombo.currentLayer()
        selected = layer.selectedFeatureCount() if layer is not None else 0
        # While it is ticked it holds, be anything selected or not, and can be unticked.
        self.selectedCheck.setEnabled(selected > 0 or self.selectedCheck.isChecked())
        words = self.tr("Only selected features")
        self.selectedCheck.setText(f"{words} ({selected})" if selected else words)

    def _source_changed(self, polygons: bool) -> None:
        self.sourceStack.setCurrentIndex(0 if polygons else 1)
        self._touched()

    def _touched(self, *_: object) -> None:
        """Something was chosen: what was counted is about something else."""
        self.count = None
        self._edited()

    def _edited(self, *_: object) -> None:
        """Count the classes again, once the user pauses; until then the table stays, which would
        else come and go with every polygon that is drawn."""
        if self.fieldCombo.currentField() != self._field:
            # It was renamed or removed. The combo takes the first one then, and does not say so.
            self._field = ""
            self.fieldCombo.setField("")
        self._engine_warnings, self._count_fault = None, ""
        self._timer.start()
        choice = self.choice()
        self._places.follow([*choice.images, choice.layer, choice.area, choice.raster])
        self._show_classes()
        self.changed.emit()

    def _scan(self) -> None:
        choice = self.choice()
        if choice.polygons and choice.layer is not None and choice.class_field:
            self.watch.count(choice.class_field, choice.only_selected)

    def _counted(self, count: ClassCount) -> None:
        self.count = count
        layer, field = self.layerCombo.currentLayer(), self.fieldCombo.currentField()
        if layer is not None:
            # What the layer's style says now goes before what the engine was told once.
            styles = labels.styles(layer, field)
            self._colours.update({style.value: style.colour for style in styles})
        self._show_classes()

    def _not_counted(self, message: str) -> None:
        self.count, self._count_fault = None, message
        self._show_classes()

    def _show_classes(self) -> None:
        choice = self.choice()
        counted = choice.polygons and choice.class_field
        rows = label_checks.rows(self.count, self._colours) if counted else []
        class_table.fill(self.classTable, rows)
        hint = "" if rows else label_checks.hint(choice, self.count, self._count_fault)
        self.classHint.setText(hint)
        self.classHint.setVisible(bool(hint))
        warnings = self._engine_warnings
        if warnings is None:
            warnings = label_checks.warnings(choice, self.count)
        self.notice.show_warnings(warnings)

    def _new_layer(self) -> None:
        asked = new_layer.ask(self)
        if asked is not None:
            self.make_layer(*asked)

    def make_layer(self, names: List[str], path: str = "") -> None:
        """Make a label layer for these classes, in the file or in memory, and choose it."""
        try:
            layer = new_layer.make(self.session.iface, names, self.images.layers(), path)
        except TilthError as error:
            self.session.tell(str(error), Qgis.MessageLevel.Warning)
            return
        self.layerCombo.setLayer(layer)


def _id(layer: Optional[QgsMapLayer]) -> str:
    return layer.id() if layer is not None else ""
