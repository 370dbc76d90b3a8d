"""The unseen region: ground beyond a straight line, or a whole scene, that training never sees."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from rasterio.transform import Affine

from ..errors import TilthError
from .grid import Grid, compose
from .label_model import Labels

# Left, top, right and bottom in an image's pixels, the last two exclusive.
Box = tuple[int, int, int, int]
EVERYWHERE: Box = (-(10**9), -(10**9), 10**9, 10**9)

# Shares of the labelled pixels that a region may have: of less nothing can be said, and with more
# too little is left to learn from.
_LEAST, _MOST, _MOST_OF_SCENES = 0.1, 0.45, 0.6
_LINES = 200
# How warnings of what is worse there begin.
THERE = "in the unseen region"
# Classes that a score near and one in the region must have in common.
_CLASSES = 2


@dataclass(frozen=True)
class Unseen:
    """A region that training must not see.

    ``name`` is for people ("the east"), ``ids`` are the objects that lie there, at least in part,
    and ``near`` has for each image the box of pixels that may be trained on (None: no pixel).
    """

    name: str
    ids: frozenset[int]
    near: tuple[Box | None, ...]


@dataclass(frozen=True)
class _Cut:
    """A way to cut: which units [N] lie beyond, in part or whole, and how much of each does."""

    name: str
    beyond: np.ndarray
    part: np.ndarray
    near: tuple[Box | None, ...]
    scene: bool


def cut(labels: Labels, units: Sequence[Sequence[int]], pixels: np.ndarray, share: float) -> Unseen:
    """Cut off a region with about ``share`` of the labelled pixels.

    ``units`` are the ids that a split moves as one, ``pixels`` [N, K] those of each unit by class.
    A line lies along one of the axes of the image (of the first one, where several lie on one
    grid's axes); of several scenes, a whole one is rather taken. All that touches the region is
    out of the training, and each class keeps a unit outside. Of such cuts the one is chosen that
    lets the most classes be scored on both sides, then the one with the share that was asked for.
    Raises TilthError where fewer than two classes could be.
    """
    unit_of = {id_: row for row, ids in enumerate(units) for id_ in ids}
    owner = np.array([unit_of[polygon.id] for polygon in labels.polygons])
    best: tuple[tuple[float, ...], _Cut] | None = None
    for one in _cuts(labels, owner, len(units)):
        cost = _cost(one, pixels, share)
        if cost is not None and (best is None or cost < best[0]):
            best = (cost, one)
    if best is None:
        raise TilthError(
            "split regions: no straight line leaves polygons of two classes beyond it and, before "
            "it, two of each of these and one of every other class; draw polygons in more places, "
            "or choose the split polygons"
        )
    chosen = best[1]
    ids = frozenset(id_ for row in np.flatnonzero(chosen.beyond) for id_ in units[int(row)])
    return Unseen(chosen.name, ids, chosen.near)


def _cost(one: _Cut, pixels: np.ndarray, share: float) -> tuple[float, ...] | None:
    """What is wrong with a cut, the worst first; None where it can't be used."""
    near = pixels[~one.beyond]
    there = pixels * one.part[:, None]
    classes = pixels.sum(axis=0) > 0
    if np.any(classes & (near.sum(axis=0) == 0)):
        return None
    # Two near units: one to learn from, one to score.
    shared = there.sum(axis=0) >= 1
    both = int((shared & ((near > 0).sum(axis=0) >= 2)).sum())
    if both < _CLASSES:
        return None
    total = max(pixels.sum(), 1)
    far, left = there.sum() / total, near.sum() / total
    most = _MOST_OF_SCENES if one.scene else _MOST
    # What straddles the line is neither trained on nor wholly scored: a loss on the near side.
    away = abs(far - share) + abs(left - (1 - share))
    return (not _LEAST <= far <= most, -both, -int(shared.sum()), not one.scene, away)


def _cuts(labels: Labels, owner: np.ndarray, count: int) -> Iterator[_Cut]:
    images = np.array([polygon.image for polygon in labels.polygons])
    if len(labels.grids) > 1:
        for image in range(len(labels.grids)):
            there = np.bincount(owner[images == image], minlength=count)
            everywhere = np.bincount(owner, minlength=count)
            near = tuple(
                None if other == image else EVERYWHERE for other in range(len(labels.grids))
            )
            part = there / np.maximum(everywhere, 1)
            yield _Cut(f"image {image + 1}", there > 0, part, near, True)
    frames = [_frame(labels.grids[0], grid) for grid in labels.grids]
    if None in frames:
        return
    boxes = _boxes(labels, [frame for frame in frames if frame is not None])
    low, high = np.full((count, 2), np.inf), np.full((count, 2), -np.inf)
    np.minimum.at(low, owner, boxes[:, :2])
    np.maximum.at(high, owner, boxes[:, 2:])
    for axis in (0, 1):
        names = _names(labels.grids[0], axis)
        length = np.maximum(high[:, axis] - low[:, axis], 1e-9)
        for line in _lines(low[:, axis], high[:, axis]):
            after = np.clip((high[:, axis] - line) / length, 0, 1)
            for upper, part in ((True, after), (False, 1 - after)):
                near = tuple(
                    _box(frame, axis, line, upper) for frame in frames if frame is not None
                )
                yield _Cut(names[upper], part > 0, part, near, False)


def _lines(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Places of lines, in whole pixels: where units begin and end, at most _LINES of them."""
    places = np.unique(np.concatenate([np.floor(low), np.ceil(high)]))
    if len(places) > _LINES:
        places = places[np.linspace(0, len(places) - 1, _LINES).astype(int)]
    return places


def _frame(first: Grid, grid: Grid) -> tuple[float, float, float, float] | None:
    """Factors, offsets (x, y) from an image's pixels to the first one's; None where axes differ."""
    if grid is first:
        return 1.0, 1.0, 0.0, 0.0
    if first.crs is None or first.crs != grid.crs:
        return None
    step = compose(~first.transform, grid.transform)
    if max(abs(step.b), abs(step.d)) > 1e-9:
        return None
    return step.a, step.e, step.c, step.f


def _boxes(labels: Labels, frames: Sequence[tuple[float, float, float, float]]) -> np.ndarray:
    """Left, top, right, bottom [M, 4] of each object, in the first image's pixels."""
    boxes = np.zeros((len(labels.polygons), 4))
    for row, polygon in enumerate(labels.polygons):
        grid = labels.grids[polygon.image]
        left, top, right, bottom = polygon.labelled.bounds
        x = np.clip([left, right], 0, grid.width) * frames[polygon.image][0]
        y = np.clip([top, bottom], 0, grid.height) * frames[polygon.image][1]
        x, y = np.sort(x + frames[polygon.image][2]), np.sort(y + frames[polygon.image][3])
        boxes[row] = x[0], y[0], x[1], y[1]
    return boxes


def _box(frame: tuple[float, float, float, float], axis: int, line: float, upper: bool) -> Box:
    """The pixels of an image before a line of the first image's frame.

    ``upper``: the region has the greater numbers there.
    """
    place = round((line - frame[axis + 2]) / frame[axis], 6)
    ends = list(EVERYWHERE)
    if upper == (frame[axis] > 0):
        ends[axis + 2] = int(np.ceil(place))
    else:
        ends[axis] = int(np.floor(place))
    return ends[0], ends[1], ends[2], ends[3]


def _names(grid: Grid, axis: int) -> dict[bool, str]:
    """What the parts before (False) and beyond (True) a line are called."""
    place: Affine = grid.transform
    if grid.crs is None or max(abs(place.b), abs(place.d)) > 1e-9 * abs(place.a):
        before, beyond = (("left", "right"), ("top", "bottom"))[axis]
        return {False: f"the {before} part", True: f"the {beyond} part"}
    names = (("the west", "the east"), ("the north", "the south"))[axis]
    turned = place.a < 0 if axis == 0 else place.e > 0
    return {False: names[turned], True: names[not turned]}
