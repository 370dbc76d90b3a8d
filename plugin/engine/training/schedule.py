"""The learning rate's course."""

from __future__ import annotations

import math

# The share of a run in which the learning rate is at its height.
HELD = 0.5


def schedule(done: float, warm_up: float) -> float:
    """The learning rate's factor: a linear warm-up, 1 for the first half, a cosine down to 1 %.

    A rate that is held learns faster than one that falls from the start, and ends as low
    (Hägele et al. 2024, "Scaling Laws and Compute-Optimal Training Beyond Fixed Training
    Durations", arXiv 2405.18392).
    """
    if done < warm_up:
        return (done + 0.01) / (warm_up + 0.01)
    share = (done - HELD) / (1 - HELD)
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(max(share, 0.0), 1.0)))
