"""Connected regions of a label raster, found tile by tile, so that rasters may be large."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator

import numpy as np
from scipy import ndimage
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

_TILE = 1024
_IN_MEMORY = 16_000_000  # pixels; a larger grid of ids lies in a temporary file
_MOST_REGIONS = 50_000
_CELLS = 64

Reader = Callable[[int, int, int, int], np.ndarray]


class Regions:
    """Region ids on an image's grid, and the class code of each region.

    ``codes`` uint16 [N + 1] and ``boxes`` float64 [N + 1, 4] (left, top, right, bottom in pixels)
    are indexed by the id less ``offset``; ids start at ``offset + 1``.
    """

    def __init__(self, ids: np.ndarray, codes: np.ndarray, boxes: np.ndarray, offset: int) -> None:
        self._ids = ids
        self.codes = codes
        self.boxes = boxes
        self.offset = offset

    @property
    def count(self) -> int:
        """How many regions there are."""
        return len(self.codes) - 1

    def read(self, col: int, row: int, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
        """Codes uint16 and ids int32 [H, W] of a window, 0 outside of the image."""
        ids = np.zeros((height, width), np.int32)
        rows, cols = self._ids.shape
        top, left = max(row, 0), max(col, 0)
        bottom, right = min(row + height, rows), min(col + width, cols)
        if bottom > top and right > left:
            ids[top - row : bottom - row, left - col : right - col] = self._ids[
                top:bottom, left:right
            ]
        codes = self.codes[ids]
        ids[ids > 0] += self.offset
        return codes, ids


def find_regions(read: Reader, width: int, height: int, offset: int = 0) -> Regions:
    """The regions of ``read(col, row, width, height)`` -> codes uint16 [H, W], 0 = unlabelled.

    Pixels of one code that share an edge are one region. Where there are too many to handle,
    whole regions of one code that lie near each other share an id.
    """
    ids = _store(height, width)
    codes, boxes = _label_tiles(read, ids)
    target = _merge_across_tiles(ids, codes)
    codes, boxes = _regroup(codes, boxes, target)
    if len(codes) - 1 > _MOST_REGIONS:
        groups = _near(codes, boxes, width, height)
        codes, boxes = _regroup(codes, boxes, groups)
        target = groups[target]
    _relabel(ids, target)
    return Regions(ids, codes, boxes, offset)


def _store(height: int, width: int) -> np.ndarray:
    if height * width <= _IN_MEMORY:
        return np.zeros((height, width), np.int32)
    # The file goes with the array: it is unlinked, or deleted when closed.
    with tempfile.TemporaryFile() as file:
        return np.memmap(file, np.int32, "w+", shape=(height, width))


def _tiles(shape: tuple[int, ...]) -> Iterator[tuple[slice, slice]]:
    for row in range(0, shape[0], _TILE):
        for col in range(0, shape[1], _TILE):
            yield (
                slice(row, min(row + _TILE, shape[0])),
                slice(col, min(col + _TILE, shape[1])),
            )


def _label_tiles(read: Reader, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Number the regions within each tile; codes [M + 1] and boxes [M + 1, 4] of the numbers."""
    codes = [np.zeros(1, np.uint16)]
    boxes = [np.array([[np.inf, np.inf, 0.0, 0.0]])]
    total = 0
    for rows, cols in _tiles(ids.shape):
        tile = read(cols.start, rows.start, cols.stop - cols.start, rows.stop - rows.start)
        numbers = np.zeros(tile.shape, np.int32)
        for code in np.flatnonzero(np.bincount(tile.ravel(), minlength=1)):
            if code == 0:
                continue
            labelled, found = ndimage.label(tile == code)
            places = ndimage.find_objects(labelled)
            corners = np.array([(x.start, y.start, x.stop, y.stop) for y, x in places], float)
            corners += (cols.start, rows.start, cols.start, rows.start)
            boxes.append(corners)
            np.add(labelled, total, out=numbers, where=labelled > 0)
            codes.append(np.full(found, code, np.uint16))
            total += found
        ids[rows, cols] = numbers
    return np.concatenate(codes), np.concatenate(boxes)


def _merge_across_tiles(ids: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """The final id of each number [M + 1]: regions that continue in the next tile are one."""
    pairs = []
    for row in range(_TILE, ids.shape[0], _TILE):
        pairs.append(np.stack([ids[row - 1], ids[row]]))
    for col in range(_TILE, ids.shape[1], _TILE):
        pairs.append(np.stack([ids[:, col - 1], ids[:, col]]))
    joined = np.concatenate(pairs, axis=1) if pairs else np.zeros((2, 0), np.int32)
    first, second = joined
    same = (first > 0) & (second > 0) & (codes[first] == codes[second])
    first, second = first[same], second[same]
    graph = coo_matrix((np.ones(len(first), bool), (first, second)), shape=(len(codes),) * 2)
    _, component = connected_components(graph, directed=False)
    # Number 0 (nothing) is alone in its component; make that 0 and close the gaps after it.
    order = np.unique(component, return_index=True)[1]
    rank = np.empty(len(order), np.int64)
    rank[component[np.sort(order)]] = np.arange(len(order))
    return rank[component]


def _regroup(
    codes: np.ndarray, boxes: np.ndarray, target: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Codes and boxes of the new ids, where ``target`` is the new id of each old one."""
    count = int(target.max()) + 1
    new_codes = np.zeros(count, np.uint16)
    new_codes[target] = codes
    new_boxes = np.zeros((count, 4))
    new_boxes[:, :2] = np.inf
    np.minimum.at(new_boxes[:, :2], target, boxes[:, :2])
    np.maximum.at(new_boxes[:, 2:], target, boxes[:, 2:])
    return new_codes, new_boxes


def _relabel(ids: np.ndarray, target: np.ndarray) -> None:
    """Replace the ids by ``target`` of them, in place."""
    new = target.astype(np.int32)
    for rows, cols in _tiles(ids.shape):
        ids[rows, cols] = new[ids[rows, cols]]


def _near(codes: np.ndarray, boxes: np.ndarray, width: int, height: int) -> np.ndarray:
    """For each region a group: those of one code whose centres lie in one cell of the image."""
    centre = (boxes[1:, :2] + boxes[1:, 2:]) / 2
    cell = np.minimum((centre / (width, height) * _CELLS).astype(np.int64), _CELLS - 1)
    key = (codes[1:].astype(np.int64) * _CELLS + cell[:, 1]) * _CELLS + cell[:, 0]
    _, group = np.unique(key, return_inverse=True)
    return np.concatenate([[0], group + 1])
