"""The checkpoint: all of a run's state, and nothing when it doesn't fit."""

from __future__ import annotations

import itertools
import json
import time

import numpy as np
import pytest
import torch
from tilth_engine.training import checkpoint
from tilth_engine.training.aim import Aim, cover
from tilth_engine.training.average import Average, put
from tilth_engine.training.loop import Loop, Settings, better
from tilth_engine.training.samples import Samples
from tilth_engine.training.schedule import schedule
from torch import nn

WHO = {"job": "a"}


class Tiny(nn.Module):
    """A segmenter in name: a frozen backbone and a decoder of one layer."""

    def __init__(self, width=3):
        super().__init__()
        self.backbone = nn.Conv2d(2, 2, 1).requires_grad_(False)
        self.decoder = nn.Sequential(
            nn.Conv2d(2, width, 1), nn.Dropout(0.2), nn.Conv2d(width, 2, 1)
        )

    def forward(self, image):
        return self.decoder(self.backbone(image))

    def surroundings(self, image):
        return self(image)


def samples():
    """A world of 16 x 16 pixels: unit 1 of class 1 in the west, unit 2 of class 2 in the east."""
    found = Samples(16, 2)
    sides = np.repeat([[1] * 8 + [2] * 8], 16, 0)
    rng = np.random.default_rng(9)

    def image(image, row, column, size):
        return rng.normal(0, 1, (2, size, size)).astype(np.float32), np.ones((size, size), bool)

    def labels(image, row, column, size):
        inside = row == column == 0
        return (sides * inside).astype(np.uint8), (sides * inside).astype(np.int32)

    found.fill([(0, 0, 0)], image, labels, lambda done, of: None)
    return found


def loop(width=3, epochs=4, seconds=None):
    torch.manual_seed(3)
    world = samples()
    units = np.array([1, 2], np.int32)
    settings = Settings(epochs=epochs, seconds=seconds, steps=2, batch=2, chip=16)
    held_out = cover(world, units, 16, 0)
    return Loop(Tiny(width), Aim(world, units, 16), held_out, 2, torch.device("cpu"), settings)


def run(at, stop_after=None, folder=None):
    def epoch_done(progress):
        if folder is not None:
            checkpoint.save(folder, at, WHO)
        if progress.epoch == stop_after:
            raise InterruptedError

    def accuracy(confusion):
        return float(np.trace(confusion) / confusion.sum())

    at.run(accuracy, lambda share: None, epoch_done)
    return at


@pytest.fixture
def saved(tmp_path):
    folder = tmp_path / "work" / "here"
    with pytest.raises(InterruptedError):
        run(loop(), 2, folder)
    return folder


def test_a_resumed_run_ends_as_an_unbroken_one(saved):
    whole = run(loop())
    again = loop()

    assert checkpoint.resume(saved, again, WHO)
    assert again.progress.epoch == 2
    run(again)

    first, second = whole.segmenter.state_dict(), again.segmenter.state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    for one, two in zip(whole.progress.history, again.progress.history, strict=True):
        assert one == two


def test_a_run_that_goes_on_with_more_minutes_learns_at_no_rate_below_zero(tmp_path, monkeypatch):
    # The lesson before the first step takes half of the first time, and little of the new one.
    monkeypatch.setattr(Loop, "_study", lambda self, aim, step: time.sleep(1))
    with pytest.raises(InterruptedError):
        run(loop(epochs=None, seconds=2.0), 1, tmp_path)
    again = loop(epochs=None, seconds=600.0)
    assert checkpoint.resume(tmp_path, again, WHO)

    again._set_rates(again.share(1, again.progress.seconds))
    assert all(group["lr"] > 0 for group in again.optimizer.param_groups)


