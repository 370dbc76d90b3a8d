"""Windows, blending and blocks: the map of a part is that part of the map."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import torch
from rasterio.windows import Window
from tilth_engine.mapping import Grid, Mapper, blocks
from torch import nn

CPU = torch.device("cpu")


class Identity(nn.Module):
    """Logits are the image's bands."""

    def forward(self, image):
        return image


class Smooth(nn.Module):
    """Logits that depend on the surroundings and on the place in the chip, as with attention."""

    def __init__(self, classes):
        super().__init__()
        self.mix = nn.Conv2d(classes, classes, 5, padding=2)

    def forward(self, image):
        ramp = torch.linspace(0, 1, image.shape[-1])
        return self.mix(image) + image.mean((2, 3), keepdim=True) + ramp


class Small(Smooth):
    """The same on a device whose memory holds two windows."""

    def forward(self, image):
        if len(image) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return super().forward(image)


class Picture:
    """An image in memory that is read as the engine reads: 0 where invalid or outside."""

    def __init__(self, height, width, classes=3, seed=0, gaps=0.0):
        rng = np.random.default_rng(seed)
        self.values = rng.normal(0, 2, (classes, height, width)).astype(np.float32)
        self.valid = rng.random((height, width)) >= gaps
        self.values *= self.valid

    def read(self, window):
        top, left = int(window.row_off), int(window.col_off)
        shape = (int(window.height), int(window.width))
        values = np.zeros((len(self.values), *shape), np.float32)
        valid = np.zeros(shape, bool)
        rows = slice(max(top, 0), min(top + shape[0], self.valid.shape[0]))
        columns = slice(max(left, 0), min(left + shape[1], self.valid.shape[1]))
        here = np.s_[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
        values[(slice(None), *here)] = self.values[:, rows, columns]
        valid[here] = self.valid[rows, columns]
        return values, valid


def mapper(picture, network=None, chip=32, classes=3, temperature=1.0):
    torch.manual_seed(0)
    return Mapper(
        network or Identity(), picture.read, Grid(chip, chip // 4), classes, CPU, temperature
    )


def whole(picture):
    height, width = picture.valid.shape
    return Window(0, 0, width, height)


def softmax(values):
    power = np.exp(values - values.max(0))
    return power / power.sum(0)


@pytest.mark.parametrize("overlap", [2, 8, 16])
def test_weights_are_symmetric_and_sum_to_one(overlap):
    grid = Grid(32, overlap)
    weights = grid.weights()

    assert np.array_equal(weights, weights.T)
    assert np.array_equal(weights, weights[::-1, ::-1])
    assert weights.min() > 0
    total = np.zeros((100, 77))
    for row in grid.starts(0, 100):
        for column in grid.starts(0, 77):
            for (y, x), weight in np.ndenumerate(weights):
                if 0 <= row + y < 100 and 0 <= column + x < 77:
                    total[row + y, column + x] += weight
    np.testing.assert_allclose(total, 1, atol=1e-6)


@pytest.mark.parametrize("chip", [8, 32, 64])
def test_starts_lie_on_one_grid_and_cover(chip):
    grid = Grid(chip, chip // 4)
    every = set(grid.starts(0, 1000))
    for first, end in [(0, 1), (0, chip), (5, 6), (17, 203), (995, 1000)]:
        starts = grid.starts(first, end)
        assert set(starts) <= every
        covered = np.zeros(1200, bool)
        for start in starts:
            assert start < end
            assert start + chip > first
            covered[max(start, 0) : start + chip] = True
        assert covered[first:end].all()


SIZES = [(20, 20), (32, 32), (1, 50), (50, 1), (1, 1), (33, 31), (100, 77), (64, 96), (24, 25)]


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_an_identity_comes_out_as_it_went_in(height, width):
    picture = Picture(height, width, gaps=0.2)

    chances, known = mapper(picture).probabilities(whole(picture))

    assert np.array_equal(known, picture.valid)
    expected = softmax(picture.values) * picture.valid
    np.testing.assert_allclose(chances, expected, atol=1e-5)


@pytest.mark.parametrize("classes", [2, 7, 60])
def test_any_number_of_classes(classes):
    picture = Picture(40, 40, classes)

    chances, _ = mapper(picture, classes=classes).probabilities(whole(picture))

    np.testing.assert_allclose(chances.sum(0), 1, atol=1e-5)


@pytest.mark.parametrize(
    "part", [(0, 0, 30, 30), (11, 7, 40, 50), (90, 60, 30, 40), (119, 99, 1, 1), (0, 50, 120, 1)]
)
def test_the_map_of_an_extent_is_the_cut_out_of_the_whole_map(part):
    picture = Picture(120, 100, gaps=0.05)
    maker = mapper(picture, Smooth(3))
    row, column, height, width = part
    height, width = min(height, 120 - row), min(width, 100 - column)

    everything, _ = maker.probabilities(whole(picture))
    chances, _ = maker.probabilities(Window(column, row, width, height))

    cut = everything[:, row : row + height, column : column + width]
    np.testing.assert_allclose(chances, cut, atol=1e-5)


@pytest.mark.parametrize("side", [16, 40, 64, 119])
def test_the_result_does_not_depend_on_the_blocks(side):
    picture = Picture(120, 100, gaps=0.05)
    maker = mapper(picture, Smooth(3))
    everything, _ = maker.probabilities(whole(picture))

    for row in range(0, 120, side):
        for column in range(0, 100, side):
            block = Window(column, row, min(side, 100 - column), min(side, 120 - row))
            chances, _ = maker.probabilities(block)
            cut = everything[:, row : row + side, column : column + side]
            np.testing.assert_allclose(chances, cut, atol=1e-5)


def test_there_are_no_seams():
    """On a plain ground, a network that knows its place in the chip leaves no steps."""
    picture = Picture(200, 200)
    picture.values[:] = 0
    chances, _ = mapper(picture, Smooth(3)).probabilities(whole(picture))

    assert np.abs(np.diff(chances[:, 40:160, 40:160], axis=2)).max() < 0.05


def test_the_wanted_part_alone_is_computed_and_is_the_same():
    picture = Picture(200, 200, gaps=0.05)
    maker = mapper(picture, Smooth(3))
    everything, _ = maker.probabilities(whole(picture))
    mask = np.zeros((200, 200), bool)
    mask[20:40, 150:190] = True
    seen = []
    maker.segmenter.register_forward_hook(lambda module, given, made: seen.append(len(made)))

    chances, known = maker.probabilities(whole(picture), wanted=lambda window: mask)

    assert np.array_equal(known, mask & picture.valid)
    np.testing.assert_allclose(chances, everything * known, atol=1e-5)
    assert sum(seen) < 15


def test_nothing_valid_is_nothing_known():
    picture = Picture(50, 50, gaps=1.0)

    chances, known = mapper(picture).probabilities(whole(picture))

    assert not known.any()
    assert not chances.any()


def test_the_temperature_flattens_and_keeps_the_winner():
    picture = Picture(40, 40)
    sharp, _ = mapper(picture).probabilities(whole(picture))
    flat, _ = mapper(picture, temperature=4.0).probabilities(whole(picture))

    assert np.array_equal(sharp.argmax(0), flat.argmax(0))
    assert flat.max(0).mean() < sharp.max(0).mean() - 0.1


@pytest.mark.parametrize(("classes", "bands"), [(2, 3), (20, 13), (254, 250)])
def test_blocks_tile_the_window_on_the_grid_of_the_files_tiles(classes, bands):
    window = Window(13, 7, 2600, 1500)
    times = np.zeros((1500, 2600), np.uint8)
    for block in blocks(window, classes, bands):
        row, column = int(block.row_off) - 7, int(block.col_off) - 13
        assert row % 256 == 0
        assert column % 256 == 0
        times[row : row + int(block.height), column : column + int(block.width)] += 1
    assert (times == 1).all()


def test_memory_does_not_grow_with_the_image():
    """A wide image that exists nowhere: its values are made when they are read."""

    def read(window):
        shape = (int(window.height), int(window.width))
        columns = np.arange(window.col_off, window.col_off + window.width)
        values = np.broadcast_to(np.sin(columns / 50).astype(np.float32), (3, *shape)).copy()
        return values, np.ones(shape, bool)

    def peak(width):
        maker = Mapper(Identity(), read, Grid(64, 16), 3, CPU)
        tracemalloc.start()
        for block in blocks(Window(0, 0, width, 300), 3, 3):
            maker.probabilities(block)
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return top

    small = peak(2048)
    assert peak(20_000) < 1.2 * small
    assert small < 60_000_000


def test_windows_that_do_not_fit_into_memory_come_in_smaller_portions():
    picture, heard = Picture(80, 90, gaps=0.1), []
    torch.manual_seed(0)
    fine, tight = Smooth(3), Small(3)
    tight.load_state_dict(fine.state_dict())
    expected, _ = mapper(picture, fine).probabilities(whole(picture))
    small = Mapper(tight, picture.read, Grid(32, 8), 3, CPU, told=heard.append)

    found, _ = small.probabilities(whole(picture))

    assert heard == [4, 2]
    np.testing.assert_allclose(found, expected, atol=1e-5)
