"""The labelled parts of the images, held in memory as square cells, and chips cut from them.

Only cells that hold labels, and their neighbours for context, are read, whatever the image's size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# (image index, row, column, size) -> values [C, size, size] standardised, valid [size, size]
ReadImage = Callable[[int, int, int, int], tuple[NDArray[np.float32], NDArray[np.bool_]]]
# (image index, row, column, size) -> class index + 1 or 0 [size, size], unit id or 0 [size, size]
ReadLabels = Callable[[int, int, int, int], tuple[NDArray[np.uint8], NDArray[np.int32]]]

Key = tuple[int, int, int]  # image, cell row, cell column
MAX_BYTES = 1_500_000_000
POINTS_PER_UNIT = 4000


@dataclass
class Cell:
    """A square of one image: values [C, S, S] (float16), classes [S, S] (0 = unlabelled), and the
    units [S, S] that the labels come from (polygons, or labelled areas; 0 = none)."""

    values: NDArray[np.float16]
    classes: NDArray[np.uint8]
    units: NDArray[np.int32]


@dataclass
class Chip:
    """What the network sees of a place: image [C, S, S], classes [S, S] with 0 where no label of
    the wanted units is."""

    image: NDArray[np.float32]
    classes: NDArray[np.uint8]


class Samples:
    """Cells of ``size`` pixels a side around the labels; a chip may lie anywhere over them."""

    def __init__(self, size: int, bands: int) -> None:
        self.size = size
        self.bands = bands
        self.cells: dict[Key, Cell] = {}
        # unit -> class index -> pixels [n, 3]: image, row, column
        self.points: dict[int, dict[int, NDArray[np.int64]]] = {}
        # unit -> class index -> how many labelled pixels there are
        self.pixels: dict[int, dict[int, int]] = {}

    def fill(
        self,
        keys: Sequence[Key],
        read_image: ReadImage,
        read_labels: ReadLabels,
        step: Callable[[int, int], None],
        seed: int = 0,
    ) -> bool:
        """Read the cells ``keys`` and their neighbours; ``step(done, of)`` is called as it goes.

        Returns False when not all could be held in memory; a random part of ``keys`` is then kept.
        """
        room = max(MAX_BYTES // (self.size**2 * (2 * self.bands + 5)), 1)
        kept = list(keys)
        wanted = _with_neighbours(kept)
        complete = len(wanted) <= room
        if not complete:
            order = np.random.default_rng(seed).permutation(len(kept))
            kept = [kept[i] for i in order[: max(room // 9, 1)]]
            wanted = _with_neighbours(kept)
        labelled = frozenset(kept)
        for done, key in enumerate(wanted):
            step(done, len(wanted))
            image, row, column = key[0], key[1] * self.size, key[2] * self.size
            values, valid = read_image(image, row, column, self.size)
            classes, units = read_labels(image, row, column, self.size)
            classes = np.where(valid, classes, 0).astype(np.uint8)
            self.cells[key] = Cell(values.astype(np.float16), classes, units)
            if key in labelled:
                self._collect(key, classes, units)
        self._thin(seed)
        return complete

    def _collect(self, key: Key, classes: NDArray[np.uint8], units: NDArray[np.int32]) -> None:
        rows, columns = np.nonzero(classes)
        if not len(rows):
            return
        where = np.stack(
            [
                np.full(len(rows), key[0]),
                rows + key[1] * self.size,
                columns + key[2] * self.size,
            ],
            1,
        )
        found = units[rows, columns].astype(np.int64) * 256 + classes[rows, columns]
        for code in np.unique(found):
            unit, index = divmod(int(code), 256)
            pixels = self.points.setdefault(unit, {})
            more = where[found == code]
            pixels[index] = np.concatenate([pixels[index], more]) if index in pixels else more

    def _thin(self, seed: int) -> None:
        """Keep at most POINTS_PER_UNIT places of each unit and class: enough to aim chips at."""
        rng = np.random.default_rng(seed)
        for unit, classes in self.points.items():
            self.pixels[unit] = {index: len(places) for index, places in classes.items()}
            for index, places in classes.items():
                if len(places) > POINTS_PER_UNIT:
                    picked = rng.choice(len(places), POINTS_PER_UNIT, replace=False)
                    classes[index] = places[np.sort(picked)]

    def values(self, places: NDArray[np.int64]) -> NDArray[np.float32]:
        """The values [N, C] of pixels [N, 3] (image, row, column) that lie in cells."""
        result = np.zeros((len(places), self.bands), np.float32)
        keys = places.copy()
        keys[:, 1:] //= self.size
        for key in np.unique(keys, axis=0):
            mine = (keys == key).all(1)
            rows, columns = (places[mine, 1:] % self.size).T
            image, row, column = (int(part) for part in key)
            result[mine] = self.cells[image, row, column].values[:, rows, columns].T
        return result

    def chip(self, image: int, row: int, column: int, size: int, units: NDArray[np.int32]) -> Chip:
        """The chip whose first pixel is (row, column); labels of other units are left out.

        ``units`` is sorted. Pixels outside the cells are zero, which is each band's mean.
        """
        values = np.zeros((self.bands, size, size), np.float32)
        classes = np.zeros((size, size), np.uint8)
        s = self.size
        for cell_row in range(row // s, (row + size - 1) // s + 1):
            for cell_column in range(column // s, (column + size - 1) // s + 1):
                cell = self.cells.get((image, cell_row, cell_column))
                if cell is None:
                    continue
                top, left = max(row, cell_row * s), max(column, cell_column * s)
                bottom = min(row + size, (cell_row + 1) * s)
                right = min(column + size, (cell_column + 1) * s)
                here = np.s_[top - row : bottom - row, left - column : right - column]
                there = np.s_[
                    top - cell_row * s : bottom - cell_row * s,
                    left - cell_column * s : right - cell_column * s,
                ]
                values[(slice(None), *here)] = cell.values[(slice(None), *there)]
                mine = np.isin(cell.units[there], units)
                classes[here] = np.where(mine, cell.classes[there], 0)
        return Chip(values, classes)


def keys_of(boxes: Iterable[tuple[int, int, int, int, int]], size: int) -> list[Key]:
    """The cells that boxes (image, row0, column0, row1, column1; ends exclusive) touch, sorted."""
    found = {
        (image, row, column)
        for image, row0, column0, row1, column1 in boxes
        for row in range(row0 // size, (max(row1, row0 + 1) - 1) // size + 1)
        for column in range(column0 // size, (max(column1, column0 + 1) - 1) // size + 1)
    }
    return sorted(found)


def _with_neighbours(keys: Sequence[Key]) -> list[Key]:
    around = {
        (image, row + down, column + right)
        for image, row, column in keys
        for down in (-1, 0, 1)
        for right in (-1, 0, 1)
    }
    return sorted(around)
