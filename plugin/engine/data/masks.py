"""Polygons that say where to map."""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.features import rasterize
from rasterio.windows import Window

from ..errors import TilthError
from .grid import apply
from .imagery import Image
from .vectors import read_polygons, transform_geometries


class Mask:
    """The inside of a vector file's polygons, on an image's pixels."""

    def __init__(self, shapes: NDArray[np.object_]) -> None:
        """``shapes`` are polygons in (column, row) of the image."""
        self._shapes = shapes
        self._tree = shapely.STRtree(shapes)

    @staticmethod
    def open(source: str, image: Image) -> Mask:
        """Read ``file|layername=L``. Raises TilthError where no polygon lies on the image."""
        layer = read_polygons(source)
        shapes = layer.geometries
        if layer.crs is not None and image.crs is not None and layer.crs != image.crs:
            shapes = transform_geometries(shapes, layer.crs, image.crs, image.grid.middle)
            shapes = np.array([shape for shape in shapes if shape is not None], dtype=object)
        inverse = ~image.transform
        pixels = shapely.transform(
            shapes, lambda points: np.column_stack(apply(inverse, points[:, 0], points[:, 1]))
        )
        frame = shapely.box(0, 0, image.width, image.height)
        kept = pixels[shapely.intersects(pixels, frame)]
        if not len(kept):
            raise TilthError(
                f"mask: no polygon of {source} lies on {image.name}; "
                "check its coordinate system, or map without a mask"
            )
        return Mask(kept)

    def inside(self, window: Window) -> NDArray[np.bool_]:
        """Which pixels of the window have their centre inside: bool [H, W]."""
        left, top = int(window.col_off), int(window.row_off)
        shape = (int(window.height), int(window.width))
        box = shapely.box(left, top, left + shape[1], top + shape[0])
        found = self._shapes[self._tree.query(box)]
        if not len(found):
            return np.zeros(shape, bool)
        moved = shapely.transform(found, lambda points: points - (left, top))
        return rasterize(list(moved), out_shape=shape, dtype="uint8").astype(bool)
