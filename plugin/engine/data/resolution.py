"""The size of a grid's pixels on the ground."""

from __future__ import annotations

import math

import rasterio.warp
from rasterio.crs import CRS

from .grid import Grid, apply
from .source import RASTER_FAULTS

# Images whose pixels' sizes differ by more than this factor are other pictures of the land.
OTHER = 1.6


def sizes_differ(first: float, second: float) -> bool:
    """Whether the pixels' sizes of two images are far apart; 0 is an unknown one."""
    return min(first, second) > 0 and max(first, second) / min(first, second) > OTHER


def resolution(grid: Grid) -> float:
    """Ground metres a pixel at the grid's centre."""
    transform = grid.transform
    nominal = math.sqrt(abs(transform.a * transform.e - transform.b * transform.d))
    if grid.crs is None:
        return nominal
    if not grid.crs.is_geographic:
        nominal *= _metres_a_unit(grid.crs)
    ground = _ground_resolution(grid)
    if ground is None or (not grid.crs.is_geographic and abs(ground / nominal - 1) < 0.02):
        return nominal
    return ground


def _metres_a_unit(crs: CRS) -> float:
    try:
        return float(crs.linear_units_factor[1])
    except (*RASTER_FAULTS, ValueError):
        return 1.0


def _ground_resolution(grid: Grid) -> float | None:
    """From the geographic coordinates of three neighbouring pixels on the ellipsoid."""
    col, row = grid.width / 2, grid.height / 2
    points = [apply(grid.transform, col + x, row + y) for x, y in ((0, 0), (1, 0), (0, 1))]
    xs, ys = zip(*points, strict=True)
    try:
        lon, lat = rasterio.warp.transform(grid.crs, CRS.from_epsg(4326), list(xs), list(ys))
    except RASTER_FAULTS:
        return None
    if not all(map(math.isfinite, (*lon, *lat))):
        return None
    phi = math.radians(lat[0])
    # Radii of curvature of the WGS 84 ellipsoid, along the meridian and across it.
    squash = 1 - 0.00669437999014 * math.sin(phi) ** 2
    north = math.radians(1) * 6378137.0 * (1 - 0.00669437999014) / squash**1.5
    east = math.radians(1) * 6378137.0 / math.sqrt(squash) * math.cos(phi)
    (ax, ay), (bx, by) = (((lon[k] - lon[0]) * east, (lat[k] - lat[0]) * north) for k in (1, 2))
    area = abs(ax * by - ay * bx)
    return math.sqrt(area) if area > 0 else None
