"""Where the training chips are cut: every class gets its turn, however small it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..data.unseen import Box
from .samples import Chip, Samples
from .thinning import thinned

LEAST_DRAWS, DRAWS_A_CLASS = 200, 20
_NOWHERE = np.zeros((0, 3), np.int64)


@dataclass(frozen=True)
class _Unit:
    """What a unit has of a class (from 1): pixels [n, 3] to aim at, and how often that is done."""

    number: int
    index: int
    weight: float
    places: NDArray[np.int64]


class Aim:
    """Draws chips around labelled pixels of the wanted units.

    A class is drawn (each as often as the others), then one of its units by the square root of
    its area, then one of the unit's pixels; the chip holds it at a random place. ``near`` has for
    each image the box that no chip may leave, where a region must not be seen.
    """

    def __init__(
        self,
        samples: Samples,
        units: NDArray[np.int32],
        size: int,
        near: Sequence[Box | None] = (),
    ) -> None:
        self.samples = samples
        self.units = np.sort(units)
        self.size = size
        self.near = near
        wanted = set(self.units.tolist())
        self.by_class: dict[int, list[_Unit]] = {}
        for unit, classes in samples.points.items():
            if unit not in wanted:
                continue
            for index, places in classes.items():
                weight = float(np.sqrt(samples.pixels[unit][index]))
                self.by_class.setdefault(index, []).append(_Unit(unit, index, weight, places))

    def draw(self, rng: np.random.Generator) -> Chip:
        """One chip, turned and mirrored at random."""
        classes = sorted(self.by_class)
        units = self.by_class[classes[int(rng.integers(len(classes)))]]
        weights = np.array([unit.weight for unit in units])
        places = units[int(rng.choice(len(units), p=weights / weights.sum()))].places
        image, row, column = (int(v) for v in places[int(rng.integers(len(places)))])
        down, right = (int(v) for v in rng.integers(self.size // 8, self.size * 7 // 8, 2))
        place = self._inside(image, row - down, column - right)
        chip = self.samples.chip(image, *place, self.size, self.units)
        return turned(chip, int(rng.integers(8)))

    def _inside(self, image: int, row: int, column: int) -> tuple[int, int]:
        """A chip's first pixel, moved so that it holds no pixel of an unseen region."""
        box = self.near[image] if self.near else None
        if box is None:
            return row, column
        left, top, right, bottom = box
        return (
            max(min(row, bottom - self.size), top),
            max(min(column, right - self.size), left),
        )

    def table(self, limit: int = 200_000) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Values [N, C] and classes [N] (from 0) of the labelled pixels, at most ``limit``."""
        places, classes, _ = self.places(limit)
        return self.samples.values(places), classes

    def places(self, limit: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int32]]:
        """Image, row and column [N, 3], classes [N] (from 0) and units [N] of labelled pixels.

        At most ``limit`` of them, of each class some (`thinned`).
        """
        units = [unit for entries in self.by_class.values() for unit in entries]
        where = [unit.places for unit in units]
        counts = [len(places) for places in where]
        places = np.concatenate([*where, _NOWHERE])
        classes = np.repeat([unit.index - 1 for unit in units], counts).astype(np.int64)
        numbers = np.repeat([unit.number for unit in units], counts).astype(np.int32)
        if len(places) > limit:
            kept = np.sort(thinned(classes, limit, np.random.default_rng(0)))
            places, classes, numbers = places[kept], classes[kept], numbers[kept]
        return places, classes, numbers

    def sampled(self, seed: int) -> dict[int, int]:
        """Labelled pixels of each class in some drawn chips: what training would see.

        So many that no class is missed by chance.
        """
        rng = np.random.default_rng(seed)
        total: dict[int, int] = {}
        for _ in range(max(LEAST_DRAWS, DRAWS_A_CLASS * len(self.by_class))):
            found, counts = np.unique(self.draw(rng).classes, return_counts=True)
            for index, count in zip(found.tolist(), counts.tolist(), strict=True):
                if index:
                    total[index] = total.get(index, 0) + count
        return total

    def polygons(self) -> float:
        """The mean number of units (polygons) a class."""
        return float(np.mean([len(units) for units in self.by_class.values()] or [0]))

    def pixels(self) -> dict[int, int]:
        """Labelled pixels of each class among the wanted units."""
        wanted = set(self.units.tolist())
        total: dict[int, int] = {}
        for unit, classes in self.samples.pixels.items():
            if unit in wanted:
                for index, count in classes.items():
                    total[index] = total.get(index, 0) + count
        return total


def turned(chip: Chip, which: int) -> Chip:
    """One of the eight flips and quarter turns of a square."""
    image, classes = chip.image, chip.classes
    if which >= 4:
        image, classes = image[:, :, ::-1], classes[:, ::-1]
    turns = which % 4
    return Chip(np.rot90(image, turns, (1, 2)).copy(), np.rot90(classes, turns).copy())


def cover(samples: Samples, units: NDArray[np.int32], size: int, margin: int) -> list[Chip]:
    """Chips that hold each labelled pixel of ``units`` once, ``margin`` pixels from the edge.

    Labels in the margin are removed, since a neighbour chip has them.
    """
    inner = size - 2 * margin
    squares: set[tuple[int, int, int]] = set()
    for (image, row, column), cell in samples.cells.items():
        # From the cells themselves: of a large unit only some pixels are kept to aim at.
        rows, columns = np.nonzero((cell.classes > 0) & np.isin(cell.units, units))
        places = np.stack([rows + row * samples.size, columns + column * samples.size], 1)
        squares.update((image, int(r), int(c)) for r, c in np.unique(places // inner, axis=0))
    chips = []
    for image, row, column in sorted(squares):
        chip = samples.chip(
            image, row * inner - margin, column * inner - margin, size, np.sort(units)
        )
        edge = np.ones_like(chip.classes, bool)
        edge[margin : size - margin, margin : size - margin] = False
        chip.classes[edge] = 0
        chips.append(chip)
    return chips
