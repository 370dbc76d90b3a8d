"""Pixels from all over the images, labelled or not: what the land looks like."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from rasterio.windows import Window

from .data.imagery import Image
from .data.unseen import Box
from .model.decoders.local import SIDES
from .model.decoders.neighbourhood import feature_count, features
from .normalise import Normalisation
from .training.samples import Chip
from .training.tokens import Tokens, within

# How many of them training looks at.
PIXELS = 20_000
# Squares along either side of a part of an image; more where few of their pixels are valid. Many
# small ones, since what they miss the branch that learns of them only guesses (docs/trials.md).
ACROSS = 32, 64
# Where the backbone looks at each, which takes its time: larger ones, of which so many are chosen
# that show all kinds of land, and of each some pixels.
ACROSS_SEEN, LOOKS = (22, 48), 128
ENOUGH = 2000
# Chips from all over the images, and how many values they may have in all.
VIEWS, FEWEST_VIEWS, VIEW_VALUES = 96, 8, 16_000_000
# The pixels along a square's side, and those around it that their features need.
SIDE, MARGIN = 5, max(SIDES) // 2


def landscape(
    images: Sequence[Image],
    normalisations: Sequence[Normalisation],
    seed: int,
    near: Sequence[Box | None] = (),
    tokens: Tokens | None = None,
) -> NDArray[np.float32]:
    """Features [N, F] (model/decoders/local.py) of pixels from all over the images.

    ``near`` has for each image the box that they are taken from (None: not from this image), where
    training must not see a region; empty, they come from everywhere. With ``tokens``, the plain
    backbone's follow the others, and the pixels are as many as time allows for.
    """
    rng = np.random.default_rng(seed)
    if tokens is not None and not tokens.dim:
        tokens = None
    parts = []
    for index, (image, normalisation) in enumerate(zip(images, normalisations, strict=True)):
        box = near[index] if near else (0, 0, image.width, image.height)
        if box is not None:
            values = _Ground(image, normalisation, box).values(tokens, rng, len(images))
            picked = rng.permutation(len(values))[: PIXELS // len(images)]
            parts.append(values[np.sort(picked)])
    return np.concatenate(parts)


def views(
    images: Sequence[Image],
    normalisations: Sequence[Normalisation],
    size: int,
    seed: int,
    near: Sequence[Box | None] = (),
) -> list[Chip]:
    """Chips of ``size`` pixels from all over the images, at random places, without labels.

    ``near`` is as for `landscape`. Places where most pixels are invalid are left out.
    """
    rng = np.random.default_rng(seed)
    most = max(min(VIEWS, VIEW_VALUES // (size * size * images[0].count)), FEWEST_VIEWS)
    each = max(most // len(images), 1)
    chips = []
    for index, (image, normalisation) in enumerate(zip(images, normalisations, strict=True)):
        box = near[index] if near else (0, 0, image.width, image.height)
        if box is None:
            continue
        inside = min(size, image.width) * min(size, image.height)
        for _ in range(each):
            column = _start(box[0], box[2], image.width, size, rng)
            row = _start(box[1], box[3], image.height, size, rng)
            if column is None or row is None:
                break
            values, valid = normalisation.read(image, Window(column, row, size, size))
            if 2 * np.count_nonzero(valid) > inside:
                chips.append(Chip(values, np.zeros(valid.shape, np.uint8)))
    return chips


@dataclass(frozen=True)
class _Ground:
    """A part of an image that may be looked at: all of it, or what lies in a box."""

    image: Image
    normalisation: Normalisation
    box: Box

    def read(self, window: Window) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Standardised values [C, H, W], and which pixels are valid [H, W]."""
        return self.normalisation.read(self.image, window)

    def values(
        self, tokens: Tokens | None, rng: np.random.Generator, images: int
    ) -> NDArray[np.float32]:
        """The features [N, F] of valid pixels in squares that are spread over the box."""
        side = SIDE if tokens is None else tokens.chip // 2
        count = feature_count(self.image.count, SIDES) + (0 if tokens is None else tokens.dim)
        best = np.zeros((0, count), np.float32)
        for across in ACROSS if tokens is None else ACROSS_SEEN:
            squares = list(_squares(self.image, self.box, across, side))
            if tokens is None:
                parts = [self._local(window) for window in squares]
            else:
                parts = self._looks(squares, tokens, rng, images)
            found = np.concatenate([best[:0], *parts])
            best = found if len(found) >= len(best) else best
            if len(best) >= min(ENOUGH, PIXELS // images):
                break
        return best

    def _looks(
        self, squares: Sequence[Window], tokens: Tokens, rng: np.random.Generator, images: int
    ) -> list[NDArray[np.float32]]:
        """The features and tokens [n, F] of some pixels of each of the squares that are looked at,
        which in this image, one of so many, are as many as there is time for."""
        started = time.monotonic()
        order = self._order(squares, rng)[: max(LOOKS // images, 1)]
        most = -(-PIXELS // (images * max(len(order), 1)))
        parts: list[NDArray[np.float32]] = []
        for place in order:
            if tokens.enough(len(parts), started, images):
                break
            parts.append(self._seen(squares[place], tokens, rng, most))
        return parts

    def _order(self, squares: Sequence[Window], rng: np.random.Generator) -> list[int]:
        """In which order squares are looked at, by their numbers: those by turns that lie anywhere
        and that are least like all before, so that few of them show all kinds of land.

        Those without valid pixels are left out.
        """
        looks = ((place, self._kind(window)) for place, window in enumerate(squares))
        there = {place: look for place, look in looks if look is not None}
        if not there:
            return []
        places, kinds = np.array(list(there)), np.stack(list(there.values()))
        spread = farthest_first(kinds / (kinds.std(0) + 1e-3), rng)
        anywhere = rng.permutation(len(places))
        turns = np.stack([anywhere, spread], 1).ravel()
        return list(dict.fromkeys(places[turns].tolist()))

    def _kind(self, window: Window) -> NDArray[np.float32] | None:
        """The means and deviations of a window's valid pixels [2 C]; None where it has none."""
        values, valid = self.read(window)
        inside = values[:, valid]
        return np.concatenate([inside.mean(1), inside.std(1)]) if inside.size else None

    def _local(self, window: Window) -> NDArray[np.float32]:
        """The features [N, F] of a window's valid pixels."""
        values, valid = self.read(_with_margin(window, MARGIN))
        inner = np.s_[MARGIN:-MARGIN, MARGIN:-MARGIN]
        return _features(values)[(slice(None), *inner)][:, valid[inner]].T

    def _seen(
        self, window: Window, tokens: Tokens, rng: np.random.Generator, most: int
    ) -> NDArray[np.float32]:
        """The features and tokens [N, F] of at most so many of a window's valid pixels, at random.

        It is seen with as much around it as a map's chip has.
        """
        margin = tokens.chip // 4
        top, left = window.row_off - margin, window.col_off - margin
        values, valid = self.read(Window(left, top, tokens.chip, tokens.chip))
        inner = valid[margin : margin + window.height, margin : margin + window.width]
        rows, columns = np.nonzero(inner)
        picked = rng.permutation(len(rows))[:most]
        rows, columns = rows[picked] + margin, columns[picked] + margin
        here = _features(values)[:, rows, columns].T
        if not len(rows):
            return np.zeros((0, here.shape[1] + tokens.dim), np.float32)
        seen = tokens.look(within(values, top, left, self.box))
        return np.concatenate([here, tokens.pick(seen, rows, columns)], 1)


def _features(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """The features [F, H, W] of standardised values [C, H, W]."""
    return features(torch.from_numpy(values)[None], SIDES)[0].numpy()


def farthest_first(points: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.int64]:
    """An order of points [N, F] in which each is the farthest from all before it; the first is
    random.

    Source: Gonzalez 1985, "Clustering to minimize the maximum intercluster distance".
    """
    order = np.zeros(len(points), np.int64)
    order[0] = rng.integers(len(points))
    distance = np.full(len(points), np.inf)
    for number in range(1, len(points)):
        distance = np.minimum(distance, ((points - points[order[number - 1]]) ** 2).sum(1))
        distance[order[:number]] = -1
        order[number] = distance.argmax()
    return order


def _with_margin(window: Window, margin: int) -> Window:
    return Window(
        window.col_off - margin,
        window.row_off - margin,
        window.width + 2 * margin,
        window.height + 2 * margin,
    )


def _squares(image: Image, box: Box, across: int, side: int) -> Iterator[Window]:
    """Squares in a box, at most so many across; where it is a part of the image, what is around
    them is in it, too."""
    left, right = _between(box[0], box[2], image.width)
    top, bottom = _between(box[1], box[3], image.height)
    if left >= right or top >= bottom:
        return
    width, height = min(side, right - left), min(side, bottom - top)
    for row in _firsts(top, bottom - height, across, side):
        for column in _firsts(left, right - width, across, side):
            yield Window(column, row, width, height)


def _firsts(first: int, last: int, count: int, side: int) -> list[int]:
    """Where squares begin from ``first`` to ``last``: as many as there is room for, at most so
    many."""
    count = min(count, (last - first) // side + 2)
    return np.unique(np.linspace(first, last, count).astype(int)).tolist()


def _start(first: int, end: int, total: int, size: int, rng: np.random.Generator) -> int | None:
    """Where a chip begins, along one axis of ``total`` pixels, so that it stays in first..end.

    It may reach beyond an image that is smaller than it. None where it has no room.
    """
    low, high = max(first, 0), min(end, total)
    if high - low >= size:
        return int(rng.integers(low, high - size + 1))
    return 0 if first <= 0 and end >= total else None


def _between(first: int, end: int, size: int) -> tuple[int, int]:
    """The pixels along one axis whose surroundings are inside first..end, or beyond the image."""
    return (
        first + MARGIN if first > 0 else 0,
        end - MARGIN if end < size else size,
    )
