"""Rectangles of QGIS as the extents that a job carries."""

from __future__ import annotations

from qgis.core import QgsCoordinateReferenceSystem, QgsMapLayer, QgsRasterLayer, QgsRectangle

from ..engine.jobs import Extent


def crs_text(crs: QgsCoordinateReferenceSystem) -> str:
    """A CRS as text that PROJ reads: its code, or WKT where it is a custom one."""
    raise NotImplementedError


def on_image(
    rectangle: QgsRectangle, crs: QgsCoordinateReferenceSystem, image: QgsRasterLayer
) -> Extent:
    """The part of the image inside a rectangle (the canvas's extent, a drawn one), in its CRS.

    Raises TilthError where they do not touch.
    """
    raise NotImplementedError


def of_layer(layer: QgsMapLayer, image: QgsRasterLayer) -> Extent:
    """The part of the image inside a layer's extent, in the image's CRS. Raises TilthError."""
    raise NotImplementedError
