"""Rectangles of QGIS as the extents that a job carries."""

from __future__ import annotations

import math
from typing import Optional, Tuple

from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransform,
    QgsCoordinateTransformContext,
    QgsCsException,
    QgsMapLayer,
    QgsProject,
    QgsRasterLayer,
    QgsRectangle,
)

from ..engine.errors import TilthError
from ..engine.jobs import Extent

# Codes that PROJ knows everywhere; "USER:100001" means something in one QGIS profile only.
_AUTHORITIES = ("EPSG", "ESRI", "IAU_2015", "IGNF", "NKG", "OGC")


def crs_text(crs: QgsCoordinateReferenceSystem) -> str:
    """A CRS as text that PROJ reads: its code, WKT where it has none, empty where it is none."""
    if not crs.isValid():
        return ""
    if crs.authid().partition(":")[0] in _AUTHORITIES:
        return crs.authid()
    return crs.toWkt(QgsCoordinateReferenceSystem.WktVariant.WKT2_2019)


def same_crs(one: QgsCoordinateReferenceSystem, other: QgsCoordinateReferenceSystem) -> bool:
    """Whether two CRSs are the same, though one may have a code and the other not."""
    if one == other or not (one.isValid() and other.isValid()):
        return one == other
    # Two codes are two systems, even where their PROJ texts agree (these hide the datum).
    return not (one.authid() and other.authid()) and _proj(one) == _proj(other)


def on_image(
    rectangle: QgsRectangle, crs: QgsCoordinateReferenceSystem, image: QgsRasterLayer
) -> Extent:
    """The part of the image inside a rectangle (the canvas's extent, a drawn one), in its CRS.

    Raises TilthError where they do not touch.
    """
    box = to_crs(rectangle, crs, image.crs())
    whole = image.extent()
    if not whole.isEmpty():
        box = box.intersect(whole)
    if not _has_area(box):
        raise TilthError(
            f"extent: the rectangle lies outside the image {image.name()!r}; "
            "move the map to the image, or draw a rectangle on it"
        )
    return Extent(*_sides(box), crs=crs_text(image.crs()))


def of_layer(layer: QgsMapLayer, image: QgsRasterLayer) -> Extent:
    """The part of the image inside a layer's extent, in the image's CRS. Raises TilthError."""
    if not _has_area(layer.extent()):
        raise TilthError(f"extent: the layer {layer.name()!r} is empty; pick another one")
    try:
        return on_image(layer.extent(), layer.crs(), image)
    except TilthError as error:
        raise TilthError(
            f"extent: the layer {layer.name()!r} lies outside the image {image.name()!r}; "
            "pick another layer, or check both layers' coordinate systems"
        ) from error


def to_crs(
    rectangle: QgsRectangle,
    source: QgsCoordinateReferenceSystem,
    target: QgsCoordinateReferenceSystem,
) -> QgsRectangle:
    """The rectangle in another CRS; as it is where either is not known. Raises TilthError."""
    if not source.isValid() or not target.isValid() or same_crs(source, target):
        return QgsRectangle(rectangle)
    transform = QgsCoordinateTransform(source, target, _context())
    try:
        box = transform.transformBoundingBox(rectangle)
    except QgsCsException as error:
        raise _no_way(source, target) from error
    if not all(map(math.isfinite, _sides(box))):
        raise _no_way(source, target)
    return box


def rectangle_of(extent: Extent) -> QgsRectangle:
    """A job's extent as a rectangle of QGIS."""
    return QgsRectangle(extent.xmin, extent.ymin, extent.xmax, extent.ymax)


def _proj(crs: QgsCoordinateReferenceSystem) -> str:
    return crs.toProj().replace("+type=crs", "").strip()


def as_job(rectangle: QgsRectangle, crs: QgsCoordinateReferenceSystem) -> Optional[Extent]:
    """A rectangle as a job's extent in its own CRS; None where it is empty."""
    return Extent(*_sides(rectangle), crs=crs_text(crs)) if _has_area(rectangle) else None


def _sides(box: QgsRectangle) -> Tuple[float, float, float, float]:
    return box.xMinimum(), box.yMinimum(), box.xMaximum(), box.yMaximum()


def _has_area(box: QgsRectangle) -> bool:
    return box.isFinite() and box.width() > 0 and box.height() > 0


def _context() -> QgsCoordinateTransformContext:
    """The transformations that the user chose for this project."""
    return QgsProject.instance().transformContext()


def _no_way(
    source: QgsCoordinateReferenceSystem, target: QgsCoordinateReferenceSystem
) -> TilthError:
    return TilthError(
        f"extent: it could not be brought from {source.userFriendlyIdentifier()} "
        f"to {target.userFriendlyIdentifier()}; pick an extent on the image"
    )
