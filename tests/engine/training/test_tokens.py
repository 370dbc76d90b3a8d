"""The plain backbone's tokens at single pixels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tilth_engine.backbones.inputs import Inputs
from tilth_engine.model.decoders.factory import DecoderSettings
from tilth_engine.model.methods.method import Method
from tilth_engine.model.segmenter import build
from tilth_engine.training import tokens
from tilth_engine.training.samples import Samples
from tilth_engine.training.tokens import Tokens, within

CPU = torch.device("cpu")
INPUTS = Inputs((485.0, 560.0, 660.0))


def network(looks=True, method="lora"):
    settings = DecoderSettings("slim", tokens=looks)
    return build("embedded", Method(method), settings, INPUTS, 2)[0]


@pytest.fixture(scope="module")
def world():
    """96 x 96 pixels, all labelled: class 1 in the west, class 2 in the east."""
    values = np.random.default_rng(0).normal(size=(3, 96, 96)).astype(np.float32)
    found = Samples(32, 3)

    def image(number, row, column, size):
        part = np.zeros((3, size, size), np.float32)
        inside = 0 <= row < 96 and 0 <= column < 96
        if inside:
            part[:] = values[:, row : row + size, column : column + size]
        return part, np.full((size, size), inside)

    def labels(number, row, column, size):
        codes = np.full((size, size), 1 + (column >= 64), np.uint8)
        return codes, codes.astype(np.int32)

    keys = [(0, row, column) for row in range(3) for column in range(3)]
    found.fill(keys, image, labels, lambda done, of: None)
    return found


def places(rows, columns):
    return np.stack([np.zeros(len(rows), int), rows, columns], 1)


def test_nothing_is_asked_of_a_decoder_that_does_not_look():
    assert Tokens(network(looks=False), CPU, 32).dim == 0
    assert Tokens(network(), CPU, 32).dim == 192


def test_each_pixel_has_what_the_backbone_says_of_its_window(world):
    segmenter = network()
    rows, columns = np.array([40, 47, 8, 90]), np.array([40, 33, 8, 70])
    asked = places(rows, columns)
    found = Tokens(segmenter, CPU, 32).at(world, asked, np.array([0, 0, 0, 1]), (), 0)

    assert found.shape == (4, 192) and np.isfinite(found).all()
    chip = world.chip(0, 24, 24, 32, np.zeros(0, np.int32)).image  # the window around 32..47
    with torch.no_grad():
        maps = segmenter.eval().plain(torch.from_numpy(chip)[None])
    whole = torch.nn.functional.interpolate(maps.float(), (32, 32), mode="bilinear")[0]
    for place in (0, 1):
        expected = whole[:, rows[place] - 24, columns[place] - 24].numpy()
        np.testing.assert_allclose(found[place], expected, atol=0.05, rtol=0.05)


def test_where_squares_are_many_each_class_has_its_turn(world, monkeypatch):
    monkeypatch.setattr(tokens, "SQUARES", 2)
    rows, columns = (part.ravel() for part in np.mgrid[0:96:8, 0:96:8])
    classes = (columns >= 64).astype(int)
    found = Tokens(network(), CPU, 32).at(world, places(rows, columns), classes, (), 0)
    seen = np.isfinite(found).all(1)
    assert seen.sum() == 8 and np.isnan(found[~seen]).all()
    assert set(classes[seen]) == {0, 1}


@pytest.mark.parametrize("fewest", [1, 5, 32])
def test_when_its_time_is_over_it_has_seen_the_fewest_squares(world, monkeypatch, fewest):
    monkeypatch.setattr(tokens, "FEWEST", fewest)
    rows, columns = (part.ravel() for part in np.mgrid[0:96:8, 0:96:8])
    looks = []
    looking = Tokens(network(), CPU, 32, seconds=1e-9, step=lambda: looks.append(1))
    found = looking.at(world, places(rows, columns), np.zeros(len(rows), int), (), 0)
    assert len(looks) == fewest and 4 * fewest == np.isfinite(found[:, 0]).sum() < len(rows)


def test_however_short_the_time_is_each_class_is_seen(world, monkeypatch):
    monkeypatch.setattr(tokens, "FEWEST", 1)
    rows, columns = (part.ravel() for part in np.mgrid[0:96:8, 0:96:8])
    classes = rows // 32 * 3 + columns // 32
    found = Tokens(network(), CPU, 32, seconds=1e-9).at(
        world, places(rows, columns), classes, (), 0
    )
    assert set(classes[np.isfinite(found[:, 0])]) == set(range(9))


def test_a_window_is_looked_at_once_whatever_region_is_left_out_far_from_it(world):
    looks = []
    looking = Tokens(network(), CPU, 32, step=lambda: looks.append(1))
    asked = places(np.array([40]), np.array([40])), np.array([0])
    whole = looking.at(world, *asked, (), 0)
    far = looking.at(world, *asked, [(0, 0, 80, 96)], 0)
    assert len(looks) == 1 and np.array_equal(whole, far)
    near = looking.at(world, *asked, [(0, 0, 48, 96)], 0)
    assert len(looks) == 2 and not np.array_equal(whole, near)


def test_no_more_windows_are_kept_than_memory_is_given(world, monkeypatch):
    monkeypatch.setattr(tokens, "KEPT", 0)
    looks = []
    looking = Tokens(network(), CPU, 32, step=lambda: looks.append(1))
    asked = places(np.array([40]), np.array([40])), np.array([0])
    assert np.array_equal(looking.at(world, *asked, (), 0), looking.at(world, *asked, (), 0))
    assert len(looks) == 2


def test_beyond_the_line_nothing_is_seen():
    values = np.ones((2, 4, 6), np.float32)
    seen = within(values, 10, 20, (21, 0, 24, 12))
    assert seen[:, :2, 1:4].all() and seen.sum() == 2 * 2 * 3
    assert within(values, 10, 20, None) is values


def test_looks_are_enough_when_the_time_is_over_but_not_below_the_fewest(monkeypatch):
    looking = Tokens(network(), CPU, 32, seconds=100.0)  # 8 s, or those of a part
    monkeypatch.setattr(tokens.time, "monotonic", lambda: 12.0)
    assert not looking.enough(tokens.FEWEST, started=4.0)
    assert looking.enough(tokens.FEWEST, started=3.9)
    assert not looking.enough(tokens.FEWEST - 1, started=-1000.0)
    assert looking.enough(tokens.FEWEST // 4, started=9.9, parts=4)
    assert not looking.enough(tokens.FEWEST // 4, started=10.0, parts=4)
