"""Where a raster's pixels lie."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from rasterio.crs import CRS
from rasterio.transform import Affine


def apply(transform: Affine, x: float, y: float) -> tuple[float, float]:
    """The point moved by an affine (whose operators differ between versions of its library)."""
    a, b, c, d, e, f = transform[:6]
    return a * x + b * y + c, d * x + e * y + f


def compose(outer: Affine, inner: Affine) -> Affine:
    """The affine that does ``inner`` first, then ``outer``."""
    return Affine(
        outer.a * inner.a + outer.b * inner.d,
        outer.a * inner.b + outer.b * inner.e,
        outer.a * inner.c + outer.b * inner.f + outer.c,
        outer.d * inner.a + outer.e * inner.d,
        outer.d * inner.b + outer.e * inner.e,
        outer.d * inner.c + outer.e * inner.f + outer.f,
    )


@dataclass(frozen=True)
class Grid:
    """The pixels' place: coordinate system (None where unknown), pixel to map affine, size."""

    crs: CRS | None
    transform: Affine
    width: int
    height: int

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """xmin, ymin, xmax, ymax in map coordinates (of a rotated grid, around it)."""
        corners = [(0, 0), (self.width, 0), (0, self.height), (self.width, self.height)]
        xs, ys = zip(*(apply(self.transform, *corner) for corner in corners), strict=True)
        return min(xs), min(ys), max(xs), max(ys)

    @property
    def middle(self) -> float:
        """The map's x at the grid's centre."""
        return apply(self.transform, self.width / 2, self.height / 2)[0]

    def same_pixels(self, other: Grid) -> bool:
        """Whether both grids have the same pixels, to a hundredth of a pixel."""
        if (self.width, self.height) != (other.width, other.height):
            return False
        if self.crs is not None and other.crs is not None and self.crs != other.crs:
            return False
        across = compose(~self.transform, other.transform)
        corners = [(0, 0), (self.width, 0), (0, self.height), (self.width, self.height)]
        moved = [(corner, apply(across, *corner)) for corner in corners]
        return all(abs(x - c) < 0.01 and abs(y - r) < 0.01 for (c, r), (x, y) in moved)


def turns(longitude: float | np.ndarray, middle: float) -> float | np.ndarray:
    """The whole turns, in degrees, to take from longitudes so that they lie around ``middle``."""
    return 360 * np.round((longitude - middle) / 360)
