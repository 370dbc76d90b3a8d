"""How much what learns by gradients counts beside the usual classifiers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ..model.decoders.image_branch import ImageBranch
from ..model.decoders.slim import SlimDecoder
from .chance import by_chip, worse
from .samples import Chip
from .scoring import Scorer

# What is tried on held-out polygons.
TRUSTS = (0.0, 0.25, 0.5, 0.75, 1.0)
# Where there are none: the polygons a class up to which it does not count at all, since nobody
# could tell a wild guess, and from which on it counts in full.
NO_TRUST, FULL_TRUST = 3, 20
# How much more of the land than of the held-out pixels may change its class: what changes where
# nobody looked has no warrant.
FACTOR, SPARE = 2.0, 0.02
# Classes with a smaller share of the pixels are left out of that.
RARE = 0.001
# Chips of the land that are looked at.
LOOKED_AT = 32

# Logits [n, K] and classes [n] to the loss of each pixel [n].
Losses = Callable[[Tensor, Tensor], Tensor]


def by_held_out(
    learner: Scorer, branches: SlimDecoder | ImageBranch, land: Sequence[Chip], losses: Losses
) -> float:
    """The trust that serves the held-out pixels and changes the land no more than is known there.

    ``land`` are chips from all over the images, without labels.
    """
    chips = learner.held_out

    def with_trust(trust: float, chips: Sequence[Chip]) -> tuple[Tensor, Tensor]:
        branches.trust.fill_(trust)
        logits, classes = zip(*learner.logits_of(chips), strict=True)
        return torch.cat(logits), torch.cat(classes)

    # The sum is linear in the trust: two passes give it for all.
    (none, classes), (full, _) = (with_trust(share, chips) for share in (0.0, 1.0))
    held = {share: torch.lerp(none, full, share) for share in TRUSTS}
    found = {share: losses(logits, classes) for share, logits in held.items()}
    chosen = _least(found, chips)
    if chosen == 0 or not land:
        return chosen
    views = [_all_of(chip) for chip in land[:LOOKED_AT]]
    (before, _), (after, _) = (with_trust(share, views) for share in (0.0, 1.0))
    allowed = {
        share: values
        for share, values in found.items()
        if _changed(before, torch.lerp(before, after, share))
        <= FACTOR * _changed(none, held[share]) + SPARE
    }
    return _least(allowed, chips)


def _least(found: dict[float, Tensor], chips: Sequence[Chip]) -> float:
    """The least trust whose losses [n] can't be told from the lowest.

    A handful of held-out polygons is soon all right, or wrong by chance, and the usual classifiers
    guess better far from them.
    """
    best = min(found.values(), key=lambda values: float(values.mean()))
    whose = by_chip(chips)
    return next(
        share for share, values in found.items() if not worse((values - best).numpy(), whose)
    )


def by_polygons(polygons: float) -> float:
    """The trust where nothing is held out, by the mean number of polygons a class."""
    return min(max((polygons - NO_TRUST) / (FULL_TRUST - NO_TRUST), 0.0), 1.0)


def _all_of(chip: Chip) -> Chip:
    """The chip as if all that is not missing were labelled."""
    return replace(chip, classes=(chip.image != 0).any(0).astype(np.uint8))


def _changed(before: Tensor, after: Tensor) -> float:
    """The share of pixels that change their class, the mean over the classes that they had.

    A class that is rare in the land and is lost far from the polygons would not show otherwise.
    """
    had, have = before.argmax(1), after.argmax(1)
    counts = torch.bincount(had, minlength=before.shape[1])
    lost = torch.bincount(had[had != have], minlength=before.shape[1])
    there = counts > len(had) * RARE
    return float((lost[there] / counts[there]).mean())
