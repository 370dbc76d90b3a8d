"""Which polygons are learnt from and which are scored: the committed files in benchmarks/splits.

    .venv/bin/python benchmarks/splits.py      writes them anew, where the scenes are

For each scene, seed and kind of split: the polygons held out, and of each class the rest in the
order in which they are drawn, so that a smaller training set is part of a larger one. Numbers are
places in the scene's list of polygons. Polygons that share ground are always on one side.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from scenes import Polygons
from subjects import Subject, all_subjects

FOLDER = Path(__file__).parent / "splits"
SEEDS = 5
KINDS = ("polygon", "region")
SIZES = (1, 3, 10, 30)
SHARE = 1 / 3
# Shares of the polygons that a region may hold; angles (degrees) of the cuts that are tried.
LEAST, MOST = 0.2, 0.45
ANGLES = (0, 45, 90, 135, 180, 225, 270, 315)


@dataclass(frozen=True)
class Split:
    """Numbers of the polygons held out, and by class of the others, in the order of drawing."""

    test: list[int]
    pool: dict[str, list[int]]

    def take(self, size: int) -> list[int]:
        """The training set of a size: the first ``size`` of each class, or all that there are."""
        return sorted(number for members in self.pool.values() for number in members[:size])


def read_splits(subject: Subject) -> dict[str, list[Split]]:
    """The committed splits of a scene, by kind, one a seed.

    Raises ValueError where they were made for another list of polygons.
    """
    data = json.loads((FOLDER / f"{subject.name}.json").read_text(encoding="utf-8"))
    if data["digest"] != subject.digest():
        raise ValueError(
            f"{subject.name}: its polygons are others than those that benchmarks/splits was made "
            "for; run benchmarks/splits.py"
        )
    return {kind: [Split(**split) for split in data[kind]] for kind in KINDS}


def scored_classes(subject: Subject, split: Split) -> list[str]:
    """The classes on both sides; with a reference of its own, those that it has."""
    if not split.test and subject.reference is not None:
        return list(subject.reference.reference_names.values())
    held = {str(subject.polygons.names[number]) for number in split.test}
    return sorted(held & set(split.pool))


def sizes_of(subject: Subject, split: Split) -> list[int]:
    """The sizes that at least half of the scored classes have polygons for."""
    counts = [len(split.pool[name]) for name in scored_classes(subject, split)]
    return [n for n in SIZES if 2 * sum(count >= n for count in counts) >= len(counts)]


def make_splits(subject: Subject) -> dict[str, Any]:
    """What the file of a scene holds."""
    groups = groups_of(subject.polygons)
    names = subject.polygons.names
    result: dict[str, Any] = {"polygons": len(names), "digest": subject.digest()}
    held: dict[str, list[np.ndarray]] = {
        "polygon": [
            _by_polygon(names, groups, np.random.default_rng([seed, 0])) for seed in range(SEEDS)
        ]
    }
    if subject.reference is not None:
        held["region"] = [np.zeros(len(names), bool)] * SEEDS
    else:
        held["region"] = _by_region(subject.polygons, groups)
    for kind in KINDS:
        result[kind] = [
            {"test": np.flatnonzero(mask).tolist(), "pool": _pool(names, mask, kind, seed)}
            for seed, mask in enumerate(held[kind])
        ]
    return result


def groups_of(polygons: Polygons) -> np.ndarray:
    """The group [N] of each polygon: those that share ground, directly or by others, are one."""
    shapes = polygons.geometries
    first, second = shapely.STRtree(shapes).query(shapes, predicate="intersects")
    shared = shapely.area(shapely.intersection(shapes[first], shapes[second])) > 0
    group = np.arange(len(shapes))
    changed = True
    while changed:
        lower = group.copy()
        np.minimum.at(lower, first[shared], group[second[shared]])
        changed = bool((lower != group).any())
        group = lower
    return group


def _pool(names: np.ndarray, held: np.ndarray, kind: str, seed: int) -> dict[str, list[int]]:
    rng = np.random.default_rng([seed, 1 + KINDS.index(kind)])
    return {
        str(name): rng.permutation(np.flatnonzero((names == name) & ~held)).tolist()
        for name in np.unique(names[~held])
    }


def _by_polygon(names: np.ndarray, groups: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Hold out [N] a third of each class's polygons, group by group, the rarest class first."""
    held = np.zeros(len(names), bool)
    classes, counts = np.unique(names, return_counts=True)
    for name in classes[np.argsort(counts, kind="stable")]:
        mine = names == name
        wanted = max(1, round(SHARE * mine.sum()))
        for group in rng.permutation(np.unique(groups[mine])):
            lacking = wanted - (held & mine).sum()
            with_it = held | (groups == group)
            if lacking <= 0:
                break
            # A large group may be more than a third; a class keeps something to learn from.
            if (with_it & mine).sum() > wanted + 0.5 * wanted or _emptied(names, held, with_it):
                continue
            held = with_it
    return held


def _emptied(names: np.ndarray, before: np.ndarray, after: np.ndarray) -> bool:
    """Whether holding out more leaves a class with nothing to learn from."""
    return bool(set(names[~before]) - set(names[~after]))


def _by_region(polygons: Polygons, groups: np.ndarray) -> list[np.ndarray]:
    """For each seed the polygons [N] beyond a straight cut, with the most classes on both sides.

    The first seed's cut is nearest to a third; the next are as different as there are cuts.
    """
    cuts = _cuts(polygons, groups)
    most = max(_on_both_sides(polygons.names, mask) for mask in cuts)
    cuts = [mask for mask in cuts if _on_both_sides(polygons.names, mask) == most]
    chosen: list[np.ndarray] = []
    for _ in range(SEEDS):

        def worth(mask: np.ndarray) -> float:
            other = [1 - (mask & c).sum() / (mask | c).sum() for c in chosen]
            return float(min(other, default=0.0) - 2 * abs(mask.mean() - SHARE))

        chosen.append(max(cuts, key=worth))
    return chosen


def _cuts(polygons: Polygons, groups: np.ndarray) -> list[np.ndarray]:
    """Every cut [N] at the angles that leaves a fair share beyond it; groups are not cut."""
    points = shapely.get_coordinates(shapely.centroid(polygons.geometries))
    _, index = np.unique(groups, return_inverse=True)
    centres = np.stack([np.bincount(index, column) for column in points.T], 1)
    centres /= np.bincount(index)[:, None]
    cuts = []
    for angle in np.radians(ANGLES):
        along = centres @ (np.cos(angle), np.sin(angle))
        for position in np.unique(along):
            mask = (along >= position)[index]
            if LEAST <= mask.mean() <= MOST:
                cuts.append(mask)
    return cuts


def _on_both_sides(names: np.ndarray, held: np.ndarray) -> int:
    return len(set(names[held]) & set(names[~held]))


def write_splits(subjects: Iterable[Subject]) -> None:
    """Write the files of scenes, and tell what is in them."""
    FOLDER.mkdir(exist_ok=True)
    for subject in subjects:
        data = make_splits(subject)
        text = json.dumps(data).replace('], "', '],\n"').replace('"test"', '\n"test"')
        (FOLDER / f"{subject.name}.json").write_text(text + "\n", encoding="utf-8")
        for kind, splits in read_splits(subject).items():
            for seed, split in enumerate(splits):
                scored = scored_classes(subject, split)
                print(f"{subject.name} {kind} {seed}: {len(split.test)} of {data['polygons']} held "
                      f"out, {len(scored)} classes, sizes {sizes_of(subject, split)}")  # fmt: skip


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        write_splits(all_subjects(Path(folder)))
