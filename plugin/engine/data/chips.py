"""Chips: the square windows of an image that training sees, wherever there are labels."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from rasterio.windows import Window

from .burn import labelled_windows, rasterise
from .label_model import Labels

_CELLS = 4  # cells along the side of a chip


@dataclass(frozen=True)
class Chip:
    """A window of an image, and how many labelled pixels of each class code it holds."""

    image: int
    window: Window
    pixels: dict[int, int]


def cover(labels: Labels, image: int, ids: Collection[int], size: int) -> list[Window]:
    """Windows of ``size`` pixels that together hold every labelled pixel of ``ids`` on an image.

    They lie inside the image where it is larger than ``size``; else the window reaches beyond it
    (read it boundless). In the order of rows; few, not the fewest.
    """
    grid = labels.grids[image]
    cell = max(1, size // _CELLS)
    boxes = _cells(labels, image, ids, cell)
    todo = set(boxes)
    windows = []
    for row, col in sorted(boxes):
        if (row, col) not in todo:
            continue
        left = _best_left(todo, row, col)
        inside = [
            (r, c)
            for r in range(row, row + _CELLS)
            for c in range(left, left + _CELLS)
            if (r, c) in todo
        ]
        todo.difference_update(inside)
        windows.append(_around([boxes[place] for place in inside], size, grid.width, grid.height))
    return windows


def chip_windows(
    labels: Labels, image: int, ids: Collection[int], size: int, seed: int = 0
) -> list[Chip]:
    """``cover`` with the labelled pixels of each class counted, in an order shuffled by seed."""
    wanted = np.array(sorted(ids), np.int32)
    chips = []
    for window in cover(labels, image, ids, size):
        codes, found = rasterise(labels, image, window)
        mine = codes[np.isin(found, wanted)]
        counted = zip(*np.unique(mine, return_counts=True), strict=True)
        chips.append(Chip(image, window, {int(code): int(count) for code, count in counted}))
    order = np.random.default_rng(seed).permutation(len(chips))
    return [chips[int(position)] for position in order]


_Box = tuple[int, int, int, int]


def _cells(
    labels: Labels, image: int, ids: Collection[int], cell: int
) -> dict[tuple[int, int], _Box]:
    """The cells (row, column) with labelled pixels of ``ids``, each with the box around these.

    A box is left, top, right, bottom in pixels.
    """
    wanted = np.array(sorted(ids), np.int32)
    boxes: dict[tuple[int, int], _Box] = {}
    tile = max(cell, 512 // cell * cell)  # so that no cell lies in two tiles
    for window in labelled_windows(labels, image, tile):
        _, found = rasterise(labels, image, window)
        rows, cols = np.nonzero(np.isin(found, wanted))
        rows, cols = rows + int(window.row_off), cols + int(window.col_off)
        if len(rows) == 0:
            continue
        key = (rows // cell).astype(np.int64) << 32 | (cols // cell)
        order = np.argsort(key, kind="stable")
        names, starts = np.unique(key[order], return_index=True)
        low = [np.minimum.reduceat(side[order], starts) for side in (cols, rows)]
        high = [np.maximum.reduceat(side[order], starts) + 1 for side in (cols, rows)]
        for name, *box in zip(names.tolist(), *(side.tolist() for side in low + high), strict=True):
            boxes[name >> 32, name & 0xFFFFFFFF] = (box[0], box[1], box[2], box[3])
    return boxes


def _best_left(todo: set[tuple[int, int]], row: int, col: int) -> int:
    """The first column of the chip over cell (row, col) that holds the most cells to do."""

    def gain(left: int) -> int:
        return sum(
            (r, c) in todo for r in range(row, row + _CELLS) for c in range(left, left + _CELLS)
        )

    return max(range(col - _CELLS + 1, col + 1), key=gain)


def _around(boxes: list[_Box], size: int, width: int, height: int) -> Window:
    """The window of ``size`` with the boxes in its middle, moved inside the image if it fits."""
    left, top = min(box[0] for box in boxes), min(box[1] for box in boxes)
    right, bottom = max(box[2] for box in boxes), max(box[3] for box in boxes)
    col = _inside(left - (size - (right - left)) // 2, size, width)
    row = _inside(top - (size - (bottom - top)) // 2, size, height)
    return Window(col, row, size, size)


def _inside(start: int, size: int, length: int) -> int:
    return min(max(start, 0), length - size) if length >= size else 0