def broken(loop_, folder, who=WHO):
    """The checkpoint is not used, and the run is as fresh as it was."""
    before = {name: value.clone() for name, value in loop_.segmenter.state_dict().items()}
    assert not checkpoint.resume(folder, loop_, who)
    assert loop_.progress.epoch == 0
    after = loop_.segmenter.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_checkpoint_that_does_not_fit_is_left_alone(saved, tmp_path):
    broken(loop(), tmp_path / "nothing")
    broken(loop(), saved, {"job": "b"})
    broken(loop(width=5), saved)


def test_tensors_of_another_epoch_are_not_taken(saved):
    state = json.loads((saved / checkpoint.STATE).read_text())
    state["progress"]["epoch"] = 1
    (saved / checkpoint.STATE).write_text(json.dumps(state))

    broken(loop(), saved)


def test_a_kill_between_the_two_files_leaves_the_earlier_checkpoint(saved):
    epoch = json.loads((saved / checkpoint.STATE).read_text())["progress"]["epoch"]
    checkpoint.tensors_file(saved, epoch + 1).write_bytes(b"half of the next one")

    again = loop()
    assert checkpoint.resume(saved, again, WHO)
    assert again.progress.epoch == epoch


def test_only_the_newest_tensors_are_kept(saved):
    assert len(list(saved.glob(checkpoint.TENSORS))) == 1


@pytest.mark.parametrize("name", [checkpoint.STATE, checkpoint.TENSORS])
@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"\xff" * 500, b'{"progress": 1}'])
def test_a_damaged_checkpoint_is_left_alone(saved, name, data):
    next(saved.glob(name)).write_bytes(data)

    broken(loop(), saved)


def test_remove_takes_only_its_own(saved):
    (saved / "notes.txt").write_text("mine")
    checkpoint.remove(saved)
    assert [path.name for path in saved.iterdir()] == ["notes.txt"]

    (saved / "notes.txt").unlink()
    checkpoint.remove(saved)
    assert not saved.exists()
    checkpoint.remove(saved)


# What the loop is made of


def test_the_best_weights_are_kept_not_the_last():
    at = loop(epochs=5)
    values = iter([0.1, 0.9, 0.2, 0.3, 0.1])
    kept = []

    at.run(
        lambda confusion: next(values),
        lambda share: None,
        lambda progress: kept.append({n: v.clone() for n, v in at.average.values.items()}),
    )

    assert at.progress.best_epoch == 2
    state = dict(at.segmenter.named_parameters())
    assert all(torch.equal(state[name], value) for name, value in kept[1].items())


def test_the_time_for_checkpoints_counts():
    at = loop(epochs=2)
    at.run(lambda confusion: 0.5, lambda share: None, lambda progress: time.sleep(0.2))
    assert at.progress.seconds >= 0.4


def test_it_stops_when_nothing_gets_better():
    at = loop(epochs=1000)

    values = itertools.chain([0.9], itertools.repeat(0.5))

    at.run(lambda confusion: next(values), lambda share: None, lambda progress: None)

    assert at.progress.epoch == 1 + at.settings.patience


def test_the_average_lags_and_leaves_the_module_alone():
    module = nn.Linear(1, 1)
    average = Average(module)
    put(module, {"weight": torch.ones(1, 1), "bias": torch.ones(1)})
    average.update(module)
    with average.applied(module):
        inside = module.weight.item()
    assert module.weight.item() == 1.0
    assert inside != 1.0


def test_the_rate_warms_up_and_decays():
    rates = [schedule(step / 100, 0.05) for step in range(101)]

    assert rates[0] < 0.3
    assert max(rates) == pytest.approx(1.0, abs=0.02)
    assert rates[-1] == pytest.approx(0.01)
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_scores_that_tie_are_told_apart_by_the_loss():
    assert better(1.0, 0.2, 1.0, 0.5), "all held-out polygons were right early on"
    assert not better(1.0, 0.6, 0.999, 0.5)
    assert better(0.8, 0.9, 0.7, 0.5)
    assert not better(0.7, 0.1, 0.8, 0.5)
