"""Confidence that means what it says."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn import functional as F

CANDIDATES = torch.logspace(-0.7, 1.0, 60)
# A few held-out polygons that are all right must not make the map claim certainty.
DOUBT = 0.02
MAX_PIXELS = 50_000


def temperature_of(batches: Iterable[tuple[Tensor, Tensor]]) -> float:
    """The temperature that makes held-out probabilities likeliest.

    ``batches`` are logits [n, K] and classes [n]. Source: Guo et al. 2017, "On Calibration of
    Modern Neural Networks" (arXiv 1706.04599). Returns 1 where there is nothing to fit on.
    """
    pairs = list(batches)
    if not pairs:
        return 1.0
    logits = torch.cat([logits for logits, _ in pairs])
    target = torch.cat([target for _, target in pairs])
    return float(CANDIDATES[int(_losses(logits, target).argmin())])


def calibrated_losses(logits: Tensor, target: Tensor) -> Tensor:
    """The losses [n] of logits [n, K] for classes [n] with the temperature that suits all best."""
    best = CANDIDATES[int(_losses(logits, target).argmin())]
    return F.cross_entropy(logits / best, target, label_smoothing=DOUBT, reduction="none")


def _losses(logits: Tensor, target: Tensor) -> Tensor:
    """The loss with each of the candidates, on a part of many pixels."""
    step = max(len(target) // MAX_PIXELS, 1)
    logits, target = logits[::step], target[::step]
    return torch.stack(
        [F.cross_entropy(logits / t, target, label_smoothing=DOUBT) for t in CANDIDATES]
    )
