"""What the held-out polygons say of a network's score and confidence."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tilth_engine.judging import judged
from tilth_engine.training.samples import Chip

CLASSES = [{"code": 1, "name": "a"}, {"code": 2, "name": "b"}]
HELD_OUT = {"polygons": 8, "region": {"name": "the west", "polygons": 8}}


def chip() -> Chip:
    """A hundred labelled pixels, in ten columns that lie apart."""
    classes = np.zeros((10, 20), np.uint8)
    classes[:, ::2] = 1
    return Chip(np.zeros((1, 10, 20), np.float32), classes)


NEAR, FAR = [chip()], [chip()]


class Sure:
    """A learner with logits of a given size: right near the polygons, half right far away."""

    def __init__(self, size: float) -> None:
        self.size = size
        self.held_out: list = []

    def validate(self):
        return np.diag([50, 50]), 0.0

    def held_out_logits(self):
        target = torch.arange(100) % 2
        found = target.clone()
        if self.held_out is FAR:
            found[:50] = 1 - found[:50]
        yield self.size * torch.nn.functional.one_hot(found, 2).float(), target


@pytest.mark.parametrize("far", [[], FAR])
@pytest.mark.parametrize("size", [0.5, 30.0])
def test_held_out_polygons_never_make_a_map_surer_than_its_network(size, far):
    found = judged(Sure(size), NEAR, far, CLASSES, HELD_OUT)

    assert found.temperature >= 1
    assert (found.temperature > 2) == (size > 1 or bool(far))
    assert judged(Sure(size), [], [], CLASSES, HELD_OUT).temperature == 1


@pytest.mark.parametrize("far", [[], FAR])
def test_the_usual_temperature_is_the_least(far):
    found = judged(Sure(0.5), NEAR, far, CLASSES, HELD_OUT, 0.8).temperature

    assert found == 0.8 if not far else found > 2
    assert judged(Sure(0.5), [], [], CLASSES, HELD_OUT, 0.8).temperature == 0.8
