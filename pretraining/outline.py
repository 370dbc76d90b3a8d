"""A polygon as an analyst draws it: a small ring inside a region."""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.transform import Affine

CORNERS = 7


def outline(
    rng: np.random.Generator,
    inside: NDArray[np.bool_],
    row: int,
    column: int,
    reaches: tuple[float, float],
    transform: Affine,
    digits: int,
) -> shapely.Polygon:
    """A ring round a pixel whose corners lie where the class still is.

    ``reaches`` are the least and the most pixels from the middle to a corner, where there is room;
    ``transform`` is that of a north-up image, ``digits`` the decimals of the coordinates.
    """
    height, width = inside.shape
    corners = []
    for angle in (np.arange(CORNERS) + rng.uniform(0.1, 0.9, CORNERS)) * 2 * np.pi / CORNERS:
        reach, limit = 0.6, rng.uniform(*reaches)
        while reach < limit:
            y = round(row + np.sin(angle) * (reach + 1))
            x = round(column + np.cos(angle) * (reach + 1))
            if not (0 <= y < height and 0 <= x < width and inside[y, x]):
                break
            reach += 0.5
        # Pixel centres lie half a pixel from their corner.
        x, y = column + 0.5 + np.cos(angle) * reach, row + 0.5 + np.sin(angle) * reach
        corners.append((transform.c + transform.a * x, transform.f + transform.e * y))
    return shapely.Polygon(np.round(corners, digits))
