"""A new, empty label layer to draw into."""

from __future__ import annotations

from pathlib import Path
from typing import Sequence, Tuple

from qgis.core import (
    QgsCategorizedSymbolRenderer,
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransformContext,
    QgsEditorWidgetSetup,
    QgsFields,
    QgsFillSymbol,
    QgsRendererCategory,
    QgsVectorFileWriter,
    QgsVectorLayer,
    QgsWkbTypes,
)
from qgis.PyQt.QtGui import QColor

from ..engine.errors import TilthError
from .values import new_field

CLASS_FIELD = "class"
_LENGTH = 80
_FILL_ALPHA = 90
_LAYER = "labels"


def new_label_layer(
    path: str, crs: QgsCoordinateReferenceSystem, classes: Sequence[Tuple[str, str]] = ()
) -> QgsVectorLayer:
    """A new, empty polygon layer with the text field ``class``, styled, ready to draw into.

    ``classes`` are names with colours (#rrggbb). Without a path it is a memory layer. The layer
    is not in the project yet. Raises TilthError; never overwrites.
    """
    layer = _in_file(_with_suffix(Path(path)), crs) if path else _in_memory(crs)
    if classes:
        names = [{name: name} for name, _ in classes]
        setup = QgsEditorWidgetSetup("ValueMap", {"map": names})
        layer.setEditorWidgetSetup(layer.fields().lookupField(CLASS_FIELD), setup)
        layer.setRenderer(_renderer(classes))
        if path:
            layer.saveStyleToDatabase(_LAYER, "", True, "")
    return layer


def _with_suffix(path: Path) -> Path:
    """The name that QGIS gives the file."""
    return path if path.suffix.lower() == ".gpkg" else path.with_name(f"{path.name}.gpkg")


def _in_memory(crs: QgsCoordinateReferenceSystem) -> QgsVectorLayer:
    layer = QgsVectorLayer(
        f"MultiPolygon?field={CLASS_FIELD}:string({_LENGTH})", "Labels", "memory"
    )
    layer.setCrs(crs)
    return layer


def _in_file(path: Path, crs: QgsCoordinateReferenceSystem) -> QgsVectorLayer:
    if path.exists():
        raise TilthError(f"labels: {path} is there already; choose another name")
    fields = QgsFields()
    fields.append(new_field(CLASS_FIELD, "text", _LENGTH))
    options = QgsVectorFileWriter.SaveVectorOptions()
    options.driverName = "GPKG"
    options.layerName = _LAYER
    writer = QgsVectorFileWriter.create(
        str(path),
        fields,
        QgsWkbTypes.Type.MultiPolygon,
        crs,
        QgsCoordinateTransformContext(),
        options,
    )
    problem = writer.errorMessage()
    del writer
    layer = QgsVectorLayer(f"{path}|layername={_LAYER}", path.stem, "ogr")
    if problem or not layer.isValid():
        raise TilthError(
            f"labels: {path} could not be written: {problem or 'no reason is known'}; "
            "choose another folder"
        )
    return layer


def _renderer(classes: Sequence[Tuple[str, str]]) -> QgsCategorizedSymbolRenderer:
    """A category a class; the image shines through."""
    renderer = QgsCategorizedSymbolRenderer(CLASS_FIELD)
    for name, colour in classes:
        outline = QColor(colour)
        fill = QColor(outline)
        fill.setAlpha(_FILL_ALPHA)
        symbol = QgsFillSymbol.createSimple({"outline_width": "0.5"})
        symbol.setColor(fill)
        symbol.symbolLayer(0).setStrokeColor(outline)
        renderer.addCategory(QgsRendererCategory(name, symbol, name))
    return renderer
