"""Polygon layers as label files.

A snapshot is taken in the main thread, through a feature source: it holds what the layer shows
(unsaved edits, filter, joins, virtual fields), from any provider, and is read in a task's thread.
The layer is never saved or written.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import List, Optional

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
class LabelSnapshot:
    """A polygon layer as it was when the user pressed the button."""

    name: str
    class_field: str
    _source: QgsVectorLayerFeatureSource
    _request: QgsFeatureRequest
    _crs: QgsCoordinateReferenceSystem
    _transform: Optional[QgsCoordinateTransform]
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
        file = LabelFile(f"{path}|layername={self._stem}", column if self._index >= 0 else "")
        self._fill(file, path, self._fields(column), feedback)
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

    def _fill(
        self, file: LabelFile, path: Path, fields: QgsFields, feedback: Optional[QgsFeedback]
    ) -> None:
        """Copy the features that have polygons."""
        writer = _writer(path, self._stem, fields, self._crs)
        for feature in self._source.getFeatures(self._request):
            if feedback is not None and feedback.isCanceled():
                del writer
                path.unlink(missing_ok=True)
                raise TilthError("Cancelled.")
            shape = self._moved(polygons(feature.geometry()))
            if shape is None:
                file.skipped += 1
                continue
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

    def _moved(self, shape: Optional[QgsGeometry]) -> Optional[QgsGeometry]:
        """The shape in the coordinate system that is written; None where it has no place there."""
        if shape is None or self._transform is None:
            return shape
        box = shape.boundingBox()
        piece = max(box.width(), box.height()) / _PIECES
        moved = shape.densifyByDistance(piece) if piece > 0 else shape
        try:
            moved.transform(self._transform)
        except QgsCsException:
            return None
        return moved if moved.boundingBox().isFinite() else None


def snapshot(
    layer: Optional[QgsVectorLayer],
    class_field: str = "",
    only_selected: bool = False,
    stem: str = "labels",
    crs: Optional[QgsCoordinateReferenceSystem] = None,
) -> LabelSnapshot:
    """In the main thread: what is needed to write the layer later in a task's thread.

    Without a class field it is a labelled area. ``stem`` names the file. With ``crs``, the image's,
    polygons are brought there by the very transformation that QGIS draws them with: the engine may
    know another one, tens of metres off. Raises TilthError.
    """
    layer = _checked(layer, class_field, only_selected)
    index = layer.fields().lookupField(class_field) if class_field else -1
    request = QgsFeatureRequest()
    request.setSubsetOfAttributes([index] if index >= 0 else [])
    if only_selected:
        request.setFilterFids(layer.selectedFeatureIds())
        # Providers hand a chosen set out in any order; a split has to be the same every time.
        request.addOrderBy("$id")
    transform = _transform(layer.crs(), crs)
    return LabelSnapshot(
        name=layer.name(),
        class_field=layer.fields().at(index).name() if index >= 0 else "",
        _source=QgsVectorLayerFeatureSource(layer),
        _request=request,
        _crs=QgsCoordinateReferenceSystem(crs if crs and transform else layer.crs()),
        _transform=transform,
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


def _transform(
    own: QgsCoordinateReferenceSystem, wanted: Optional[QgsCoordinateReferenceSystem]
) -> Optional[QgsCoordinateTransform]:
    """The project's transformation; None where there is nothing to transform."""
    if wanted is None or not wanted.isValid() or not own.isValid():
        return None
    if extents.same_crs(own, wanted):
        return None
    return QgsCoordinateTransform(own, wanted, QgsProject.instance())


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
