"""What the usual classifiers make of the landscape: soft labels for pixels that nobody labelled."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ..model.decoders.neighbourhood import feature_count

TREES = 40
# Labelled pixels that a classifier learns from: more cost time and change little.
MOST = 8_000
# Labelled pixels whose soft labels are learnt from at the least, if there are as many.
LABELLED = 2_000
# From so many polygons a class on, a linear classifier counts the less the more there are: where
# the land looks like no polygon, its guesses are wild (docs/method.md).
MANY = 3
# Pixels of a class below which its spread can't be told.
FEWEST = 5


def soft_labels(
    values: NDArray[np.float32],
    classes: NDArray[np.int64],
    landscape: NDArray[np.float32],
    bands: int,
    sides: Sequence[int],
    count: int,
    polygons: float,
    seed: int,
    step: Callable[[], None] = lambda: None,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Pixels [N, F], labelled ones and others, with their class probabilities [N, count].

    ``values`` [n, F] and ``classes`` [n] (from 0) are the features of labelled pixels, of so many
    ``bands`` and with squares of ``sides`` pixels; ``landscape`` [m, F] are those of pixels from
    all over the images; ``polygons`` is the mean number of polygons a class. ``step`` is called
    between the classifiers.

    The opinion is the mean of random forests, each on a wider neighbourhood, and of linear
    discriminants (with the shrinkage of Ledoit and Wolf 2004), for which a handful of polygons is
    enough. Such classifiers keep to what they have seen: where the land looks like no polygon,
    theirs is a sounder guess than a network's. A network that learns it (distillation: Hinton et
    al. 2015, arXiv 1503.02531) is as sound, smoother, and needs no trees to be kept.
    """
    rng = np.random.default_rng(seed)
    picked = rng.permutation(len(values))[:MOST]
    values, classes = values[picked], classes[picked]
    # However little of the land was found, the labelled pixels teach.
    pixels = np.concatenate([landscape, values[: max(len(landscape), LABELLED)]])
    chances = np.zeros((len(pixels), count), np.float32)
    total = 0.0
    for model, columns, weight in _classifiers(classes, bands, sides, polygons, seed):
        step()
        model.fit(values[:, columns], classes)
        chances[:, model.classes_] += weight * model.predict_proba(pixels[:, columns])
        total += weight
    return pixels, chances / np.float32(total)


def _classifiers(
    classes: NDArray[np.int64], bands: int, sides: Sequence[int], polygons: float, seed: int
) -> Iterator[tuple[Any, NDArray[np.int64], float]]:
    """Each classifier, the features that it sees, and its weight."""
    every = np.arange(feature_count(bands, sides))
    squares = [
        np.concatenate([every[:bands], every[bands * (1 + 2 * i) : bands * (3 + 2 * i)]])
        for i in range(len(sides))
    ]
    threads = torch.get_num_threads()
    # The one on bands alone guesses best where the land looks like no polygon.
    for columns, weight in ((every[:bands], 2.0), *((part, 1.0) for part in (*squares[:2], every))):
        yield RandomForestClassifier(TREES, random_state=seed, n_jobs=threads), columns, weight
    found = np.unique(classes, return_counts=True)[1]
    if len(found) > 1 and found.min() >= FEWEST:
        for columns in (squares[0], every):
            model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
            yield make_pipeline(StandardScaler(), model), columns, min(1.0, MANY / polygons) ** 2
