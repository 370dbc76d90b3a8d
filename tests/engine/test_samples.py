"""Chips for training and scoring: labels go where they may, once, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest
from tilth_engine.training import samples as module
from tilth_engine.training.aim import Aim, cover
from tilth_engine.training.samples import Samples, keys_of

HEIGHT, WIDTH, SIZE = 150, 131, 32


class World:
    """A random labelled image: 60 rectangles of three classes, each a unit; some pixels invalid."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        # The image's values tell where they come from: row + column / 1000, in two bands.
        rows, columns = np.mgrid[:HEIGHT, :WIDTH]
        self.values = np.stack([rows, columns]).astype(np.float32)
        self.valid = rng.random((HEIGHT, WIDTH)) > 0.1
        self.classes = np.zeros((HEIGHT, WIDTH), np.uint8)
        self.units = np.zeros((HEIGHT, WIDTH), np.int32)
        self.boxes = []
        corners = [(0, 0), (0, WIDTH - 3), (HEIGHT - 3, 0), (HEIGHT - 3, WIDTH - 3)]
        places = corners + [tuple(rng.integers(0, (HEIGHT, WIDTH))) for _ in range(56)]
        for unit, (row, column) in enumerate(places, 1):
            high, wide = rng.integers(3, 20, 2)
            here = np.s_[row : row + high, column : column + wide]
            self.classes[here], self.units[here] = rng.integers(1, 4), unit
            bottom, right = min(row + high, HEIGHT), min(column + wide, WIDTH)
            self.boxes.append((0, int(row), int(column), int(bottom), int(right)))

    def read_image(self, image, row, column, size):
        return self._cut(self.values, row, column, size), self._cut(self.valid, row, column, size)

    def read_labels(self, image, row, column, size):
        return self._cut(self.classes, row, column, size), self._cut(self.units, row, column, size)

    def _cut(self, array, row, column, size):
        out = np.zeros((*array.shape[:-2], size, size), array.dtype)
        top, left = max(row, 0), max(column, 0)
        bottom, right = min(row + size, HEIGHT), min(column + size, WIDTH)
        if bottom > top and right > left:
            out[..., top - row : bottom - row, left - column : right - column] = array[
                ..., top:bottom, left:right
            ]
        return out

    def samples(self, size=SIZE):
        found = Samples(size, 2)
        keys = keys_of(self.boxes, size)
        found.fill(keys, self.read_image, self.read_labels, lambda done, of: None)
        return found

    def labelled(self, units):
        return np.where(np.isin(self.units, units) & self.valid, self.classes, 0)


@pytest.fixture(params=range(3))
def world(request):
    return World(request.param)


def place_of(chip):
    """The row and column of a chip's labelled pixels, read from its values."""
    return (np.rint(chip.image[band][chip.classes > 0]).astype(int) for band in (0, 1))


def test_no_label_of_a_held_out_unit_reaches_a_training_chip(world):
    training = np.arange(1, 61, 2, dtype=np.int32)
    allowed = world.labelled(training)
    aim = Aim(world.samples(), training, SIZE)
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(300):
        chip = aim.draw(rng)
        rows, columns = place_of(chip)
        # The class at the place that the values tell: right through every turn and flip.
        assert np.array_equal(allowed[rows, columns], chip.classes[chip.classes > 0])
        assert chip.classes.any()
        seen.update(chip.classes[chip.classes > 0].tolist())
    assert seen == {1, 2, 3}


def test_every_class_gets_its_turn(world):
    aim = Aim(world.samples(), np.arange(1, 61, dtype=np.int32), SIZE)

    expected = np.bincount(world.labelled(np.arange(1, 61)).ravel(), minlength=4)[1:]
    assert aim.pixels() == {index: int(n) for index, n in enumerate(expected, 1) if n}


