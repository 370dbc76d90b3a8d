"""The temperature: as doubtful as held-out pixels ask for, as far as they can tell."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tilth_engine.calibration import temperature_of, usual_temperature
from tilth_engine.training.chance import by_patch
from tilth_engine.training.samples import Chip
from torch.nn import functional

SIDE = 20


def chips(count: int) -> list[Chip]:
    """Chips whose every pixel is labelled."""
    image = np.zeros((1, SIDE, SIDE), np.float32)
    return [Chip(image, np.ones((SIDE, SIDE), np.uint8)) for _ in range(count)]


def patches(count: int) -> list[Chip]:
    """The same in one chip, as so many patches that lie apart."""
    chip = np.zeros((SIDE, (SIDE + 1) * count), np.uint8)
    for place in range(count):
        chip[:, place * (SIDE + 1) : place * (SIDE + 1) + SIDE] = 1
    return [Chip(np.zeros((1, *chip.shape), np.float32), chip)]


def drawn(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits of pixels, and classes as often right as their probabilities say."""
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(count, 3, generator=generator) * 2
    target = torch.multinomial(functional.softmax(logits, 1), 1, generator=generator)[:, 0]
    return logits, target


@pytest.mark.parametrize(("sharpness", "expected"), [(0.5, 1.0), (1.0, 1.0), (3.0, 3.0)])
def test_the_temperature_undoes_too_much_confidence_and_never_adds_any(sharpness, expected):
    many = chips(50)
    logits, target = drawn(50 * SIDE**2)

    halves = (slice(9000), slice(9000, None))
    found = temperature_of([(logits[half] * sharpness, target[half]) for half in halves], many)

    # A little less than the likeliest, which is the true one: losses 0.01 apart are alike.
    assert 0.7 * expected <= found <= 1.05 * expected


@pytest.mark.parametrize("held_out", [chips, patches])
def test_one_bad_polygon_is_no_reason_to_doubt(held_out):
    right = torch.zeros(4 * SIDE**2, dtype=torch.long)
    logits = torch.tensor([[6.0, 0.0, 0.0]]).repeat(len(right), 1)
    wrong = right.clone()
    wrong[by_patch(held_out(4)) == 0] = 1

    each_a_little = right.clone()
    each_a_little[::4] = 1

    assert temperature_of([(logits, wrong)], held_out(4)) == 1.0
    assert temperature_of([(logits, each_a_little)], held_out(4)) > 2.0


def test_nothing_held_out_changes_nothing():
    assert temperature_of([], []) == 1.0
    assert temperature_of([], [], 0.7) == 0.7


def test_the_more_polygons_the_surer_is_the_mean_of_the_usual_classifiers():
    found = [usual_temperature(count, 1.0) for count in (0, 1, 3, 10, 30, 1000)]

    assert found[:3] == [1, 1, 1]
    assert found == sorted(found, reverse=True)
    assert 0.75 < found[3] < 0.85 and 0.65 < found[4] < 0.7 and found[5] == 0.65
    assert usual_temperature(30, 0.0) == 1 > usual_temperature(30, 0.5) > found[4]


@pytest.mark.parametrize(("sharpness", "expected"), [(0.4, 0.7), (1.0, 1.0), (3.0, 3.0)])
def test_held_out_polygons_make_it_only_more_doubtful_than_usual(sharpness, expected):
    many = chips(50)
    logits, target = drawn(50 * SIDE**2)

    found = temperature_of([(logits * sharpness, target)], many, usual=0.7)

    assert found >= 0.7 and 0.7 * expected <= found <= 1.05 * expected


def test_what_a_handful_of_polygons_tells_by_one_error_alone_is_no_reason_to_doubt():
    """One of four polygons is a third wrong, one an eighth, two hardly at all."""
    held_out = chips(4)
    whose = by_patch(held_out)
    right = torch.zeros(len(whose), dtype=torch.long)
    logits = torch.tensor([[6.0, 0.0, 0.0]]).repeat(len(right), 1)
    wrong = right.clone()
    for chip, every in enumerate((3, 8, 40, 40)):
        wrong[np.flatnonzero(whose == chip)[::every]] = 1

    assert temperature_of([(logits, wrong)], held_out) == 1.0
