"""Where the linear decoder begins, and how many chips a step of a short run sees."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from tilth_engine.training import linear_start

from .test_memory import loop, run, segmenter


def accuracy(at):
    confusion, _ = at.validate()
    return np.trace(confusion) / confusion.sum()


def begin(at, **settings):
    network = at.segmenter
    chosen = dataclasses.replace(at.settings, **settings)
    linear_start.begin(network, network.decoder, at.aim, at.weights, chosen)


def test_the_decoder_tells_the_classes_before_any_step():
    at = loop(segmenter())
    before = accuracy(at)
    begin(at)
    assert accuracy(at) > max(before, 0.8)


def test_every_pixel_of_a_token_gets_the_regression_s_answer():
    at = loop(segmenter())
    begin(at)
    weight = at.segmenter.decoder.head.weight
    assert torch.equal(weight, weight[..., :1, :1].expand_as(weight))
    # Of two classes, one's logits are the other's with the opposite sign.
    assert torch.allclose(weight[:, 0], -weight[:, 1])


def test_one_class_alone_leaves_the_decoder_as_it_was(monkeypatch):
    at = loop(segmenter())
    real = linear_start._gather

    def without(*arguments):
        tokens, classes = real(*arguments)
        return tokens[classes == 0], classes[classes == 0]

    monkeypatch.setattr(linear_start, "_gather", without)
    before = at.segmenter.decoder.head.weight.clone()
    begin(at)
    assert torch.equal(before, at.segmenter.decoder.head.weight)


def test_it_takes_no_more_than_its_share_of_the_time(monkeypatch):
    chips = []
    monkeypatch.setattr(linear_start, "SHARE", 0.0)
    at = loop(segmenter())
    draw = at.aim.draw
    monkeypatch.setattr(at.aim, "draw", lambda rng: chips.append(1) or draw(rng))
    begin(at, seconds=1.0)
    assert len(chips) == 1


def test_a_training_starts_from_it(monkeypatch):
    called = []
    monkeypatch.setattr(linear_start, "begin", lambda *arguments: called.append(1))
    run(loop(segmenter(decoder="linear")))
    run(loop(segmenter(decoder="slim")))
    later = loop(segmenter(decoder="linear"))
    later.begun = True  # by an earlier adapter's weights
    run(later)
    assert called == [1]


@pytest.mark.parametrize(
    "seconds_a_step, paced, expected",
    [(0.1, True, 6), (2.0, True, 3), (100.0, True, 1), (100.0, False, 6)],
)
def test_slow_steps_see_fewer_chips(seconds_a_step, paced, expected):
    at = loop(segmenter())
    at.settings = dataclasses.replace(at.settings, seconds=60.0, paced=paced)
    at._keep_pace(seconds_a_step)
    assert at.batch == expected


def test_without_a_time_limit_a_step_sees_its_whole_batch():
    at = loop(segmenter())
    at._keep_pace(1000.0)
    assert at.batch == 6
