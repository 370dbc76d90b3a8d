"""Kernels for the bands at hand, and positions."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from tilth_engine.backbones import catalogue, patches
from tilth_engine.backbones.card import Band
from tilth_engine.backbones.inputs import Inputs

CARD = replace(
    catalogue.card_of("prithvi-2-tiny-tl"),
    bands=(Band("red", 665.0), Band("nir", 850.0), Band("VV")),
    mean=(1.0, 1.0, 1.0),
    std=(1.0, 1.0, 1.0),
)


def test_slices_are_those_said_and_else_the_nearest():
    inputs = Inputs((None, 800.0, 665.0, 10000.0), (2, None, 0, None))
    assert patches.slices(CARD, inputs) == [2, 1, 0, 1]
    assert patches.slices(CARD, inputs, allowed=[0]) == [2, 0, 0, 0]
    assert patches.slices(CARD, Inputs((560.0,))) == [0]


def test_a_band_without_a_slice_is_refused():
    with pytest.raises(ValueError, match="band 1 of the image is none of Prithvi"):
        patches.slices(CARD, Inputs((None,)))
    with pytest.raises(ValueError, match="without wavelengths"):
        patches.slices(CARD, Inputs((665.0,)), allowed=[2])
    with pytest.raises(ValueError, match="band 3 of the card, which has 3"):
        patches.slices(CARD, Inputs((665.0,), (3,)))


def test_a_cut_kernel_has_the_chosen_slices_and_shares_their_weight():
    kernel = torch.randn(5, 3, 4, 4)
    found = patches.cut(kernel, [1, 0, 1])
    torch.testing.assert_close(found[:, 0], kernel[:, 1] / 2)
    torch.testing.assert_close(found[:, 1], kernel[:, 0])
    torch.testing.assert_close(found[:, [0, 2]].sum(1), kernel[:, 1])
    assert torch.equal(patches.cut(kernel, [0, 1, 2]), kernel)


def test_bands_by_date():
    assert patches.frames(Inputs((None,) * 3)) == [[0, 1, 2]]
    assert patches.frames(Inputs((None,) * 4, (), (1, 0, 1, 0))) == [[1, 3], [0, 2]]


def test_sinusoids_begin_at_one_radian_a_step():
    codes = patches.sinusoids(torch.tensor([0.0, 1.0], dtype=torch.float64), 4)
    assert codes.dtype == torch.float64
    expected = [[0, 0, 1, 1], [math.sin(1), math.sin(0.01), math.cos(1), math.cos(0.01)]]
    torch.testing.assert_close(codes, torch.tensor(expected, dtype=torch.float64))


def test_positions_are_stretched_only_to_other_grids():
    codes = torch.randn(1, 2, 4, 4)
    assert patches.resize(codes, 4, 4) is codes
    assert patches.resize(codes, 8, 6).shape == (1, 2, 8, 6)
    corners = patches.resize(codes, 7, 7, align_corners=True)[..., ::6, ::6]
    torch.testing.assert_close(corners, codes[..., ::3, ::3], atol=1e-5, rtol=1e-5)
