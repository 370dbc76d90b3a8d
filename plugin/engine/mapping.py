"""From an image and a segmenter to class codes: windows, blending and blocks.

Windows lie on one grid over the whole image, so that a pixel's class depends neither on the block
nor on the extent that it is mapped in.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from rasterio.windows import Window

from .devices import mixed_precision
from .errors import TilthError
from .memory import Portion
from .model.segmenter import Segmenter

# (window) -> standardised values [C, H, W], 0 where invalid, and valid [H, W]
Read = Callable[[Window], tuple[NDArray[np.float32], NDArray[np.bool_]]]
# (window) -> where a map is wanted [H, W]
Wanted = Callable[[Window], NDArray[np.bool_]]
BLOCK = 1024
BLOCK_BYTES = 400_000_000


@dataclass(frozen=True)
class Grid:
    """Where windows of ``chip`` pixels lie; neighbours share ``overlap`` pixels."""

    chip: int
    overlap: int

    def starts(self, first: int, end: int) -> range:
        """The first pixels of all windows, along one axis, that touch pixels first..end-1."""
        step = self.chip - self.overlap
        offset = -(self.overlap // 2)
        low = (first - self.chip - offset) // step + 1
        high = -((offset - end) // step) - 1
        return range(offset + low * step, offset + high * step + 1, step)

    def weights(self) -> NDArray[np.float32]:
        """Blending weights [chip, chip]: a symmetric ramp over the overlap, flat within."""
        distance = np.minimum(np.arange(self.chip), np.arange(self.chip)[::-1]) + 0.5
        ramp = np.minimum(distance / max(self.overlap, 1), 1.0)
        return np.outer(ramp, ramp).astype(np.float32)


class Mapper:
    """Computes class probabilities block by block, in memory that doesn't grow with the image."""

    def __init__(
        self,
        segmenter: Segmenter,
        read: Read,
        grid: Grid,
        classes: int,
        device: torch.device,
        temperature: float = 1.0,
        told: Callable[[int], None] = lambda windows: None,
    ) -> None:
        """``told`` hears how many windows are computed at a time where memory asks for fewer."""
        self.segmenter = segmenter.to(device).to(memory_format=torch.channels_last).eval()
        self.read = read
        self.grid = grid
        self.classes = classes
        self.device = device
        self.temperature = temperature
        self.weights = grid.weights()
        # Few at a time where a card asks for chips larger than training makes.
        share = 128**2 / max(grid.chip, 128) ** 2
        self.portion = Portion(max(int((64 if device.type == "cuda" else 8) * share), 1), told)

    def probabilities(
        self,
        block: Window,
        step: Callable[[float], None] = lambda share: None,
        wanted: Wanted | None = None,
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Calibrated probabilities [K, H, W] of a block, and where there are any [H, W].

        That is where the image is valid and, if ``wanted`` is given, it is wanted; elsewhere the
        probabilities are 0. ``step`` gets the share of the block that is done.
        """
        row, column = int(block.row_off), int(block.col_off)
        height, width = int(block.height), int(block.width)
        rows = self.grid.starts(row, row + height)
        columns = self.grid.starts(column, column + width)
        chip = self.grid.chip
        top, left = rows[0], columns[0]
        around = Window(left, top, columns[-1] + chip - left, rows[-1] + chip - top)
        values, valid = self.read(around)
        inner = np.s_[row - top : row - top + height, column - left : column - left + width]
        known = np.zeros(valid.shape, bool)
        known[inner] = valid[inner] if wanted is None else valid[inner] & wanted(block)
        total = np.zeros((self.classes, int(around.height), int(around.width)), np.float32)
        weight = np.zeros(valid.shape, np.float32)
        places = [(r - top, c - left) for r in rows for c in columns]
        places = [(r, c) for r, c in places if known[r : r + chip, c : c + chip].any()]
        done = 0
        while done < len(places):
            rest = functools.partial(self._add, values, places[done:], total, weight)
            done += self.portion.run(rest)
            step(done / len(places))
        known = known[inner]
        result = total[(slice(None), *inner)]
        result *= known / np.maximum(weight[inner], np.float32(1e-6))
        return result, known

    @torch.no_grad()
    def _add(
        self,
        values: NDArray[np.float32],
        places: list[tuple[int, int]],
        total: NDArray[np.float32],
        weight: NDArray[np.float32],
        most: int,
    ) -> int:
        """Add the windows at the first ``places`` to the sums; returns how many they are."""
        chip, places = self.grid.chip, places[:most]
        batch = np.stack([values[:, r : r + chip, c : c + chip] for r, c in places])
        image = torch.from_numpy(batch).contiguous(memory_format=torch.channels_last)
        with mixed_precision(self.device):
            logits = self.segmenter(image.to(self.device))
        soft = torch.softmax(logits.float() / self.temperature, 1).cpu().numpy()
        if not np.isfinite(soft).all():
            raise TilthError(
                "the adapter comes to values that are no numbers here: it is damaged, or the image "
                "has values far beyond those that it was trained on; check both"
            )
        for (r, c), chances in zip(places, soft, strict=True):
            total[:, r : r + chip, c : c + chip] += chances * self.weights
            weight[r : r + chip, c : c + chip] += self.weights
        return len(places)


def blocks(window: Window, classes: int, bands: int, tile: int = 256) -> Iterator[Window]:
    """The window cut into blocks, row by row, smaller where classes or bands are many.

    A block's side is a multiple of ``tile``, so that each tile of the file is written once.
    """
    side = int((BLOCK_BYTES / (4 * (2 * classes + 2 * bands))) ** 0.5)
    side = max(min(side, BLOCK) // tile * tile, tile)
    for row in range(0, int(window.height), side):
        for column in range(0, int(window.width), side):
            yield Window(
                window.col_off + column,
                window.row_off + row,
                min(side, window.width - column),
                min(side, window.height - row),
            )
