"""Pixels from all over the images, labelled or not: what the land looks like."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from .data.imagery import Image
from .data.unseen import Box
from .normalise import Normalisation

# How many of them training looks at.
PIXELS = 20_000
# Squares along either side of a part of an image, and the pixels along a square's.
ACROSS, SIDE = 16, 12


def landscape(
    images: Sequence[Image],
    normalisations: Sequence[Normalisation],
    seed: int,
    near: Sequence[Box | None] = (),
) -> NDArray[np.float32]:
    """Standardised pixels [N, C] from all over the images.

    ``near`` has for each image the box that they are taken from (None: not from this image), where
    training must not see a region; empty, they come from everywhere.
    """
    rng = np.random.default_rng(seed)
    parts = []
    for index, (image, normalisation) in enumerate(zip(images, normalisations, strict=True)):
        values = _values(image, near[index]) if near else image.sample()
        picked = rng.permutation(len(values))[: PIXELS // len(images)]
        pixels = values[np.sort(picked)].T[:, :, None]
        parts.append(normalisation.apply(pixels, np.ones(pixels.shape[1:], bool))[:, :, 0].T)
    return np.concatenate(parts)


def _values(image: Image, box: Box | None) -> NDArray[np.float32]:
    """Valid pixels [N, C] from squares that are evenly spread over a part of an image."""
    parts = [np.zeros((0, image.count), np.float32)]
    for window in _squares(image, box) if box is not None else ():
        values, valid = image.read(window)
        parts.append(values[:, valid].T)
    return np.concatenate(parts)


def _squares(image: Image, box: Box) -> Iterator[Window]:
    left, top = max(box[0], 0), max(box[1], 0)
    right, bottom = min(box[2], image.width), min(box[3], image.height)
    if left >= right or top >= bottom:
        return
    width, height = min(SIDE, right - left), min(SIDE, bottom - top)
    for row in np.unique(np.linspace(top, bottom - height, ACROSS).astype(int)):
        for column in np.unique(np.linspace(left, right - width, ACROSS).astype(int)):
            yield Window(int(column), int(row), width, height)
