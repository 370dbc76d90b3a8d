"""Whether losses differ by more than chance."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .samples import Chip

# Losses so much higher are no worse, however certain the difference is.
CLOSE = 0.01


def worse(excess: NDArray[np.float32], chips: Sequence[Chip]) -> bool:
    """Whether losses of the chips' labelled pixels, so much higher [n], are so by more than chance.

    By one standard error over the chips, since a polygon's pixels err together (the rule of
    Breiman et al. 1984, "Classification and Regression Trees", section 3.4.3). One chip tells
    nothing.
    """
    if len(chips) < 2:
        return False
    counts = np.array([np.count_nonzero(chip.classes) for chip in chips])
    mean = float(excess.mean())
    off = np.bincount(np.repeat(np.arange(len(counts)), counts), excess - mean, len(counts))
    error = np.sqrt((off**2).sum() * len(counts) / (len(counts) - 1)) / len(excess)
    return bool(mean > max(CLOSE, error))
