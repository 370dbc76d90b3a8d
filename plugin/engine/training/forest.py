"""What a random forest makes of the landscape: soft labels for pixels that nobody labelled."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier

TREES = 100
# Labelled pixels that the forest learns from: more cost time and change little.
MOST = 20_000


def forest_labels(
    values: NDArray[np.float32],
    classes: NDArray[np.int64],
    landscape: NDArray[np.float32],
    count: int,
    seed: int,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Pixels [N, C], labelled ones and others, with the forest's class probabilities [N, count].

    ``values`` [n, C] and ``classes`` [n] (from 0) are the labelled pixels, ``landscape`` [m, C]
    pixels from all over the images. A forest keeps to what it has seen: where the land looks like
    no polygon, its opinion is a sounder one than a network's. A network that learns that opinion
    (distillation: Hinton et al. 2015, arXiv 1503.02531) is as sound, smoother, and needs no trees
    to be kept.
    """
    rng = np.random.default_rng(seed)
    picked = rng.permutation(len(values))[:MOST]
    forest = RandomForestClassifier(TREES, random_state=seed, n_jobs=1)
    forest.fit(values[picked], classes[picked])
    pixels = np.concatenate([landscape, values[picked][: max(len(landscape), 1)]])
    chances = np.zeros((len(pixels), count), np.float32)
    chances[:, forest.classes_] = forest.predict_proba(pixels)
    return pixels, chances
