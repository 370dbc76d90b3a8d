"""The Map page: an adapter and an image in, a styled layer out."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, Hashable, List, Optional

from qgis.core import (
    Qgis,
    QgsCoordinateReferenceSystem,
    QgsMapLayerProxyModel,
    QgsProcessingUtils,
    QgsProject,
    QgsRasterLayer,
)
from qgis.gui import QgsFileWidget
from qgis.PyQt.QtWidgets import QWidget

from ..engine.errors import TilthError
from ..engine.jobs import Extent, PredictJob
from ..layers import extents, result
from . import dates, icons, out_files, runs, settings
from .adapter_choice import AdapterChoice
from .choices import check_image
from .connections import Connections, Places
from .form_rows import FormRows
from .image_list import ImageList, identity
from .library import Library
from .narrow import Narrow
from .notice import Notice
from .rectangle import DrawnRectangle
from .run_bar import RunBar, time_text
from .session import Session
from .ui_file import load, make_quiet


class MapPage(QWidget):
    """Maps; the result goes into the project."""

    def __init__(
        self, session: Session, library: Library, parent: Optional[QWidget] = None
    ) -> None:
        super().__init__(parent)
        load("map", self)
        self.session = session
        self.adapters = AdapterChoice(self, session, library)
        self.images = ImageList(self, one_scene=True)
        self.inputForm.insertRow(
            self.inputForm.getWidgetPosition(self.severalCheck)[0] + 1, self.images
        )
        self._rows = FormRows(self.inputForm)
        Narrow(self.scroll, [self.inputForm, self.outputForm])
        self.notice = Notice(self)
        self.noticeHolder.addWidget(self.notice)
        self.warnings = Notice(self)
        self.noticeHolder.addWidget(self.warnings)
        self.noticeHolder.setSpacing(6)
        self.rectangle = DrawnRectangle(session.iface.mapCanvas(), self)
        self.bar = RunBar(self)
        self.layer_id = ""
        self._used: Hashable = ()
        self._places = Places(self._images_changed)
        self._project = 0
        self._started_in = 0
        self._set_up_inputs()
        self._connect()

    def run(self) -> None:
        """Start; or say what is missing."""
        self.notice.clear()
        self.warnings.clear()
        if not self.session.engine_ready(self.notice):
            return
        try:
            task = self._task()
        except TilthError as error:
            self._say(str(error), Qgis.MessageLevel.Warning)
            return
        settings.keep("map/confidence", self.confidenceCheck.isChecked())
        self._started_in = self._project
        self.warnings.follow(task)
        self.bar.follow(task)
        task.succeeded.connect(self._succeeded)
        task.failed.connect(self._failed)
        self.session.start(task)

    def choose_adapter(self, path: str) -> None:
        """Use this adapter."""
        self.adapters.choose(path)

    def choose_image(self, layer: Optional[QgsRasterLayer]) -> None:
        """Map this image."""
        if layer is not None:
            self.imageCombo.setLayer(layer)

    def shut_down(self) -> None:
        """Let go of everything outside."""
        self._outside.clear()
        self.images.shut_down()
        self._places.shut_down()
        self.rectangle.shut_down()

    def hideEvent(self, event: Any) -> None:  # noqa: N802 (Qt's name)
        super().hideEvent(event)
        self.rectangle.stop()
        self.rectangle.set_shown(False)

    def showEvent(self, event: Any) -> None:  # noqa: N802 (Qt's name)
        super().showEvent(event)
        self._show_extent()

    def _set_up_inputs(self) -> None:
        raster = QgsMapLayerProxyModel.Filter.RasterLayer
        self.imageCombo.setFilters(raster)
        self._leave_out_maps()
        self.fileWidget.setStorageMode(QgsFileWidget.StorageMode.SaveFile)
        self.fileWidget.setFilter("GeoTIFF (*.tif *.tiff)")
        self.fileWidget.setDialogTitle(self.tr("Save the map"))
        self.fileWidget.setConfirmOverwrite(False)  # nothing is overwritten
        self.fileWidget.lineEdit().setPlaceholderText(self.tr("[temporary file]"))
        self.confidenceCheck.setChecked(settings.flag("map/confidence", False))
        self.runButton.setIcon(icons.theme("mActionStart.svg"))
        self.cancelButton.setIcon(icons.theme("mTaskCancel.svg"))
        self.drawButton.setIcon(icons.theme("mActionAddBasicRectangle.svg"))
        make_quiet(self.extentHint)
        self._show_rows()
        self._show_extent()
        self._images_changed()

    def _connect(self) -> None:
        self.session.engine.installed.connect(self.notice.clear)
        self.runButton.clicked.connect(self.run)
        self.severalCheck.toggled.connect(self._show_rows)
        self.severalCheck.toggled.connect(self._images_changed)
        self.adapters.changed.connect(self._show_rows)
        self.imageCombo.currentIndexChanged.connect(self._images_changed)
        self.images.changed.connect(self._images_changed)
        for radio in (self.wholeRadio, self.canvasRadio, self.rectangleRadio):
            radio.toggled.connect(self._show_extent)
        self.rectangleRadio.clicked.connect(self._ask_rectangle)
        self.drawButton.clicked.connect(self._draw)
        self.rectangle.drawn.connect(self._drawn)
        self.rectangle.active_changed.connect(self.drawButton.setChecked)
        self._outside = Connections()
        project = QgsProject.instance()
        self._outside.add(project.cleared, self._project_closed)
        for signal in (project.layersAdded, project.layersRemoved):
            self._outside.add(signal, self._leave_out_maps)
        self._outside.add(self.session.iface.mapCanvas().extentsChanged, self._canvas_moved)

    def _images(self) -> List[QgsRasterLayer]:
        layers = self._chosen()
        if not layers:
            check_image(None)
        for layer in layers:
            check_image(layer)
        return layers

    def _chosen(self) -> List[QgsRasterLayer]:
        """The images that a map would be made of."""
        if self.severalCheck.isChecked():
            return self.images.layers()
        layer = self.imageCombo.currentLayer()
        return [layer] if layer is not None else []

    def _task(self) -> Any:
        adapter = self.adapters.current()
        images = self._images()
        out = self._out_file(adapter.name)
        job = PredictJob(
            adapter=str(adapter.path),
            images=[layer.source() for layer in images],
            out=str(out),
            stack=len(images) > 1,
            dates=dates.dates_in(self.datesEdit.text()) if self._dated() else [],
            extent=self._extent(images[0]),
            confidence=str(result.confidence_path(out)) if self.confidenceCheck.isChecked() else "",
            device=settings.text("train/device", "auto"),
        )
        resolution = self.adapters.card().get("resolution_m")
        return runs.mapping(self.session.pool, images, job, adapter.name, resolution)

    def _out_file(self, name: str) -> Path:
        chosen = self.fileWidget.filePath().strip()
        if not chosen:
            return Path(QgsProcessingUtils.generateTempFilename(_file_name(name) + ".tif"))
        path = out_files.named(chosen, out_files.usual_folder(), ".tif", ".tiff")
        if not path.parent.is_dir():
            raise TilthError(self.tr("There is no folder {} to save to.").format(path.parent))
        return result.free_path(path, QgsProject.instance())

    def _extent(self, image: QgsRasterLayer) -> Optional[Extent]:
        canvas = self.session.iface.mapCanvas()
        if self.canvasRadio.isChecked():
            crs = canvas.mapSettings().destinationCrs()
            return extents.on_image(canvas.extent(), crs, image)
        if self.rectangleRadio.isChecked():
            if self.rectangle.rectangle is None:
                raise TilthError(self.tr("No rectangle is drawn: press “Draw on map”."))
            return extents.on_image(self.rectangle.rectangle, self.rectangle.crs, image)
        return None

    def _show_rows(self, *_: object) -> None:
        several = self.severalCheck.isChecked()
        left_out = {self.images: not several, self.datesEdit: not self._dated()}
        self._rows.leave_out([field for field, unused in left_out.items() if unused])
        self.imageCombo.setEnabled(not several)

    def _leave_out_maps(self, *_: object) -> None:
        """Tilth's own maps are no images, and often the first in the list."""
        layers = QgsProject.instance().mapLayers().values()
        self.imageCombo.setExceptedLayerList([layer for layer in layers if result.is_ours(layer)])

    def _images_changed(self, *_: object) -> None:
        """Other images have other dates. The combo's index tells of removals too, but it also
        changes where images only move."""
        layers = self._chosen()
        self._places.follow(layers)
        if identity(layers) != self._used:
            self._used = identity(layers)
            self.datesEdit.clear()

    def _dated(self) -> bool:
        return dates.heeded_in_mapping(self.adapters.card())

    def _show_extent(self, *_: object) -> None:
        by_rectangle = self.rectangleRadio.isChecked()
        self.drawButton.setEnabled(by_rectangle)
        self.rectangle.set_shown(by_rectangle and self.isVisible())
        self.extentHint.setText(self._extent_text())
        self.extentHint.setVisible(bool(self.extentHint.text()))

    def _extent_text(self) -> str:
        if not self.rectangleRadio.isChecked():
            return ""
        box = self.rectangle.rectangle
        if box is None:
            return self.tr("Drag a rectangle on the map.")
        crs = self.rectangle.crs
        digits = 4 if crs.isGeographic() else 0
        size = f"{box.width():,.{digits}f} × {box.height():,.{digits}f}"
        name = crs.userFriendlyIdentifier(QgsCoordinateReferenceSystem.ShortString)
        return self.tr("Drawn: {size} in the units of {crs}").format(size=size, crs=name)

    def _ask_rectangle(self) -> None:
        if self.rectangle.rectangle is None:
            self.rectangle.start()

    def _draw(self, on: bool) -> None:
        if on:
            self.rectangle.start()
        else:
            self.rectangle.stop()

    def _drawn(self) -> None:
        self.rectangleRadio.setChecked(True)
        self._show_extent()

    def _canvas_moved(self) -> None:
        self._show_extent()

    def _project_closed(self) -> None:
        self._project += 1
        self.rectangle.clear()
        self._show_extent()

    def _succeeded(self, outcome: Any) -> None:
        if self._started_in == self._project:
            self._add(dict(outcome))
            return
        words = self.tr("The map is ready, but its project was closed: {}").format(outcome["map"])
        add = self.tr("Add to this project")
        self.notice.show_text(words, Qgis.MessageLevel.Info, add, lambda: self._add(dict(outcome)))
        self.session.tell(words)

    def _add(self, outcome: Dict[str, Any]) -> None:
        try:
            layer = result.add_map(outcome, QgsProject.instance(), self.session.iface)
        except TilthError as error:
            self._say(str(error), Qgis.MessageLevel.Critical)
            return
        self.layer_id = layer.id()
        words = self.tr("Added “{name}” to the project.").format(name=layer.name())
        if Path(QgsProcessingUtils.tempFolder()) not in Path(outcome["map"]).parents:
            words += " " + self.tr("Its file: {}.").format(outcome["map"])
        if isinstance(outcome.get("seconds"), (int, float)):
            words += " " + self.tr("It took {}.").format(time_text(outcome["seconds"]))
        told = [str(text) for text in outcome.get("warnings") or []]
        warnings = list(dict.fromkeys([*self.warnings.heard, *told]))
        self.notice.show_text(words, Qgis.MessageLevel.Success)
        self.warnings.show_warnings(warnings)
        level = Qgis.MessageLevel.Warning if warnings else Qgis.MessageLevel.Success
        self.session.tell("\n".join([words, *warnings]), level)

    def _failed(self, kind: str, message: str, log: str) -> None:
        if kind == "cancelled":
            self.notice.show_text(self.tr("Cancelled."), Qgis.MessageLevel.Info)
            return
        self.session.complain(self.notice, kind, message, log)

    def _say(self, message: str, level: Any) -> None:
        self.notice.show_text(message, level)
        self.session.tell(message, level)


def _file_name(name: str) -> str:
    """A name that every file system takes."""
    kept = "".join(c if c.isalnum() or c in "-_ " else "_" for c in name)
    return kept.strip().replace(" ", "_") or "map"
