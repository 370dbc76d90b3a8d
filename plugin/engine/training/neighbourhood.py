"""The neighbourhood features of labelled pixels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from ..model.decoders.neighbourhood import feature_count, features
from .samples import Samples

_NOBODY = np.zeros(0, np.int32)


def features_at(
    samples: Samples, places: NDArray[np.int64], sides: Sequence[int]
) -> NDArray[np.float32]:
    """The features [N, F] of pixels [N, 3] (image, row, column) that lie in cells.

    ``sides`` are those of the squares around a pixel (model/decoders/neighbourhood.py).
    """
    if not sides:
        return samples.values(places)
    size, margin = samples.size, max(sides) // 2
    keys = places.copy()
    keys[:, 1:] //= size
    result = np.zeros((len(places), feature_count(samples.bands, sides)), np.float32)
    for key in np.unique(keys, axis=0):
        image, row, column = (int(part) for part in key)
        origin = (row * size - margin, column * size - margin)
        chip = samples.chip(image, *origin, size + 2 * margin, _NOBODY)
        found = features(torch.from_numpy(chip.image)[None], sides)[0].numpy()
        mine = (keys == key).all(1)
        rows, columns = (places[mine, 1:] - origin).T
        result[mine] = found[:, rows, columns].T
    return result
