"""Which polygons are trained on and which are held out; no polygon is ever on both sides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ..errors import TilthError
from .label_model import Labels
from .unseen import Unseen, cut

_TRIALS = 200


@dataclass(frozen=True)
class Split:
    """The ids on either side, and the codes of classes that have nothing held out.

    Of the ``region`` that training never sees the objects are on neither side.
    """

    train_ids: frozenset[int]
    validation_ids: frozenset[int]
    unvalidated: frozenset[int] = field(default_factory=frozenset)
    region: Unseen | None = None


@dataclass(frozen=True)
class _Units:
    """What a split moves as one: ids of each unit, and pixels [N, K] of each by class."""

    ids: list[list[int]]
    pixels: np.ndarray
    codes: list[int]


def split(labels: Labels, how: str, seed: int = 0, fraction: float = 0.25) -> Split:
    """Hold out about ``fraction`` of every class's pixels, at least one unit where it has two.

    ``how``: "polygons" moves units (objects that share ground, a labelled area with all in it);
    "blocks" moves squares of ground with all objects whose centre lies in them; "regions" cuts off
    a region with about ``fraction`` of the pixels (see unseen.py), the same for all seeds, and
    moves units in the rest; "none" holds out nothing. The same seed gives the same split.

    Raises TilthError for another word, and for labels that no region can be cut off.
    """
    everything = frozenset(labels.ids)
    if how == "none":
        return Split(everything, frozenset(), frozenset(c.code for c in labels.classes))
    if how not in ("polygons", "blocks", "regions"):
        raise TilthError(f"split: {how!r} is not known; choose polygons, blocks, regions or none")
    units = _collect(labels, labels.units())
    region = None
    if how == "blocks":
        units = _blocks(labels, units)
    elif how == "regions":
        region = cut(labels, units.ids, units.pixels, fraction)
        units = _without(units, region.ids)
        everything -= region.ids
    held = _best_choice(units.pixels, fraction, np.random.default_rng(seed))
    validation = frozenset(id_ for unit in np.flatnonzero(held) for id_ in units.ids[unit])
    kept = units.pixels[held].sum(axis=0)
    return Split(
        everything - validation,
        validation,
        frozenset(code for code, pixels in zip(units.codes, kept, strict=True) if pixels == 0),
        region,
    )


def folds(labels: Labels, k: int, seed: int = 0) -> list[frozenset[int]]:
    """The ids of each of ``k`` folds, with units as in ``split`` and every class spread evenly.

    Classes with the fewest units are dealt first; each unit goes to the fold that has the fewest
    of its class, then the fewest of its pixels.
    """
    if k < 2:
        raise TilthError(f"folds: {k} is too few; give 2 or more")
    units = _collect(labels, labels.units())
    rng = np.random.default_rng(seed)
    present = units.pixels > 0
    count = np.zeros((k, len(units.codes)))
    pixels = np.zeros((k, len(units.codes)))
    fold_of = np.full(len(units.ids), -1)
    for kind in np.argsort(present.sum(axis=0), kind="stable"):
        todo = rng.permutation(np.flatnonzero(present[:, kind] & (fold_of < 0)))
        for unit in sorted(todo, key=lambda u: -units.pixels[u, kind]):
            order = rng.permutation(k)
            best = min(order, key=lambda f: (count[f, kind], pixels[f, kind], count[f].sum()))
            fold_of[unit] = best
            count[best] += present[unit]
            pixels[best] += units.pixels[unit]
    fold_of[fold_of < 0] = 0  # units without any pixel of their own
    return [
        frozenset(id_ for unit in np.flatnonzero(fold_of == fold) for id_ in units.ids[unit])
        for fold in range(k)
    ]


def _collect(labels: Labels, unit_of: dict[int, int]) -> _Units:
    codes = [entry.code for entry in labels.classes]
    names = sorted(set(unit_of.values()))
    position = {name: index for index, name in enumerate(names)}
    ids: list[set[int]] = [set() for _ in names]
    pixels = np.zeros((len(names), len(codes)))
    column = {code: index for index, code in enumerate(codes)}
    for polygon in labels.polygons:
        row = position[unit_of[polygon.id]]
        ids[row].add(polygon.id)
        pixels[row, column[polygon.code]] += polygon.pixels
    return _Units([sorted(members) for members in ids], pixels, codes)


def _without(units: _Units, ids: frozenset[int]) -> _Units:
    kept = [row for row, members in enumerate(units.ids) if members[0] not in ids]
    return _Units([units.ids[row] for row in kept], units.pixels[kept], units.codes)


def _best_choice(pixels: np.ndarray, fraction: float, rng: np.random.Generator) -> np.ndarray:
    """Of many random choices, the mask of units [N] to hold out that suits all classes best."""
    best, best_cost = np.zeros(len(pixels), bool), np.inf
    # Chance evens many units out by itself.
    for _ in range(_TRIALS if len(pixels) < 2000 else 10):
        held = _random_choice(pixels > 0, fraction, rng)
        cost = _cost(pixels, held, fraction)
        if cost < best_cost - 1e-12:
            best, best_cost = held, cost
    return best


def _random_choice(present: np.ndarray, fraction: float, rng: np.random.Generator) -> np.ndarray:
    """Class by class, the rarest first, hold out about ``fraction`` of the units with it."""
    held = np.zeros(len(present), bool)
    left = present.sum(axis=0)
    mixed = present.sum(axis=1) > 1
    for kind in np.argsort(left, kind="stable"):
        members = np.flatnonzero(present[:, kind])
        if len(members) < 2:
            continue
        wanted = min(max(1, round(fraction * len(members))), len(members) - 1)
        lacking = max(wanted - int(held[members].sum()), 0)
        free = rng.permutation(members[~held[members]])
        if not mixed[free].any():
            chosen = free[: min(lacking, int(left[kind]) - 1)]
        else:
            chosen = _choose_mixed(free, lacking, present, left.copy())
        held[chosen] = True
        left = left - present[chosen].sum(axis=0)
    return held


def _choose_mixed(
    free: np.ndarray, lacking: int, present: np.ndarray, left: np.ndarray
) -> np.ndarray:
    """The first ``lacking`` units that leave every class they carry one unit to train on."""
    chosen: list[int] = []
    for unit in free:
        if len(chosen) == lacking:
            break
        if np.all(left[present[unit]] >= 2):
            chosen.append(int(unit))
            left -= present[unit]
    return np.array(chosen, np.int64)


def _cost(pixels: np.ndarray, held: np.ndarray, fraction: float) -> float:
    """How far the held-out shares of the classes are from ``fraction``; empty sides cost most."""
    total = pixels.sum(axis=0)
    share = pixels[held].sum(axis=0) / np.maximum(total, 1)
    several = (pixels > 0).sum(axis=0) >= 2
    missing = several & ((share == 0) | (share == 1))
    return float(np.abs(share - fraction)[several].sum() + 100 * missing.sum())


def _blocks(labels: Labels, units: _Units) -> _Units:
    """Merge the units whose centres lie in one square; squares shrink until classes can split."""
    centres = _centres(labels, units)
    several = (units.pixels > 0).sum(axis=0) >= 2
    for side in (4, 6, 8, 12, 16):
        block = _block_of(centres, side)
        merged = _merge(units, block)
        if np.all((merged.pixels > 0).sum(axis=0)[several] >= 2):
            break
    return merged


def _centres(labels: Labels, units: _Units) -> np.ndarray:
    """Image, column and row [N, 3] of each unit's centre, from its first object."""
    first = {polygon.id: polygon for polygon in reversed(labels.polygons)}
    rows = []
    for ids in units.ids:
        areas = [first[id_] for id_ in ids if first[id_].background]
        polygon = (areas or [first[ids[0]]])[0]
        centre = polygon.pixel_geometry.centroid
        rows.append((polygon.image, centre.x, centre.y))
    return np.array(rows, float).reshape(-1, 3)


def _block_of(centres: np.ndarray, side: int) -> np.ndarray:
    """The block [N] of each centre: squares of which ``side`` span the labels of an image."""
    block = np.zeros(len(centres), np.int64)
    for image in np.unique(centres[:, 0]):
        mine = centres[:, 0] == image
        low, high = centres[mine, 1:].min(axis=0), centres[mine, 1:].max(axis=0)
        edge = max(float((high - low).max()) / side, 1e-9)
        cell = np.minimum((centres[mine, 1:] - low) // edge, side - 1).astype(np.int64)
        block[mine] = (int(image) * side + cell[:, 1]) * side + cell[:, 0]
    return block


def _merge(units: _Units, group: Sequence[int] | np.ndarray) -> _Units:
    names, index = np.unique(group, return_inverse=True)
    ids: list[list[int]] = [[] for _ in names]
    pixels = np.zeros((len(names), units.pixels.shape[1]))
    for unit, target in enumerate(index):
        ids[target] += units.ids[unit]
        pixels[target] += units.pixels[unit]
    return _Units([sorted(members) for members in ids], pixels, units.codes)
