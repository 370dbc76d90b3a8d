"""The scenes of ../shared as benchmark rounds: labels to train on, pixels to score on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyogrio
import shapely

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data" / "scenes"
FOLDS = Path(__file__).parent / "folds"


@dataclass
class Polygons:
    """Polygons (shapely) with their class names, in the coordinates of ``crs``."""

    geometries: np.ndarray
    names: np.ndarray
    crs: str

    def pick(self, keep: np.ndarray) -> Polygons:
        """Those for which ``keep`` is true."""
        return Polygons(self.geometries[keep], self.names[keep], self.crs)

    def write(self, path: Path) -> str:
        """Write them as a GeoPackage with the field ``class``; returns its path."""
        pyogrio.raw.write(
            path,
            geometry=shapely.to_wkb(
                [shapely.MultiPolygon(parts) for parts in _as_multi(self.geometries)]
            ),
            field_data=[self.names.astype(object)],
            fields=["class"],
            geometry_type="MultiPolygon",
            crs=self.crs,
            driver="GPKG",
            layer="polygons",
        )
        return str(path)


@dataclass
class Round:
    """One training and its test. Areas say where everything not drawn is background.

    ``reference`` is a raster of names by code, for a test that has one.
    """

    train: Polygons
    test: Polygons
    train_area: Polygons | None = None
    test_area: Polygons | None = None
    reference: str = ""
    reference_names: dict[int, str] = field(default_factory=dict)


@dataclass
class Scene:
    """A scene and its rounds; scores are pooled over them, over ``classes`` alone."""

    name: str
    image: str
    rounds: list[Round]
    classes: list[str]


def all_scenes() -> Iterator[Scene]:
    """The scenes that are here."""
    for make in (aberystwyth, zion, concise, flanders, yellowstone):
        yield make()


def aberystwyth() -> Scene:
    """Five committed folds by polygon."""
    folder = DATA / "aberystwyth_s2"
    polygons = read_polygons(folder / "labels.gpkg", "training_polygons", "class_name")
    folds = np.array(json.loads((FOLDS / "aberystwyth_s2.json").read_text())["folds"])
    return Scene(
        "aberystwyth_s2",
        str(folder / "image_s2.tif"),
        [Round(polygons.pick(folds != k), polygons.pick(folds == k)) for k in range(5)],
        sorted(set(polygons.names)),
    )


def zion() -> Scene:
    """Trained in the west, scored against NLCD in the east, over the three common classes."""
    folder = DATA / "zion_landsat8_nlcd"
    source = folder / "labels.gpkg"
    split = read_polygons(source, "split", "split")
    names = {3: "Barren", 4: "Forest", 5: "Shrubland"}
    return Scene(
        "zion_landsat8_nlcd",
        str(folder / "image_l8_dn.tif"),
        [
            Round(
                read_polygons(source, "simulated_training_polygons_west", "class_name"),
                split.pick(split.names == "test"),
                reference=str(folder / "labels_nlcd2011_8cls.tif"),
                reference_names=names,
            )
        ],
        list(names.values()),
    )


def concise() -> Scene:
    """Three folds by polygon; classes with three polygons or more are scored."""
    folder = DATA / "concise_s2"
    polygons = read_polygons(folder / "labels.gpkg", "training_polygons", "class_name")
    folds = _deal(polygons.names, 3)
    names, counts = np.unique(polygons.names, return_counts=True)
    scored = sorted(str(name) for name in names[counts >= 3])
    test = np.isin(polygons.names, scored)
    rounds = [
        Round(polygons.pick((folds != k) | ~test), polygons.pick((folds == k) & test))
        for k in range(3)
    ]
    return Scene("concise_s2", str(folder / "image_s2.tif"), rounds, scored)


def flanders() -> Scene:
    """Fields against the background of the labelled areas: boxes to train on, boxes to test."""
    folder = DATA / "flanders_fields_s2"
    image = next(folder.glob("*.tif"))
    polygons = read_polygons(next(folder.glob("*_polygons.gpkg")), "polygons", "label_name")
    areas = read_polygons(next(folder.glob("*_locations.gpkg")), "locations", "traindata_type")
    train, test = (areas.pick(areas.names == kind) for kind in ("train", "validation"))
    learnt, asked = (polygons.pick(_touching(polygons, area)) for area in (train, test))
    # Only the boxes are mapped: what reaches out of them is not asked for.
    asked.geometries = shapely.intersection(asked.geometries, shapely.union_all(test.geometries))
    return Scene(
        "flanders_fields_s2",
        str(image),
        [Round(learnt, asked, train, test)],
        ["field", "background"],
    )


def yellowstone() -> Scene:
    """Trees against everything else, split by the scene's own column."""
    folder = DATA / "yell_trees_rgb_10cm"
    source = folder / "labels.gpkg"
    trees = read_polygons(source, "tree_boxes", "class_name")
    parts = read_polygons(source, "tree_boxes", "split").names
    sides = [trees.pick(parts == part) for part in ("train", "test")]
    areas = [
        Polygons(np.array([shapely.box(*shapely.total_bounds(side.geometries))]),
                 np.array(["area"]), trees.crs)
        for side in sides
    ]  # fmt: skip
    return Scene(
        "yell_trees_rgb_10cm",
        str(folder / "image_rgb.tif"),
        [Round(sides[0], sides[1], areas[0], areas[1])],
        ["tree", "background"],
    )


def read_polygons(path: Path, layer: str, field_name: str) -> Polygons:
    """All polygons of a layer, made valid, with a field's values as class names."""
    meta, _, wkb, columns = pyogrio.raw.read(path, layer=layer, columns=[field_name],
                                             force_2d=True)  # fmt: skip
    geometries = shapely.from_wkb(np.asarray(wkb, dtype=object))
    keep = np.array([geometry is not None and not geometry.is_empty for geometry in geometries])
    names = np.array([str(value) for value in columns[0]], dtype=object)
    return Polygons(shapely.make_valid(geometries[keep]), names[keep], meta["crs"])


def _deal(names: np.ndarray, folds: int, seed: int = 0) -> np.ndarray:
    """Fold numbers, each class's polygons dealt out evenly."""
    rng = np.random.default_rng(seed)
    result = np.zeros(len(names), int)
    for name in np.unique(names):
        where = rng.permutation(np.flatnonzero(names == name))
        result[where] = (np.arange(len(where)) + rng.integers(folds)) % folds
    return result


def _touching(polygons: Polygons, areas: Polygons) -> np.ndarray:
    tree = shapely.STRtree(areas.geometries)
    hit = np.zeros(len(polygons.geometries), bool)
    hit[tree.query(polygons.geometries, predicate="intersects")[0]] = True
    return hit


def _as_multi(geometries: np.ndarray) -> list[list[shapely.Polygon]]:
    return [
        [part for part in shapely.get_parts(geometry) if part.geom_type == "Polygon"]
        for geometry in geometries
    ]
