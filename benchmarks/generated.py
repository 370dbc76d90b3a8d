"""Generated scenes of several sensors, with polygons drawn inside their true regions.

The generator is the one that the embedded backbone was pre-trained with (pretraining/), from other
seeds: these scenes show how methods learn, and flatter that backbone. The same seed gives the same
pixels and polygons.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
import shapely
from rasterio.transform import Affine, from_origin
from scenes import ROOT, Polygons
from scipy.ndimage import distance_transform_edt

# At the end, since both folders have a module "scenes".
sys.path.append(str(ROOT / "pretraining"))

from covers import CLASSES, COUNTRIES
from landscape import make_landscape
from outline import outline
from sensors import SENSORS, observe, radar
from spectra import draw_library

SIZE = 384
CRS = "EPSG:32632"
MOST = 48  # polygons of a class
FEWEST = 24  # of a class that is told apart
REACH = (1.5, 6.0)  # pixels from a polygon's middle to a corner
APART = 13  # pixels between the middles of polygons of one class


@dataclass(frozen=True)
class Recipe:
    """What a generated scene is made of; ``sensor`` is "" for radar."""

    name: str
    seed: int
    country: int
    sensor: str
    resolution: float
    bands: tuple[str, ...]


RECIPES = (
    Recipe("generated_s2", 121, 0, "sentinel-2, 10 bands", 10.0,
           ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")),
    Recipe("generated_landsat", 102, 1, "landsat 8", 30.0,
           ("B1", "B2", "B3", "B4", "B5", "B6", "B7")),
    Recipe("generated_aerial", 133, 5, "aerial", 0.5, ("blue", "green", "red", "nir")),
    Recipe("generated_radar", 124, 0, "", 10.0, ("VV", "VH")),
)  # fmt: skip


def write_scene(recipe: Recipe, folder: Path) -> tuple[str, Polygons]:
    """Write the image of a recipe into a folder; returns its path and the polygons."""
    rng = np.random.default_rng(recipe.seed)
    landscape = make_landscape(rng, SIZE, recipe.resolution, COUNTRIES[recipe.country])
    if recipe.sensor:
        sensor = next(sensor for sensor in SENSORS if sensor.name == recipe.sensor)
        seen = observe(rng, landscape, draw_library(rng), sensor)
        image = np.clip(np.round(seen * 10000), 1, 65535).astype(np.uint16)
        wavelengths = [centre for centre, _ in sensor.bands]
        if sensor.bytes:
            image = np.clip(np.round(seen * 255), 1, 255).astype(np.uint8)
    else:
        image, wavelengths = radar(rng, landscape), []
    transform = from_origin(498_000, 5_352_000, recipe.resolution, recipe.resolution)
    path = folder / f"{recipe.name}.tif"
    _write(path, image, recipe.bands, wavelengths, transform)
    drawn = np.random.default_rng([recipe.seed, 1])
    return str(path), draw(drawn, landscape.classes, transform)


def draw(rng: np.random.Generator, classes: np.ndarray, transform: Affine) -> Polygons:
    """Small polygons inside the regions [H, W] of each class; none of a class with too few."""
    geometries: list[shapely.Polygon] = []
    names: list[str] = []
    for code, name in enumerate(CLASSES):
        inside = classes == code
        room = distance_transform_edt(np.pad(inside, 1))[1:-1, 1:-1] >= 2
        drawn: list[shapely.Polygon] = []
        while len(drawn) < MOST and room.any():
            places = np.argwhere(room)
            row, column = (int(value) for value in places[rng.integers(len(places))])
            drawn.append(outline(rng, inside, row, column, REACH, transform, 2))
            room[max(row - APART, 0) : row + APART, max(column - APART, 0) : column + APART] = False
        if len(drawn) >= FEWEST:
            geometries += drawn
            names += [name] * len(drawn)
    return Polygons(np.array(geometries, object), np.array(names, object), CRS)


def _write(
    path: Path,
    image: np.ndarray,
    bands: tuple[str, ...],
    wavelengths: list[float],
    transform: Affine,
) -> None:
    with rasterio.open(
        path, "w", driver="GTiff", width=image.shape[2], height=image.shape[1],
        count=len(image), dtype=image.dtype, crs=CRS, transform=transform,
    ) as target:  # fmt: skip
        target.write(image)
        for number, name in enumerate(bands, start=1):
            target.set_band_description(number, name)
            if wavelengths:
                target.update_tags(number, wavelength_nm=str(wavelengths[number - 1]))
