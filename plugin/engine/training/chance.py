"""Whether losses differ by more than chance."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .samples import Chip

# Losses so much higher are no worse, however certain the difference is.
CLOSE = 0.01
# Standard errors beyond which hardly any chance reaches.
SURELY = 2.0


def worse(excess: NDArray[np.float32], whose: NDArray[np.int64], errors: float = 1.0) -> bool:
    """Whether pixels' losses, so much higher [n], are so by more than chance.

    By so many standard errors over the groups that the pixels are of (``whose`` [n], from 0), since
    those of one polygon err together (with one the rule of Breiman et al. 1984, "Classification and
    Regression Trees", section 3.4.3). One group tells nothing.
    """
    count = int(whose.max(initial=-1)) + 1
    if count < 2:
        return False
    mean = float(excess.mean())
    off = np.bincount(whose, excess - mean, count)
    error = np.sqrt((off**2).sum() * count / (count - 1)) / len(excess)
    return bool(mean > max(CLOSE, errors * error))


def by_chip(chips: Sequence[Chip]) -> NDArray[np.int64]:
    """The number of the chip that each labelled pixel is of [n]."""
    return np.repeat(np.arange(len(chips)), [np.count_nonzero(chip.classes) for chip in chips])


def by_patch(chips: Sequence[Chip]) -> NDArray[np.int64]:
    """The number of the patch that each labelled pixel is of [n]: what hangs together in a chip, as
    a polygon's pixels do."""
    parts, total = [np.zeros(0, np.int64)], 0
    for chip in chips:
        patches, count = ndimage.label(chip.classes > 0, np.ones((3, 3)))
        parts.append(patches[chip.classes > 0].astype(np.int64) - 1 + total)
        total += count
    return np.concatenate(parts)
