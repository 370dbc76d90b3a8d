"""Chips hold every labelled pixel."""

from __future__ import annotations

import numpy as np
import pytest
from rasterio.windows import Window
from tilth_engine.data.chips import chip_windows, cover
from tilth_engine.data.imagery import Image
from tilth_engine.data.labels import rasterise, read_labels


def uncovered(labels, ids, windows, width, height):
    _, found = rasterise(labels, 0, Window(0, 0, width, height))
    left = np.isin(found, list(ids))
    for w in windows:
        top, start = max(w.row_off, 0), max(w.col_off, 0)
        left[top : w.row_off + w.height, start : w.col_off + w.width] = False
    return int(left.sum())


@pytest.mark.parametrize("size", [8, 30, 64])
def test_all_labelled_pixels_are_covered_by_few_windows(make_raster, make_vector, box, size):
    path = make_raster("i.tif", np.ones((1, 700, 600), np.uint8))
    shapes = [
        box(10, 10, 90, 40),
        box(300, 505, 304, 530),
        box(590, 690, 600, 700),
        box(200, 200, 203, 203),
    ]
    with Image.open([path]) as image:
        labels = read_labels(make_vector("l.gpkg", shapes, ["a", "b", "a", "b"]), "class", [image])
    windows = cover(labels, 0, labels.ids, size)
    assert uncovered(labels, labels.ids, windows, 600, 700) == 0
    for w in windows:
        assert w.width == w.height == size
        assert 0 <= w.col_off <= 600 - size and 0 <= w.row_off <= 700 - size
    # The large polygon, and a few for each small one.
    assert len(windows) <= 2 * (80 // size + 2) * (30 // size + 2) + 4 * (25 // size + 2)
    only = cover(labels, 0, [4], size)
    assert len(only) <= 2 and uncovered(labels, [4], only, 600, 700) == 0


def test_an_image_smaller_than_the_chip(make_raster, make_vector, box):
    path = make_raster("i.tif", np.ones((1, 20, 20), np.uint8))
    with Image.open([path]) as image:
        labels = read_labels(
            make_vector("l.gpkg", [box(0, 0, 5, 5), box(10, 10, 20, 20)], ["a", "b"]),
            "class", [image],
        )  # fmt: skip
        (window,) = cover(labels, 0, labels.ids, 64)
        assert (window.col_off, window.row_off, window.width) == (0, 0, 64)
        (chip,) = chip_windows(labels, 0, labels.ids, 64)
        assert chip.pixels == {1: 25, 2: 100}
        assert chip_windows(labels, 0, [2], 64)[0].pixels == {2: 100}
