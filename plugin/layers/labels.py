"""Polygon layers as label files.

A snapshot is taken in the main thread, through a feature source: it holds what the layer shows
(unsaved edits, filter, joins, virtual fields), from any provider, and is read in a task's thread.
The layer is never saved or written.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import List, Optional, Sequence, Tuple

from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransform,
    QgsCoordinateTransformContext,
    QgsCsException,
    QgsFeature,
    QgsFeatureRequest,
    QgsFeatureSink,
    QgsFeedback,
    QgsFields,
    QgsGeometry,
    QgsProject,
    QgsRasterLayer,
    QgsRectangle,
    QgsVectorFileWriter,
    QgsVectorLayer,
    QgsVectorLayerFeatureSource,
    QgsWkbTypes,
)

from ..engine.errors import TilthError
from ..engine.jobs import Extent
from . import extents
from .classes import ClassField, ClassValues, class_fields, class_values, styles
from .new_labels import new_label_layer
from .values import as_kind, kind_of, new_field

__all__ = [
    "ClassField",
    "ClassValues",
    "LabelFile",
    "LabelSnapshot",
    "class_fields",
    "class_values",
    "extent_of",
    "new_label_layer",
    "snapshot",
    "styles",
]

# Names that GeoPackage keeps for itself.
_RESERVED = ("fid", "geom", "ogc_fid", "rowid")
# A straight line in one coordinate system is a curve in the other: so many points follow it.
_PIECES = 16
# Degrees from which on an image in degrees is near the line where longitudes begin anew.
_DATE_LINE = 179.0


@dataclass
class LabelFile:
    """A written label file: ``path`` is for ``job.labels``, ``class_field`` for that entry.

    ``skipped`` counts the features that have no polygon.
    """

    path: str
    class_field: str
    written: int = 0
    skipped: int = 0
    warnings: List[str] = field(default_factory=list)


@dataclass
class _Move:
    """Into the images' coordinate system; ``frame`` is where they lie there."""

    transform: QgsCoordinateTransform
    frame: QgsRectangle

    def of(self, shape: QgsGeometry) -> Optional[QgsGeometry]:
        """The shape there; None where it has no place there."""
        box = shape.boundingBox()
        piece = max(box.width(), box.height()) / _PIECES
        moved = shape.densifyByDistance(piece) if piece > 0 else shape
        try:
            moved.transform(self.transform)
        except QgsCsException:
            return None
        return moved if moved.boundingBox().isFinite() else None


@dataclass
class LabelSnapshot:
    """A polygon layer as it was when the user pressed the button."""

    name: str
    class_field: str
    _source: QgsVectorLayerFeatureSource
    _request: QgsFeatureRequest
    _crs: QgsCoordinateReferenceSystem
    _move: Optional[_Move]
    _index: int
    _kind: str
    _stem: str

    def write(self, folder: Path, feedback: Optional[QgsFeedback] = None) -> LabelFile:
        """In a task's thread: write the polygons to a GeoPackage in ``folder``.

        Raises TilthError where that fails or there are none.
        """
        path = Path(folder) / f"{self._stem}.gpkg"
        column = self.class_field
        if column.lower() in _RESERVED:
            column = f"class_{column}"
        file, box = self._copy(path, column, self._move, feedback)
        if self._move is not None and (box.isNull() or not box.intersects(self._move.frame)):
            # Off the images. The engine says so, best of where the layer itself says that it lies.
            file, _ = self._copy(path, column, None, feedback)
        if file.written == 0:
            path.unlink(missing_ok=True)
            raise TilthError(
                f"labels: the layer {self.name!r} has no polygons to use "
                f"({file.skipped} features without one); draw some, or check its filter"
            )
        if file.skipped:
            count = "1 feature" if file.skipped == 1 else f"{file.skipped} features"
            file.warnings.append(f"{count} of {self.name!r} without a polygon left out")
        return file

    def _fields(self, column: str) -> QgsFields:
        fields = QgsFields()
        if self._index >= 0:
            fields.append(new_field(column, self._kind))
        return fields

    def _copy(
        self, path: Path, column: str, move: Optional[_Move], feedback: Optional[QgsFeedback]
    ) -> Tuple[LabelFile, QgsRectangle]:
        """Write the features that have polygons; also where these lie."""
        file = LabelFile(f"{path}|layername={self._stem}", column if self._index >= 0 else "")
        fields, box = self._fields(column), QgsRectangle()
        crs = self._crs if move is None else move.transform.destinationCrs()
        writer = _writer(path, self._stem, fields, crs)
        for feature in self._source.getFeatures(self._request):
            if feedback is not None and feedback.isCanceled():
                del writer
                path.unlink(missing_ok=True)
                raise TilthError("Cancelled.")
            shape = polygons(feature.geometry())
            if shape is not None and move is not None:
                shape = move.of(shape)
            if shape is None:
                file.skipped += 1
                continue
            box.combineExtentWith(shape.boundingBox())
            copy = QgsFeature(fields)
            copy.setGeometry(shape)
            if self._index >= 0:
                copy.setAttribute(0, as_kind(feature.attribute(self._index), self._kind))
            if not writer.addFeature(copy, QgsFeatureSink.Flag.FastInsert):
                raise _unwritable(path, writer.errorMessage())
            file.written += 1
        # The file is complete only once the writer is gone, and a full disk may show only then.
        del writer
        written = QgsVectorLayer(file.path, self._stem, "ogr")
        if not written.isValid() or written.featureCount() != file.written:
            raise _unwritable(path, "it is incomplete")
        return file, box


