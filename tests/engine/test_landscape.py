"""The landscape, where the backbone that looks at it is slow, and images are small or many."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from rasterio.windows import Window
from tilth_engine import landscape
from tilth_engine.data.imagery import Image
from tilth_engine.normalise import Normalisation

from .worlds import scene, write_image


class Looking:
    """Looks at so many windows before it has had enough; keeps what it saw."""

    chip, dim = 32, 3

    def __init__(self, enough=10**9):
        self.most, self.seen = enough, []

    def look(self, window):
        self.seen.append(window)
        return torch.zeros(self.dim, 8, 8)

    def pick(self, tokens, rows, columns):
        return np.zeros((len(rows), self.dim), np.float32)

    def enough(self, looks, started, parts=1):
        return looks >= self.most


@pytest.fixture
def land(tmp_path):
    with Image.open([write_image(tmp_path / "i.tif", scene(400, 400))]) as image:
        yield image, Normalisation.of(image)


def test_what_was_seen_before_it_was_enough_stays(land):
    looking = Looking(enough=30)
    found = landscape.landscape([land[0]], [land[1]], 0, tokens=looking)
    assert len(looking.seen) == 30
    assert len(found) == 30 * -(-landscape.PIXELS // landscape.LOOKS) >= landscape.ENOUGH


def test_many_images_share_the_looks(land):
    looking = Looking()
    count = 12
    found = landscape.landscape([land[0]] * count, [land[1]] * count, 0, tokens=looking)
    assert len(looking.seen) == landscape.LOOKS // count * count
    assert len(found) > 0.9 * landscape.PIXELS


def test_land_that_is_like_no_other_is_looked_at_however_few_the_looks_are(tmp_path):
    values = scene(400, 400)
    values[:, 200:216, 100:116] = values.max() + 1000
    with Image.open([write_image(tmp_path / "i.tif", values)]) as image:
        normalisation = Normalisation.of(image)
        bright = normalisation.read(image, Window(104, 204, 1, 1))[0].min()
        for seed in range(5):
            looking = Looking(enough=4)
            landscape.landscape([image], [normalisation], seed, tokens=looking)
            assert max(window.max() for window in looking.seen) >= bright


def test_no_look_is_wasted_where_nothing_is_valid(tmp_path):
    values = scene(400, 400)
    values[:, :, :300] = 0
    with Image.open([write_image(tmp_path / "i.tif", values, nodata=0)]) as image:
        normalisation, looking = Normalisation.of(image), Looking()
        found = landscape.landscape([image], [normalisation], 0, tokens=looking)
    assert len(found) > 0.9 * landscape.PIXELS


def test_an_image_without_a_valid_pixel_shows_no_land(tmp_path):
    values = scene(64, 64)
    with Image.open([write_image(tmp_path / "i.tif", values)]) as image:
        normalisation = Normalisation.of(image)
    with Image.open([write_image(tmp_path / "n.tif", values * 0, nodata=0)]) as image:
        assert not len(landscape.landscape([image], [normalisation], 0, tokens=Looking()))


def test_each_point_is_the_farthest_from_those_before():
    points = np.array([[0.0, 0], [0.1, 0], [9, 0], [0, 5], [9.1, 0.1]], np.float32)
    order = landscape.farthest_first(points, np.random.default_rng(0)).tolist()
    assert sorted(order) == list(range(5))
    for number in range(1, 5):
        before = points[order[:number]]
        gaps = [np.linalg.norm(before - point, axis=1).min() for point in points]
        assert gaps[order[number]] == max(gaps)


def test_small_and_many_images_have_views_too(tmp_path, land):
    with Image.open([write_image(tmp_path / "s.tif", scene(40, 40))]) as image:
        small = landscape.views([image], [Normalisation.of(image)], 64, 0)
    assert len(small) == landscape.VIEWS
    many = landscape.VIEWS + 10
    assert len(landscape.views([land[0]] * many, [land[1]] * many, 64, 0)) == many
