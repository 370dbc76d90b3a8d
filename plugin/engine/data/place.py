"""Where on Earth an image lies."""

from __future__ import annotations

import math

import rasterio.warp
from rasterio.crs import CRS

from .grid import apply
from .imagery import Image
from .source import RASTER_FAULTS


def location_of(image: Image) -> tuple[float, float] | None:
    """Longitude and latitude of the image's centre in degrees (WGS 84); None where unknown."""
    if image.crs is None or not image.georeferenced:
        return None
    x, y = apply(image.transform, image.width / 2, image.height / 2)
    try:
        longitudes, latitudes = rasterio.warp.transform(image.crs, CRS.from_epsg(4326), [x], [y])
    except RASTER_FAULTS:
        return None
    longitude, latitude = longitudes[0], latitudes[0]
    if not (math.isfinite(longitude) and abs(longitude) <= 360 and abs(latitude) <= 90):
        return None
    return longitude, latitude
