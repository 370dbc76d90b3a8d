"""The scenes of the learning curves: each an image and a list of labelled polygons.

The list's order is always the same, since the committed splits count on it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
import shapely
from generated import RECIPES, write_scene
from scenes import DATA, Polygons, Round, read_polygons, zion
from shapely.geometry.base import BaseGeometry

ZION_SQUARE, ZION_STEP = 128, 384  # pixels: which part of zion's test polygon is scored


@dataclass
class Subject:
    """An image and its labelled polygons; ``reference`` is a test of its own, by region."""

    name: str
    image: str
    polygons: Polygons
    reference: Round | None = None

    def digest(self) -> str:
        """Names the list of polygons, to tell whether a committed split belongs to it."""
        rounded = shapely.set_precision(self.polygons.geometries, 0.01, mode="pointwise")
        parts = zip(self.polygons.names, shapely.bounds(rounded).round(2).tolist(), strict=True)
        return hashlib.sha256(repr([(str(n), b) for n, b in parts]).encode()).hexdigest()[:16]


def all_subjects(folder: Path, wanted: str = "") -> Iterator[Subject]:
    """The scenes whose names have one of the ``wanted`` parts (by commas; "": all).

    Generated images are written into ``folder``; those of ../shared are left out where absent.
    """
    parts = wanted.split(",")
    for name, make in REAL.items():
        if any(part in name for part in parts) and (DATA / name).is_dir():
            yield make(name)
    for recipe in RECIPES:
        if any(part in recipe.name for part in parts):
            yield Subject(recipe.name, *write_scene(recipe, folder))


def _drawn(name: str) -> Subject:
    """A scene whose polygons were drawn by hand, one class field for all."""
    polygons = read_polygons(DATA / name / "labels.gpkg", "training_polygons", "class_name")
    return Subject(name, str(DATA / name / "image_s2.tif"), polygons)


def _zion(name: str) -> Subject:
    """Simulated polygons in the west; NLCD in the east is the test by region.

    Of its 1.2 million pixels, squares that hold about a sixth are scored.
    """
    scene = zion()
    part = scene.rounds[0]
    with rasterio.open(scene.image) as image:
        side, step = ZION_SQUARE * image.res[0], ZION_STEP * image.res[0]
    left, bottom, right, top = shapely.total_bounds(part.test.geometries)
    squares = _squares((left, bottom, right, top), side, step)
    kept = shapely.intersection(squares, shapely.union_all(part.test.geometries))
    kept = kept[shapely.area(kept) > 0]
    part.test = Polygons(kept, np.full(len(kept), "test", object), part.test.crs)
    return Subject(name, scene.image, part.train, part)


def _flanders(name: str) -> Subject:
    """Fields, and squares of background inside the labelled areas."""
    folder = DATA / name
    image = next(folder.glob("*.tif"))
    fields = read_polygons(next(folder.glob("*_polygons.gpkg")), "polygons", "label_name")
    areas = read_polygons(next(folder.glob("*_locations.gpkg")), "locations", "traindata_type")
    with rasterio.open(image) as dataset:
        frame = shapely.box(*dataset.bounds)
    inside = shapely.area(shapely.intersection(fields.geometries, frame)) > 0
    areas = areas.pick(shapely.covered_by(areas.geometries, frame))
    return Subject(name, str(image), _with_background(fields.pick(inside), areas, gap=5.0))


def _yellowstone(name: str) -> Subject:
    """Trees, and squares of background between them."""
    trees = read_polygons(DATA / name / "labels.gpkg", "tree_boxes", "class_name")
    area = np.array([shapely.box(*shapely.total_bounds(trees.geometries))])
    areas = Polygons(area, np.array(["area"]), trees.crs)
    image = str(DATA / name / "image_rgb.tif")
    return Subject(name, image, _with_background(trees, areas, gap=0.1))


REAL = {
    "aberystwyth_s2": _drawn,
    "zion_landsat8_nlcd": _zion,
    "concise_s2": _drawn,
    "flanders_fields_s2": _flanders,
    "yell_trees_rgb_10cm": _yellowstone,
}


def _with_background(objects: Polygons, areas: Polygons, gap: float) -> Polygons:
    """The objects, and squares of their usual size that keep ``gap`` (map units) from them all.

    At most as many squares as there are objects, spread evenly over the areas.
    """
    side = round(float(np.median(np.sqrt(shapely.area(objects.geometries)))), 1)
    tree = shapely.STRtree(objects.geometries)
    found = []
    for area in areas.geometries:
        squares = _squares(shapely.bounds(area), side, side + gap)
        squares = squares[shapely.covered_by(squares, area)]
        near = tree.query(squares, predicate="dwithin", distance=gap)[0]
        found += np.delete(squares, np.unique(near)).tolist()
    every = max(len(found) / len(objects.names), 1.0)
    picked = np.unique(np.arange(0, len(found), every).astype(int))
    squares = np.array(found, object)[picked]
    return Polygons(
        np.concatenate([objects.geometries, squares]),
        np.concatenate([objects.names, np.full(len(squares), "background", object)]),
        objects.crs,
    )


def _squares(bounds: tuple[float, ...], side: float, step: float) -> np.ndarray:
    """Squares on a grid, row by row from the lower left, that begin inside the bounds."""
    left, bottom, right, top = bounds
    squares: list[BaseGeometry] = [
        shapely.box(x, y, x + side, y + side)
        for y in np.arange(bottom, top, step)
        for x in np.arange(left, right, step)
    ]
    return np.array(squares, object)
