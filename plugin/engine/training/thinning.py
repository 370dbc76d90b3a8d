"""Fewer pixels, and none of the classes lost."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Pixels that a class keeps, if it has as many, however rare it is among those that are thinned.
LEAST = 200


def thinned(classes: NDArray[np.int64], most: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """The places, in any order, of at most so many of pixels with the ``classes`` [N].

    At random, but that a rare class keeps `LEAST` pixels or what it has: drawn blindly it would be
    gone where another is drawn a thousand times as large. With very many classes each keeps less.
    """
    order = rng.permutation(len(classes))
    if len(order) <= most:
        return order
    shuffled = classes[order]
    known = np.unique(shuffled)
    least = min(LEAST, most // (2 * len(known)))
    first = np.concatenate([np.flatnonzero(shuffled == one)[:least] for one in known])
    kept = np.zeros(len(order), bool)
    kept[first] = True
    kept[np.flatnonzero(~kept)[: most - len(first)]] = True
    return order[kept]
