"""Layers that are wrong on purpose, in the project."""

from __future__ import annotations

from pathlib import Path
from typing import Any, List, Optional

import numpy as np
from osgeo import gdal
from qgis.core import QgsFeature, QgsGeometry, QgsProject, QgsRasterLayer, QgsVectorLayer

SIDE = 80.0


def polygons(
    image: Any,
    classes: List[Optional[str]],
    field: str = "class",
    shift: float = 0.0,
    size: float = SIDE,
) -> QgsVectorLayer:
    """Squares on the image, one a class given."""
    layer = _layer(image, "Polygon", field)
    box = image.extent()
    for number, value in enumerate(classes):
        left = box.xMinimum() + shift + 200 + 300 * (number % 10)
        top = box.yMaximum() - 200 - 300 * (number // 10)
        _add(layer, _square(left, top, size), value)
    return _shown(layer)


def odd_polygons(image: Any) -> QgsVectorLayer:
    """Null, empty, invalid, multi-part, curved and three-dimensional shapes among good ones."""
    layer = _layer(image, "MultiSurface", "class")
    box = image.extent()
    x, y = box.xMinimum() + 500, box.yMaximum() - 500
    shapes = [
        None,
        "POLYGON EMPTY",
        f"POLYGON(({x} {y}, {x + 80} {y - 80}, {x + 80} {y}, {x} {y - 80}, {x} {y}))",
        f"MULTIPOLYGON((({x + 300} {y}, {x + 380} {y}, {x + 380} {y - 80}, {x + 300} {y})),"
        f"(({x + 300} {y - 200}, {x + 380} {y - 200}, {x + 380} {y - 280}, {x + 300} {y - 200})))",
        f"CURVEPOLYGON(CIRCULARSTRING({x + 600} {y}, {x + 660} {y - 60}, {x + 600} {y}))",
        f"POLYGON Z(({x} {y - 900} 5, {x + 80} {y - 900} 5, {x + 80} {y - 980} 5,"
        f" {x} {y - 900} 5))",
    ]
    for number, wkt in enumerate(shapes * 2):
        geometry = QgsGeometry() if wkt is None else QgsGeometry.fromWkt(wkt)
        if number >= len(shapes) and wkt is not None:
            geometry.translate(0, -1500)
        _add(layer, geometry, "ab"[number // len(shapes)])
    for number in range(4):
        _add(layer, _square(x + 1200 + 300 * number, y, SIDE), "ab"[number % 2])
    return _shown(layer)


def raster(
    folder: Path, name: str, bands: int = 8, crs: bool = True, kind: str = ""
) -> QgsRasterLayer:
    """An image of noise where the sample scene is."""
    path = folder / f"{name}.tif"
    number = gdal.GDT_CFloat32 if kind == "complex" else gdal.GDT_UInt16
    data = gdal.GetDriverByName("GTiff").Create(str(path), 384, 384, bands, number)
    data.SetGeoTransform((498000.0, 10.0, 0.0, 5352000.0, 0.0, -10.0))
    if crs:
        data.SetProjection(QgsProject.instance().crs().toWkt())
    noise = np.random.default_rng(0).integers(1, 3000, (384, 384))
    for band in range(1, bands + 1):
        data.GetRasterBand(band).WriteArray(noise)
    data = None
    layer = QgsRasterLayer(str(path), name)
    QgsProject.instance().addMapLayer(layer)
    return layer


def _layer(image: Any, kind: str, field: str) -> QgsVectorLayer:
    fields = f"?field={field}:string(20)" if field else ""
    layer = QgsVectorLayer(kind + fields, "odd", "memory")
    layer.setCrs(image.crs())
    return layer


def _add(layer: QgsVectorLayer, geometry: QgsGeometry, value: Optional[str]) -> None:
    feature = QgsFeature(layer.fields())
    feature.setGeometry(geometry)
    if layer.fields().count():
        feature.setAttribute(0, value)
    layer.dataProvider().addFeature(feature)


def _square(left: float, top: float, size: float) -> QgsGeometry:
    return QgsGeometry.fromWkt(
        f"POLYGON(({left} {top}, {left + size} {top}, {left + size} {top - size},"
        f" {left} {top - size}, {left} {top}))"
    )


def _shown(layer: QgsVectorLayer) -> QgsVectorLayer:
    layer.updateExtents()
    QgsProject.instance().addMapLayer(layer)
    return layer
