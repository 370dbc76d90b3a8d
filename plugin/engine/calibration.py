"""Confidence that means what it says."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from .training.chance import SURELY, by_patch, worse
from .training.samples import Chip

CANDIDATES = torch.logspace(-0.7, 1.0, 60)
# A few held-out polygons that are all right must not make the map claim certainty.
DOUBT = 0.02
MAX_PIXELS = 50_000
# Polygons a class up to which several opinions' mean is as sure as it is right, and how much too
# modest it is with more: so much has been measured up to the least temperature, no further.
FEW, MODESTY, LEAST = 3, 1 / 6, 0.65


def usual_temperature(polygons: float, share: float) -> float:
    """The temperature for so many polygons a class of a map that follows the usual classifiers'
    mean by a ``share`` (0 to 1).

    A mean of opinions is certain only where each of them is, so that a mean of many is too modest
    (Niculescu-Mizil and Caruana 2005, "Predicting Good Probabilities With Supervised Learning");
    with a few polygons each of them is too sure, and the two cancel out (docs/trials.md).
    """
    return float(max((FEW / max(polygons, FEW)) ** MODESTY, LEAST) ** share)


def temperature_of(
    batches: Iterable[tuple[Tensor, Tensor]], chips: Sequence[Chip] = (), usual: float = 1.0
) -> float:
    """The likeliest temperature, from ``usual`` up; of ``chips`` the least that they can't tell
    from it.

    ``batches`` are logits [n, K] and classes [n] of labelled pixels, those of the chips in their
    order where these are given.
    Source: Guo et al. 2017, "On Calibration of Modern Neural Networks" (arXiv 1706.04599), with the
    likeliest temperature taken only as far as chance allows (`chance.worse`): the errors of a
    handful of polygons say little about others. Never below the usual one: polygons that are all
    right say nothing of land that looks otherwise. Returns that where there is nothing to fit on.
    """
    pairs = list(batches)
    if not pairs:
        return usual
    logits = torch.cat([logits for logits, _ in pairs])
    target = torch.cat([target for _, target in pairs])
    best = _likeliest(logits, target)
    if best <= usual or not chips:
        return max(best, usual)
    lowest = _each_loss(logits / best, target)
    whose = by_patch(chips)
    between = CANDIDATES[(usual < CANDIDATES) & (best > CANDIDATES)].tolist()
    return next(
        temperature
        for temperature in (usual, *between, best)
        if not worse(
            (_each_loss(logits / temperature, target) - lowest).numpy(), whose, errors=SURELY
        )
    )


def calibrated_losses(logits: Tensor, target: Tensor) -> Tensor:
    """The losses [n] of logits [n, K] for classes [n] with the temperature that suits all best."""
    return _each_loss(logits / _likeliest(logits, target), target)


def _each_loss(logits: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(logits, target, label_smoothing=DOUBT, reduction="none")


def _likeliest(logits: Tensor, target: Tensor) -> float:
    """The candidate with the least loss, on a part of many pixels."""
    step = max(len(target) // MAX_PIXELS, 1)
    logits, target = logits[::step], target[::step]
    losses = [_each_loss(logits / t, target).mean() for t in CANDIDATES]
    return float(CANDIDATES[int(torch.stack(losses).argmin())])