def test_the_sample_of_what_training_sees_misses_no_class():
    world = World(0)
    world.boxes = [(0, r, c, r + 2, c + 2) for r in range(0, 150, 10) for c in range(0, 130, 10)]
    world.classes[:], world.units[:], world.valid[:] = 0, 0, True
    for number, (_, top, left, bottom, right) in enumerate(world.boxes, 1):
        world.classes[top:bottom, left:right] = world.units[top:bottom, left:right] = number
    units = np.arange(1, len(world.boxes) + 1, dtype=np.int32)

    assert len(Aim(world.samples(), units, 8).sampled(0)) == len(units)


@pytest.mark.parametrize("limit", [10**6, 100])
def test_the_table_of_pixels_has_those_of_training_alone(world, limit):
    training = np.arange(1, 61, 2, dtype=np.int32)

    values, classes = Aim(world.samples(), training, SIZE).table(limit)

    allowed = world.labelled(training)
    rows, columns = np.rint(values.T).astype(int)
    assert np.array_equal(allowed[rows, columns], classes + 1)
    assert len(np.unique(values, axis=0)) == min(limit, np.count_nonzero(allowed))


@pytest.mark.parametrize(("size", "margin"), [(32, 8), (32, 0), (64, 8)])
def test_cover_holds_each_labelled_pixel_exactly_once(world, size, margin):
    held_out = np.arange(2, 61, 2, dtype=np.int32)
    times = np.zeros((HEIGHT, WIDTH), int)
    for chip in cover(world.samples(), held_out, size, margin):
        assert chip.classes.shape == (size, size)
        rows, columns = place_of(chip)
        assert np.array_equal(
            world.labelled(held_out)[rows, columns], chip.classes[chip.classes > 0]
        )
        np.add.at(times, (rows, columns), 1)
        if margin:
            assert not chip.classes[:margin].any()
            assert not chip.classes[:, -margin:].any()
    assert np.array_equal(times, (world.labelled(held_out) > 0).astype(int))


def test_cover_finds_the_last_pixel_of_a_large_unit(world, monkeypatch):
    """Though only some pixels of each are kept to aim at."""
    monkeypatch.setattr(module, "POINTS_PER_UNIT", 3)
    held_out = np.arange(2, 61, 2, dtype=np.int32)

    chips = cover(world.samples(), held_out, SIZE, 8)

    expected = np.count_nonzero(world.labelled(held_out))
    assert sum(np.count_nonzero(chip.classes) for chip in chips) == expected


def test_cover_of_nothing_is_nothing(world):
    assert cover(world.samples(), np.array([], np.int32), SIZE, 8) == []


@pytest.mark.parametrize("row", [-10, 0, HEIGHT - SIZE, HEIGHT - 5])
@pytest.mark.parametrize("column", [-31, 0, WIDTH - SIZE, WIDTH - 1])
def test_a_chip_is_the_image_there_and_zero_outside(world, row, column):
    every = np.arange(1, 61, dtype=np.int32)

    chip = world.samples().chip(0, row, column, SIZE, every)

    values, valid = world.read_image(0, row, column, SIZE)
    known = chip.image.any(0)  # cells without labels nearby are not read
    assert np.array_equal(chip.image[:, known], values[:, known])
    labels = np.where(valid, world.read_labels(0, row, column, SIZE)[0], 0)
    assert np.array_equal(chip.classes, labels)


def test_what_memory_cannot_hold_is_thinned_and_said(world, monkeypatch):
    monkeypatch.setattr(module, "MAX_BYTES", 12 * SIZE**2 * 9)
    found = Samples(SIZE, 2)
    keys = keys_of(world.boxes, SIZE)

    complete = found.fill(keys, world.read_image, world.read_labels, lambda done, of: None)

    assert not complete
    assert 0 < len(found.cells) <= 12


def test_keys_hold_every_pixel_of_the_boxes():
    assert keys_of([(0, 0, 0, 1, 1)], 32) == [(0, 0, 0)]
    assert keys_of([(1, 31, 31, 33, 33)], 32) == [(1, r, c) for r in (0, 1) for c in (0, 1)]
    assert keys_of([(0, 32, 0, 64, 1)], 32) == [(0, 1, 0)]
