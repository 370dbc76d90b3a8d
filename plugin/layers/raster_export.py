"""Rasters that only QGIS can read, written to a GeoTIFF through their provider.

The plan is made in the main thread, where the layer lives; the writing happens in a task's thread
with a copy of the provider that belongs to no layer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import List, Optional
from xml.etree import ElementTree  # nosec B405

from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransformContext,
    QgsDistanceArea,
    QgsFeedback,
    QgsGeometry,
    QgsProject,
    QgsProviderRegistry,
    QgsRasterBlockFeedback,
    QgsRasterDataProvider,
    QgsRasterFileWriter,
    QgsRasterLayer,
    QgsRasterNuller,
    QgsRasterPipe,
    QgsRectangle,
)
from qgis.PyQt.QtCore import Qt, QThread

from ..engine.errors import TilthError

MOST_PIXELS = 100_000_000
# The provider of what the raster calculator leaves as a "virtual layer": one band.
_CALCULATOR = "virtualraster"
# What a layer without pixels of its own is read at when nobody says: as fine as this allows.
_USUAL_PIXELS = 16_000_000


@dataclass
class Export:
    """What has to be written: made by ``plan``, done by ``write``."""

    name: str
    provider: QgsRasterDataProvider
    crs: QgsCoordinateReferenceSystem
    context: QgsCoordinateTransformContext
    extent: QgsRectangle
    columns: int
    rows: int
    band_names: List[str]


def plan(
    layer: QgsRasterLayer,
    extent: Optional[QgsRectangle],
    resolution: Optional[float],
    limit: int = MOST_PIXELS,
) -> Export:
    """In the main thread: how the layer, or its part inside ``extent``, is written.

    ``extent`` is in the layer's CRS; a layer without pixels of its own is read at ``resolution``,
    in metres on the ground. Raises TilthError where there would be too much.
    """
    own = _pixel_size(layer)
    if extent is None and own is None:
        raise TilthError(
            f"image: the layer {layer.name()!r} has no end; choose an extent to read it in"
        )
    box = QgsRectangle(extent if extent is not None else layer.extent())
    if own is not None:
        width, height = own
        box = _on_grid(box, layer)
    else:
        width = height = _units(resolution, layer, box) if resolution else _finest(layer, box)
    columns = max(1, round(box.width() / width))
    rows = max(1, round(box.height() / height))
    if columns * rows > limit:
        raise TilthError(
            f"image: the layer {layer.name()!r} has to be read through QGIS, and "
            f"{columns} x {rows} pixels are too many for that (at most {limit:,}); choose a "
            "smaller extent, or save the layer as a GeoTIFF and use that"
        )
    return Export(
        name=layer.name(),
        provider=_detached(layer),
        crs=layer.crs(),
        context=QgsProject.instance().transformContext(),
        extent=_whole_pixels(box, columns * width, rows * height),
        columns=columns,
        rows=rows,
        band_names=band_names(layer),
    )


def write(export: Export, path: Path, feedback: Optional[QgsFeedback] = None) -> List[str]:
    """In a task's thread: write the GeoTIFF; warnings. Raises TilthError."""
    export.provider.moveToThread(QThread.currentThread())
    block_feedback = QgsRasterBlockFeedback()
    if feedback is not None:
        at_once = Qt.ConnectionType.DirectConnection
        feedback.canceled.connect(block_feedback.cancel, at_once)
        block_feedback.progressChanged.connect(feedback.setProgress, at_once)
    try:
        outcome = _write(export, path, block_feedback)
    finally:
        if feedback is not None:
            feedback.canceled.disconnect(block_feedback.cancel)
    errors = [str(error) for error in block_feedback.errors()]
    if feedback is not None and feedback.isCanceled():
        path.unlink(missing_ok=True)
        raise TilthError("Cancelled.")
    if outcome != 0:
        path.unlink(missing_ok=True)
        reason = f": {errors[0]}" if errors else ""
        raise TilthError(
            f"image: the layer {export.name!r} could not be read through QGIS and written to "
            f"{path}{reason}; check the layer's source and the free space on the disk"
        )
    _name_bands(path, export.band_names)
    if errors:
        return [f"Parts of the layer {export.name!r} could not be read: {errors[0]}"]
    return []


def _write(export: Export, path: Path, feedback: QgsRasterBlockFeedback) -> int:
    """Let QGIS write; 0 where that went well."""
    writer = QgsRasterFileWriter(str(path))
    writer.setOutputFormat("GTiff")
    writer.setCreateOptions(["TILED=YES", "COMPRESS=DEFLATE", "BIGTIFF=IF_SAFER"])
    outcome = writer.writeRaster(
        _pipe(export.provider),
        export.columns,
        export.rows,
        export.extent,
        export.crs,
        export.context,
        feedback,
    )
    # The names of this enumeration's values have changed between versions of QGIS.
    return int(getattr(outcome, "value", outcome))


