"""How much a network counts beside the usual classifiers."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pytest
import torch
from tilth_engine.calibration import calibrated_losses
from tilth_engine.training.samples import Chip
from tilth_engine.training.trust import by_polygons
from torch import nn

from .test_memory import loop, run, segmenter


class Sees(nn.Module):
    """Two classes by the sign of one band."""

    def __init__(self, band):
        super().__init__()
        self.band = band
        self.tokens = None

    def forward(self, image, tokens=None):
        seen = image[:, self.band : self.band + 1]
        return torch.cat([seen, -seen], 1)


def trusted(classic, network, noise=2.0, chips=6, land=(), second=None):
    """What is trusted where the branches look at a band each: the first tells the classes, with
    noise (of each chip), the second nothing or, with ``second``, all but such a share. ``land``
    are two bands' signs elsewhere."""
    at = loop(segmenter(decoder="slim"))
    decoder = at.segmenter.decoder
    decoder.distilled, decoder.spectral = Sees(classic), Sees(network)
    decoder.surroundings = lambda image, maps: Sees(network)(image)
    rng = np.random.default_rng(0)
    noises = np.resize(noise, chips)
    at.held_out = [copy.deepcopy(at.held_out[0]) for _ in range(chips)]
    for chip, level in zip(at.held_out, noises, strict=True):
        sides = np.where(chip.classes == 1, 1.0, -1.0)
        chip.image[:2] = rng.normal(0, 2, (2, *sides.shape))
        chip.image[0] = sides + rng.normal(0, level, sides.shape)
        if second is not None:
            wrong = rng.random(sides.shape) < second
            chip.image[0] = 2 * sides
            chip.image[1] = np.where(wrong, -2, 2) * sides
    signs = np.ones((3, 16, 16), np.float32)
    at.elsewhere = [
        Chip(signs * np.array([*pair, 0], np.float32)[:, None, None], np.zeros((16, 16), np.uint8))
        for pair in land
    ]
    at.weigh(calibrated_losses)
    return float(decoder.trust)


@pytest.mark.parametrize("classic, network, expected", [(0, 1, 0.0), (1, 0, 1.0)])
def test_the_held_out_pixels_tell_what_to_trust(classic, network, expected):
    assert trusted(classic, network) == expected


def test_what_one_chip_alone_tells_is_not_trusted():
    assert trusted(1, 0, chips=1) == 0.0
    assert trusted(1, 0, noise=[0.1, 30, 30, 30, 30, 30]) == 0.0


@pytest.mark.parametrize(
    "land, expected",
    [
        ([(1, 1), (-1, -1)] * 4, 1.0),
        # As on the held-out pixels, about half change.
        ([(1, 1), (-1, -1), (1, -1), (-1, 1)] * 2, 1.0),
    ],
)
def test_where_the_land_changes_as_the_held_out_pixels_do_the_network_counts(land, expected):
    assert trusted(1, 0, land=land) == expected


def test_a_network_that_changes_the_land_far_more_than_the_held_out_pixels_does_not_count():
    """The network repairs a tenth of the held-out pixels; of the land it changes all."""
    elsewhere = [(8, -1), (-8, 1)]
    few = trusted(1, 0, second=0.1)
    assert few > 0
    assert trusted(1, 0, second=0.1, land=elsewhere) == 0.0


def test_with_nothing_held_out_the_polygons_are_counted():
    at = loop(segmenter(decoder="slim"), held_out=False)
    at.weigh(calibrated_losses)
    assert float(at.segmenter.decoder.trust) == 0
    assert [by_polygons(count) for count in (1, 3, 11.5, 20, 100)] == [0, 0, 0.5, 1, 1]


def test_the_paper_s_decoders_are_left_alone():
    at = loop(segmenter(decoder="linear"))
    before = {name: value.clone() for name, value in at.segmenter.state_dict().items()}
    at.weigh(calibrated_losses)
    after = at.segmenter.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


@pytest.mark.parametrize("decoder, expected", [("slim", 0.75), ("linear", 0.0)])
def test_what_the_network_is_not_trusted_with_follows_the_usual_classifiers(decoder, expected):
    at = loop(segmenter(decoder=decoder))
    if at.branches is not None:
        at.branches.trust.fill_(0.25)
    assert at.classic_share == expected


def test_what_an_earlier_adapter_trusted_is_chosen_anew():
    """With the earlier one's 0, all epochs would score alike, and the first would be kept."""
    network = segmenter(decoder="slim")
    network.decoder.trust.fill_(0)
    loop(network)
    assert float(network.decoder.trust) == 1


def test_the_branches_are_those_of_the_network_that_is_stored():
    """A network of coarse weights is replaced at the end by a whole one."""
    at = loop(segmenter(decoder="slim"))
    at.segmenter = segmenter(decoder="slim", seed=1)
    assert at.branches is at.segmenter.decoder


@pytest.mark.parametrize("held_out, epochs, expected", [(False, None, 1), (False, 3, 3)])
def test_time_is_not_spent_on_what_will_not_count(held_out, epochs, expected):
    at = loop(segmenter(decoder="slim"), held_out=held_out)
    at.settings = dataclasses.replace(at.settings, epochs=epochs, seconds=1000.0)
    assert at.in_vain and run(at).progress.epoch == expected
    assert not loop(segmenter(decoder="slim"), held_out=True).in_vain


@pytest.mark.parametrize(("earned", "begun"), [(0.5, True), (0.0, True), (0.5, False)])
def test_what_an_earlier_adapter_earned_is_not_lost_for_want_of_polygons(earned, begun):
    network = segmenter(decoder="slim")
    network.decoder.trust.fill_(earned)
    at = loop(network, held_out=False)
    at.begun = begun

    expected = earned if begun else 0.0
    assert at.in_vain == (expected == 0)
    assert at.weigh(calibrated_losses) == expected == float(network.decoder.trust)
