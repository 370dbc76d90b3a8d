"""The committed splits of the learning curves are what benchmarks/README.md says of them."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import shapely

ROOT = Path(__file__).resolve().parent.parent
SCENES = sorted(path.stem for path in (ROOT / "benchmarks" / "splits").glob("*.json"))


@pytest.fixture(scope="module")
def splits():
    """benchmarks/splits.py; its neighbours have names that others have, too, and are forgotten."""
    before, path = set(sys.modules), list(sys.path)
    sys.path.insert(0, str(ROOT / "benchmarks"))
    yield importlib.import_module("splits")
    sys.path[:] = path
    folders = tuple(str(ROOT / name) for name in ("benchmarks", "pretraining"))
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(folders):
            del sys.modules[name]


@pytest.fixture(scope="module", params=SCENES)
def scene(request, splits: ModuleType, tmp_path_factory):
    """A scene with its committed splits, and the group of each of its polygons."""
    folder = tmp_path_factory.mktemp("scenes")
    found = list(splits.all_subjects(folder, request.param))
    if not found:
        pytest.skip(f"{request.param} lies in ../shared/data/scenes, which is not here")
    [subject] = found
    return SimpleNamespace(
        subject=subject,
        names=subject.polygons.names,
        splits=splits.read_splits(subject),
        groups=splits.groups_of(subject.polygons),
    )


def test_there_are_scenes_of_both_kinds():
    generated = [name for name in SCENES if name.startswith("generated")]
    assert len(SCENES) == 9 and len(generated) == 4


def test_every_polygon_is_on_one_side(scene):
    for kind, seeds in scene.splits.items():
        assert len(seeds) == 5
        for split in seeds:
            pool = [number for members in split.pool.values() for number in members]
            assert sorted([*split.test, *pool]) == list(range(len(scene.names))), kind


def test_pools_are_of_their_class(scene):
    for seeds in scene.splits.values():
        for split in seeds:
            for name, members in split.pool.items():
                assert set(scene.names[members]) == {name}


def test_polygons_that_share_ground_are_on_one_side(scene):
    for seeds in scene.splits.values():
        for split in seeds:
            pool = [number for members in split.pool.values() for number in members]
            assert not set(scene.groups[split.test]) & set(scene.groups[pool])


def test_larger_training_sets_hold_the_smaller(scene):
    for seeds in scene.splits.values():
        for split in seeds:
            sets = [set(split.take(size)) for size in (1, 3, 10, 30)]
            assert all(a <= b for a, b in zip(sets, sets[1:], strict=False))
            for size, taken in zip((1, 3, 10, 30), sets, strict=True):
                assert len(taken) == sum(min(size, len(p)) for p in split.pool.values())


def test_a_third_of_each_class_is_held_out_by_polygon(scene):
    for split in scene.splits["polygon"]:
        for name in np.unique(scene.names):
            count, held = (scene.names == name).sum(), (scene.names[split.test] == name).sum()
            if count < 2:
                assert held == 0, name
            else:
                assert 1 <= held < count, name
                assert abs(held - count / 3) <= max(1, 0.05 * count), name


def test_the_region_is_one_side_of_a_line(scene):
    if scene.subject.reference is not None:
        assert all(not split.test for split in scene.splits["region"])  # its test is elsewhere
        return
    points = shapely.get_coordinates(shapely.centroid(scene.subject.polygons.geometries))
    centres = np.array([points[scene.groups == group].mean(0) for group in scene.groups])
    for split in scene.splits["region"]:
        rest = np.setdiff1d(np.arange(len(centres)), split.test)
        assert 0.2 <= len(split.test) / len(centres) <= 0.45
        sides = [shapely.convex_hull(shapely.multipoints(centres[s])) for s in (split.test, rest)]
        assert not shapely.intersects(*sides)


def test_seeds_differ(scene):
    by_polygon = {tuple(split.test) for split in scene.splits["polygon"]}
    assert len(by_polygon) == 5
    for seeds in scene.splits.values():
        assert len({str(split.take(1)) for split in seeds}) > 1


def test_splits_of_other_polygons_are_refused(scene, splits):
    polygons = scene.subject.polygons.pick(np.arange(len(scene.names)) > 0)
    other = splits.Subject(scene.subject.name, scene.subject.image, polygons)
    with pytest.raises(ValueError, match=r"run benchmarks/splits\.py"):
        splits.read_splits(other)