def band_names(layer: QgsRasterLayer) -> List[str]:
    """The bands' own names, empty where QGIS only counts ("Band 1")."""
    names = (layer.bandName(number) for number in range(1, layer.bandCount() + 1))
    return [name.partition(": ")[2] for name in names]


def _detached(layer: QgsRasterLayer) -> QgsRasterDataProvider:
    """A copy of the layer's provider that any thread may take."""
    provider = layer.dataProvider()
    if provider.name() == _CALCULATOR:
        # A copy of its copy, such as ``_pipe`` makes, gives arbitrary values (QGIS 3.22).
        copy = QgsProviderRegistry.instance().createProvider(_CALCULATOR, layer.source())
        copy.setUserNoDataValue(1, provider.userNoDataValues(1))
    else:
        copy = provider.clone()
    copy.moveToThread(None)
    return copy


def _pipe(provider: QgsRasterDataProvider) -> QgsRasterPipe:
    """A pipe from a copy of the provider, with the no-data values that were set in QGIS."""
    pipe = QgsRasterPipe()
    copy = provider.clone()
    nuller = QgsRasterNuller()
    for band in range(1, copy.bandCount() + 1):
        ranges = provider.userNoDataValues(band)
        if ranges:
            nuller.setNoData(band, ranges)
    pipe.set(copy)
    pipe.insert(1, nuller)
    return pipe


def _pixel_size(layer: QgsRasterLayer) -> Optional[tuple]:
    """Width and height of the layer's own pixels; None where it has none (XYZ, WMS)."""
    if layer.width() <= 0 or layer.height() <= 0:
        return None
    box = layer.extent()
    return box.width() / layer.width(), box.height() / layer.height()


def _on_grid(box: QgsRectangle, layer: QgsRasterLayer) -> QgsRectangle:
    """The box widened to whole pixels of the layer, so that no value is resampled."""
    whole = layer.extent()
    width, height = whole.width() / layer.width(), whole.height() / layer.height()
    first = max(0, math.floor((box.xMinimum() - whole.xMinimum()) / width + 1e-6))
    last = min(layer.width(), math.ceil((box.xMaximum() - whole.xMinimum()) / width - 1e-6))
    top = max(0, math.floor((whole.yMaximum() - box.yMaximum()) / height + 1e-6))
    bottom = min(layer.height(), math.ceil((whole.yMaximum() - box.yMinimum()) / height - 1e-6))
    if first >= last or top >= bottom:
        raise TilthError(
            f"extent: it lies outside the image {layer.name()!r}; choose one on the image"
        )
    return QgsRectangle(
        whole.xMinimum() + first * width,
        whole.yMaximum() - bottom * height,
        whole.xMinimum() + last * width,
        whole.yMaximum() - top * height,
    )


def _whole_pixels(box: QgsRectangle, width: float, height: float) -> QgsRectangle:
    """A box of this size at the same upper left corner: the pixels stay square."""
    return QgsRectangle(
        box.xMinimum(), box.yMaximum() - height, box.xMinimum() + width, box.yMaximum()
    )


def _units(metres: float, layer: QgsRasterLayer, box: QgsRectangle) -> float:
    """A length on the ground, in the middle of the box, as one in the layer's CRS."""
    measure = QgsDistanceArea()
    measure.setSourceCrs(layer.crs(), QgsProject.instance().transformContext())
    measure.setEllipsoid("EPSG:7030")  # WGS 84's
    middle = QgsRectangle(box)
    middle.scale(0.001)
    ground = measure.measureArea(QgsGeometry.fromRect(middle))
    return metres * math.sqrt(middle.width() * middle.height() / ground)


def _finest(layer: QgsRasterLayer, box: QgsRectangle) -> float:
    """The server's finest resolution that keeps the usual number of pixels, or one that does."""
    least = math.sqrt(box.width() * box.height() / _USUAL_PIXELS)
    fine = [size for size in layer.dataProvider().nativeResolutions() if size >= least]
    return min(fine, default=least)


def _name_bands(path: Path, names: List[str]) -> None:
    """Band names in a file beside the GeoTIFF, where GDAL looks for them."""
    if not any(names):
        return
    root = ElementTree.Element("PAMDataset")
    for number, name in enumerate(names, start=1):
        if name:
            band = ElementTree.SubElement(root, "PAMRasterBand", band=str(number))
            ElementTree.SubElement(band, "Description").text = name
    ElementTree.ElementTree(root).write(f"{path}.aux.xml", encoding="utf-8")
