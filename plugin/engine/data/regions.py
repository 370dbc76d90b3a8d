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
    codes = _label_tiles(read, ids)
    merged = _merge_across_tiles(ids, codes)
    codes_of = np.zeros(int(merged.max(initial=0)) + 1, np.uint16)
    codes_of[merged] = codes
    boxes = _relabel(ids, merged, len(codes_of))
    if len(codes_of) - 1 > _MOST_REGIONS:
        groups = _near(codes_of, boxes, width, height)
        grouped = np.zeros(int(groups.max()) + 1, np.uint16)
        grouped[groups] = codes_of
        codes_of, boxes = grouped, _relabel(ids, groups, len(grouped))
    return Regions(ids, codes_of, boxes, offset)


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


def _label_tiles(read: Reader, ids: np.ndarray) -> np.ndarray:
    """Number the regions within each tile; the code of each number [M + 1]."""
    parts = [np.zeros(1, np.uint16)]
    total = 0
    for rows, cols in _tiles(ids.shape):
        tile = read(cols.start, rows.start, cols.stop - cols.start, rows.stop - rows.start)
        numbers = np.zeros(tile.shape, np.int32)
        for code in np.unique(tile[tile > 0]):
            labelled, found = ndimage.label(tile == code)
            inside = labelled > 0
            numbers[inside] = labelled[inside] + total
            parts.append(np.full(found, code, np.uint16))
            total += found
        ids[rows, cols] = numbers
    return np.concatenate(parts)


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


def _relabel(ids: np.ndarray, target: np.ndarray, count: int) -> np.ndarray:
    """Replace the ids in place by ``target`` of them; the new ones' boxes [count, 4]."""
    boxes = np.zeros((count, 4))
    boxes[:, :2] = np.inf
    for rows, cols in _tiles(ids.shape):
        tile = target[ids[rows, cols]].astype(np.int32)
        ids[rows, cols] = tile
        for number, place in _objects(tile):
            top, left = rows.start + place[0].start, cols.start + place[1].start
            bottom, right = rows.start + place[0].stop, cols.start + place[1].stop
            box = boxes[number]
            box[:2] = np.minimum(box[:2], (left, top))
            box[2:] = np.maximum(box[2:], (right, bottom))
    return boxes


def _objects(tile: np.ndarray) -> Iterator[tuple[int, tuple[slice, slice]]]:
    """Each id in a tile with the slices around it."""
    present, small = np.unique(tile, return_inverse=True)
    places = ndimage.find_objects(small.reshape(tile.shape) + 1)
    for number, place in zip(present, places, strict=True):
        if number > 0 and place is not None:
            yield int(number), place


def _near(codes: np.ndarray, boxes: np.ndarray, width: int, height: int) -> np.ndarray:
    """For each region a group: those of one code whose centres lie in one cell of the image."""
    centre = (boxes[1:, :2] + boxes[1:, 2:]) / 2
    cell = np.minimum((centre / (width, height) * _CELLS).astype(np.int64), _CELLS - 1)
    key = (codes[1:].astype(np.int64) * _CELLS + cell[:, 1]) * _CELLS + cell[:, 0]
    _, group = np.unique(key, return_inverse=True)
    return np.concatenate([[0], group + 1])
