"""The landscape, where the backbone that looks at it is slow, and images are small or many."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tilth_engine import landscape
from tilth_engine.data.imagery import Image
from tilth_engine.normalise import Normalisation

from .worlds import scene, write_image


class Slow:
    """Looks at so many windows before its time is over."""

    chip, dim = 32, 3

    def __init__(self, windows):
        self.windows, self.looks = windows, 0

    def look(self, window):
        self.looks += 1
        return torch.zeros(self.dim, 8, 8)

    def pick(self, tokens, rows, columns):
        return np.zeros((len(rows), self.dim), np.float32)

    def over(self, started, parts=1):
        return self.looks >= self.windows

    def expected(self, looks, started, parts=1):
        return self.windows


@pytest.fixture
def land(tmp_path):
    with Image.open([write_image(tmp_path / "i.tif", scene(400, 400))]) as image:
        yield image, Normalisation.of(image)


def test_what_was_seen_before_the_time_was_over_stays(land):
    looking = Slow(windows=30)
    found = landscape.landscape([land[0]], [land[1]], 0, tokens=looking)
    assert looking.looks == 30
    first, each = -(-landscape.PIXELS // 22**2), -(-landscape.ENOUGH // 30)
    assert len(found) == first + 29 * each >= landscape.ENOUGH - each


def test_many_images_are_looked_at_once(land):
    looking = Slow(windows=10**9)
    count = 12
    landscape.landscape([land[0]] * count, [land[1]] * count, 0, tokens=looking)
    assert looking.looks == count * 22**2


def test_small_and_many_images_have_views_too(tmp_path, land):
    with Image.open([write_image(tmp_path / "s.tif", scene(40, 40))]) as image:
        small = landscape.views([image], [Normalisation.of(image)], 64, 0)
    assert len(small) == landscape.VIEWS
    many = landscape.VIEWS + 10
    assert len(landscape.views([land[0]] * many, [land[1]] * many, 64, 0)) == many
