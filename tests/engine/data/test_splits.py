"""Splits and folds: nothing on both sides, every class on each."""

from __future__ import annotations

import numpy as np
import pytest
from tilth_engine.data.imagery import Image
from tilth_engine.data.labels import read_labels
from tilth_engine.data.splits import folds, split
from tilth_engine.errors import TilthError


@pytest.fixture
def image(make_raster):
    with Image.open([make_raster("image.tif", np.ones((1, 100, 100), np.uint16))]) as image:
        yield image


def grid_of(box, side, step=10):
    """Boxes on a grid, ``side`` wide."""
    return [box(x, y, x + side, y + side) for y in range(0, 100, step) for x in range(0, 100, step)]


@pytest.fixture
def many(image, make_vector, box):
    """100 polygons of three classes: half, three tenths, a fifth."""
    values = (["a"] * 5 + ["b"] * 3 + ["c"] * 2) * 10
    return read_labels(make_vector("l.gpkg", grid_of(box, 6), values), "class", [image])


def shares(labels, ids):
    held = {entry.name: 0 for entry in labels.classes}
    for polygon in labels.polygons:
        if polygon.id in ids:
            held[labels.class_of(polygon.code).name] += polygon.pixels
    return {entry.name: held[entry.name] / entry.pixels for entry in labels.classes}


@pytest.mark.parametrize("how", ["polygons", "blocks"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_nothing_on_both_sides_and_a_quarter_of_each_class(many, how, seed):
    parts = split(many, how, seed)
    assert not parts.train_ids & parts.validation_ids
    assert parts.train_ids | parts.validation_ids == set(many.ids)
    assert not parts.unvalidated
    for share in shares(many, parts.validation_ids).values():
        assert share == pytest.approx(0.25, abs=0.06 if how == "polygons" else 0.15)


def test_the_seed_decides(many):
    assert split(many, "polygons", 1) == split(many, "polygons", 1)
    assert split(many, "polygons", 1) != split(many, "polygons", 2)
    assert folds(many, 5, 1) == folds(many, 5, 1)
    assert folds(many, 5, 1) != folds(many, 5, 2)


def test_pixels_count_not_polygons(image, make_vector, box):
    # One huge polygon among small ones: holding it out would leave nothing to learn from.
    shapes = [box(0, 0, 50, 50), *(box(60, y, 64, y + 4) for y in range(0, 80, 10))]
    shapes += [box(80, y, 84, y + 4) for y in range(0, 80, 10)]
    values = ["a"] * 9 + ["b"] * 8
    labels = read_labels(make_vector("l.gpkg", shapes, values), "class", [image])
    for seed in range(5):
        assert 1 in split(labels, "polygons", seed).train_ids


def test_two_polygons_and_one(image, make_vector, box):
    shapes = [box(0, 0, 4, 4), box(20, 20, 24, 24), box(40, 40, 60, 60)]
    labels = read_labels(make_vector("l.gpkg", shapes, ["two", "two", "one"]), "class", [image])
    for how in ("polygons", "blocks"):
        parts = split(labels, how, 0)
        assert 3 in parts.train_ids and len(parts.validation_ids) == 1
        assert parts.unvalidated == {labels.classes[0].code}


def test_none_holds_nothing_out(many):
    parts = split(many, "none")
    assert not parts.validation_ids and parts.train_ids == set(many.ids)
    assert parts.unvalidated == {1, 2, 3}
    with pytest.raises(TilthError, match="choose polygons, blocks, regions or none"):
        split(many, "halves")


def test_overlapping_objects_of_a_class_stay_together(image, make_vector, box):
    shapes, values = [], []
    for y in range(0, 80, 10):
        shapes += [box(0, y, 5, y + 5), box(3, y + 3, 8, y + 8), box(30, y, 35, y + 5)]
        values += ["a", "a", "b"]
    labels = read_labels(make_vector("l.gpkg", shapes, values), "class", [image])
    for seed in range(5):
        held = split(labels, "polygons", seed).validation_ids
        for first in range(1, 24, 3):
            assert (first in held) == (first + 1 in held)


def test_blocks_keep_neighbours_together(many):
    parts = split(many, "blocks", 0)
    sides = np.array([id_ in parts.validation_ids for id_ in sorted(many.ids)]).reshape(10, 10)
    # Ten polygons a row over four squares: neighbours mostly agree, unlike with "polygons".
    agree = np.mean(sides[:, 1:] == sides[:, :-1])
    plain = split(many, "polygons", 0).validation_ids
    other = np.array([id_ in plain for id_ in sorted(many.ids)]).reshape(10, 10)
    assert agree > np.mean(other[:, 1:] == other[:, :-1])


def test_a_labelled_area_moves_as_one(image, make_vector, box):
    corners = [(x, y) for y in range(0, 90, 30) for x in range(0, 90, 30)]
    trees = [box(x + 5 * n, y + 5, x + 5 * n + 3, y + 9) for x, y in corners for n in range(4)]
    area = make_vector("a.gpkg", [box(x, y, x + 22, y + 22) for x, y in corners],
                       list(range(9)), field="n")  # fmt: skip
    path = make_vector("l.gpkg", trees, ["tree"] * 36)
    labels = read_labels(path, "class", [image], labelled_area=area)
    for seed in range(4):
        held = split(labels, "polygons", seed).validation_ids
        for number in range(9):
            together = {36 + 1 + number, *range(4 * number + 1, 4 * number + 5)}
            assert together <= held or not together & held
        assert not split(labels, "polygons", seed).unvalidated


def test_folds_share_every_class_out_evenly(many):
    parts = folds(many, 5, 0)
    assert sum(len(part) for part in parts) == 100 and set.union(*map(set, parts)) == set(many.ids)
    for part in parts:
        counts = np.bincount([p.code for p in many.polygons if p.id in part], minlength=4)
        assert counts[1:].tolist() == [10, 6, 4]
    with pytest.raises(TilthError, match="too few"):
        folds(many, 1)


def test_more_folds_than_polygons_of_a_class(image, make_vector, box):
    shapes = grid_of(box, 5)[:12]
    values = ["a"] * 9 + ["b"] * 2 + ["c"]
    labels = read_labels(make_vector("l.gpkg", shapes, values), "class", [image])
    parts = folds(labels, 5, 0)
    assert sorted(id_ for part in parts for id_ in part) == labels.ids
    assert sum(bool({10, 11} & part) for part in parts) == 2


def test_units_of_several_classes_leave_each_class_on_both_sides(image, make_vector, box):
    # Two areas with background each, one with a's second polygon, one with b's: holding out both
    # areas would leave no background to learn from.
    shapes = [box(2, 2, 6, 6), box(52, 52, 56, 56), box(30, 2, 34, 6), box(80, 52, 84, 56)]
    path = make_vector("l.gpkg", shapes, ["a", "b", "a", "b"])
    area = make_vector("a.gpkg", [box(0, 0, 10, 10), box(50, 50, 60, 60)], [1, 2], field="n")
    labels = read_labels(path, "class", [image], labelled_area=area)
    for seed in range(20):
        held = shares(labels, split(labels, "polygons", seed).validation_ids)
        assert all(0 < share < 1 for share in held.values()), (seed, held)