def snapshot(
    layer: Optional[QgsVectorLayer],
    class_field: str = "",
    only_selected: bool = False,
    stem: str = "labels",
    images: Sequence[QgsRasterLayer] = (),
) -> LabelSnapshot:
    """In the main thread: what is needed to write the layer later in a task's thread.

    Without a class field it is a labelled area. ``stem`` names the file. With ``images``,
    polygons are brought to the first one's coordinate system by the very transformation that QGIS
    draws them with: the engine may know another one, tens of metres off. Raises TilthError.
    """
    layer = _checked(layer, class_field, only_selected)
    index = layer.fields().lookupField(class_field) if class_field else -1
    request = QgsFeatureRequest()
    request.setSubsetOfAttributes([index] if index >= 0 else [])
    if only_selected:
        request.setFilterFids(layer.selectedFeatureIds())
        # Providers hand a chosen set out in any order; a split has to be the same every time.
        request.addOrderBy("$id")
    return LabelSnapshot(
        name=layer.name(),
        class_field=layer.fields().at(index).name() if index >= 0 else "",
        _source=QgsVectorLayerFeatureSource(layer),
        _request=request,
        _crs=QgsCoordinateReferenceSystem(layer.crs()),
        _move=_move(layer.crs(), images),
        _index=index,
        _kind=kind_of(layer.fields().at(index)) if index >= 0 else "text",
        _stem=stem,
    )


def extent_of(layer: QgsVectorLayer, only_selected: bool = False) -> Optional[Extent]:
    """Where its polygons are, None for an empty layer. Of a layer in edit mode QGIS may look at all
    of them for that."""
    box = layer.boundingBoxOfSelected() if only_selected else layer.extent()
    return extents.as_job(box, layer.crs())


def polygons(geometry: QgsGeometry) -> Optional[QgsGeometry]:
    """A geometry as flat multipolygon with straight edges; None where it has no polygon."""
    if geometry.isNull() or geometry.isEmpty():
        return None
    shape = QgsGeometry(geometry.constGet().segmentize())
    kind = QgsWkbTypes.GeometryType.PolygonGeometry
    if QgsWkbTypes.flatType(shape.wkbType()) == QgsWkbTypes.Type.GeometryCollection:
        shape.convertGeometryCollectionToSubclass(kind)
    if shape.type() != kind or shape.isEmpty():
        return None
    shape.get().dropZValue()
    shape.get().dropMValue()
    shape.convertToMultiType()
    return shape


def _move(own: QgsCoordinateReferenceSystem, images: Sequence[QgsRasterLayer]) -> Optional[_Move]:
    """The project's way to the images; None where there is nothing to transform."""
    crs = images[0].crs() if images else QgsCoordinateReferenceSystem()
    if not crs.isValid() or not own.isValid() or extents.same_crs(own, crs):
        return None
    frame = QgsRectangle()
    for image in images:
        # One that has no place there, such as all of the world, leaves the others.
        with contextlib.suppress(TilthError):
            frame.combineExtentWith(extents.to_crs(image.extent(), image.crs(), crs))
    if crs.isGeographic() and max(-frame.xMinimum(), frame.xMaximum()) > _DATE_LINE:
        return None  # QGIS would tear what lies across it; the engine keeps it in one piece
    return _Move(QgsCoordinateTransform(own, crs, QgsProject.instance()), frame)


def _checked(
    layer: Optional[QgsVectorLayer], class_field: str, only_selected: bool
) -> QgsVectorLayer:
    """The layer. Raises TilthError where it is of no use."""
    if layer is None:
        raise TilthError("labels: no layer given; pick a polygon layer")
    name = layer.name()
    if not layer.isValid():
        raise TilthError(
            f"labels: the layer {name!r} can't be read; its source is missing or broken. "
            "Repair the layer in QGIS or pick another one"
        )
    usable = (
        QgsWkbTypes.GeometryType.PolygonGeometry,
        QgsWkbTypes.GeometryType.UnknownGeometry,
    )
    if layer.geometryType() not in usable:
        raise TilthError(f"labels: the layer {name!r} has no polygons; pick a polygon layer")
    if class_field and layer.fields().lookupField(class_field) < 0:
        raise TilthError(
            f"labels: the layer {name!r} has no field {class_field!r}; pick another class field"
        )
    if only_selected and not layer.selectedFeatureCount():
        raise TilthError(
            f"labels: nothing is selected in the layer {name!r}; select polygons or use all"
        )
    return layer


def _writer(
    path: Path, layer_name: str, fields: QgsFields, crs: QgsCoordinateReferenceSystem
) -> QgsVectorFileWriter:
    """A new GeoPackage to write polygons to."""
    options = QgsVectorFileWriter.SaveVectorOptions()
    options.driverName = "GPKG"
    options.layerName = layer_name
    options.actionOnExistingFile = QgsVectorFileWriter.ActionOnExistingFile.CreateOrOverwriteFile
    writer = QgsVectorFileWriter.create(
        str(path),
        fields,
        QgsWkbTypes.Type.MultiPolygon,
        crs,
        QgsCoordinateTransformContext(),
        options,
    )
    if writer.hasError() != QgsVectorFileWriter.WriterError.NoError:
        raise _unwritable(path, writer.errorMessage())
    return writer


def _unwritable(path: Path, reason: str) -> TilthError:
    return TilthError(
        f"labels: they could not be written to {path}: {reason}; check the space on the disk"
    )
