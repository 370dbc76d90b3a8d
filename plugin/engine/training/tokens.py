"""The plain backbone's tokens, brought to single pixels."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ..data.unseen import Box
from ..devices import mixed_precision
from ..model.decoders.image_branch import branches_of
from ..model.segmenter import Segmenter
from .samples import Samples

# The most squares with labels that are looked at.
SQUARES = 256
# The share of a run's time that they may take, and the seconds at the most; as much for the
# landscape. So many are looked at even on a machine that other work has taken, since with a
# handful of them the map is wrong (docs/trials.md).
SHARE, LONGEST, FEWEST = 0.08, 12.0, 32
# Numbers of tokens that are kept for the last lesson, in half precision: 128 MB.
KEPT = 64 << 20
_NOBODY = np.zeros(0, np.int32)


class Tokens:
    """Asks a segmenter's backbone, as it was before any method, for its last features at pixels.

    ``dim`` is their number, 0 where the decoder doesn't look at them.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        device: torch.device,
        chip: int,
        seconds: float | None = None,
        step: Callable[[], None] = lambda: None,
    ) -> None:
        """They are looked at in windows of ``chip`` pixels, as a map's are; ``seconds`` are those
        of the whole run, None where they don't bound it. ``step`` is called before each look."""
        branches = branches_of(segmenter.decoder)
        opinion = None if branches is None else branches.distilled.tokens
        self.segmenter, self.device, self.chip = segmenter, device, chip
        self.dim = 0 if opinion is None else len(opinion.low)
        self.seconds = min(LONGEST, math.inf if seconds is None else SHARE * seconds)
        self.step = step
        self._seen: dict[tuple[tuple[int, int, int], Box | None], Tensor] = {}

    def ask(self, segmenter: Segmenter) -> None:
        """Ask another one from now on."""
        self.segmenter = segmenter
        self._seen.clear()

    @torch.no_grad()
    def look(self, window: NDArray[np.float32]) -> Tensor:
        """The backbone's map [dim, h, w] of a standardised window [C, chip, chip].

        One by one: what its tokens are does not depend on the company that it is seen in.
        """
        self.step()
        training = self.segmenter.training
        self.segmenter.to(self.device).eval()
        image = torch.from_numpy(window)[None].to(self.device)
        with mixed_precision(self.device):
            tokens = self.segmenter.plain(image)
        self.segmenter.train(training)
        return (image[:, :0] if tokens is None else tokens.float())[0].cpu()

    def pick(
        self, tokens: Tensor, rows: NDArray[np.int64], columns: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """Of a window's map [dim, h, w] the tokens [n, dim] of pixels, bilinearly, as the decoder
        has them."""
        places = torch.from_numpy(np.stack([columns, rows], 1)).float()
        grid = (2 * places + 1) / self.chip - 1
        found = F.grid_sample(
            tokens[None], grid[None, None], padding_mode="border", align_corners=False
        )
        return found[0, :, 0].T.numpy()

    def at(
        self,
        samples: Samples,
        places: NDArray[np.int64],
        classes: NDArray[np.int64],
        near: Sequence[Box | None],
        seed: int,
    ) -> NDArray[np.float32]:
        """The tokens [N, dim] of pixels [N, 3] (image, row, column) with their classes [N].

        Not a number for those that are not looked at, where they lie in more squares than `SQUARES`
        or than time allows for; each class comes to its turn once at the least, and `FEWEST`
        squares. ``near`` is as for `Aim`.
        """
        tokens = np.full((len(places), self.dim), np.nan, np.float32)
        if not self.dim:
            return tokens
        # The middle of a window, whose tokens have seen what is around it.
        size = self.chip // 2
        keys = places // np.array([1, size, size])
        found, which = np.unique(keys, axis=0, return_inverse=True)
        which = which.ravel()
        order = _by_turns(which, classes, np.random.default_rng(seed))[:SQUARES]
        started, missing = time.monotonic(), set(np.unique(classes).tolist())
        for looks, place in enumerate(order):
            if not missing and self.enough(looks, started):
                break
            image, row, column = found[place].tolist()
            top, left = row * size - size // 2, column * size - size // 2
            seen = self._map_at(samples, (image, top, left), near[image] if near else None)
            mine = np.flatnonzero(which == place)
            tokens[mine] = self.pick(seen, places[mine, 1] - top, places[mine, 2] - left)
            missing.difference_update(classes[mine].tolist())
        return tokens

    def _map_at(self, samples: Samples, corner: tuple[int, int, int], box: Box | None) -> Tensor:
        """The map of the window that begins at image, row and column, seen within a box.

        Some are kept, since the last lesson asks for most of them again.
        """
        _, row, column = corner
        if box is not None and _holds(box, row, column, self.chip):
            box = None
        seen = self._seen.get((corner, box))
        if seen is None:
            window = within(samples.chip(*corner, self.chip, _NOBODY).image, row, column, box)
            seen = self.look(window).half()
            if (len(self._seen) + 1) * seen.numel() <= KEPT:
                self._seen[corner, box] = seen
        return seen.float()

    def enough(self, looks: int, started: float, parts: int = 1) -> bool:
        """Whether so many looks since a time of the monotonic clock, in one of so many parts, will
        do: the fewest are made, and its time is used up."""
        spent = time.monotonic() - started
        return looks * parts >= FEWEST and spent * parts > self.seconds


def _by_turns(
    which: NDArray[np.int64], classes: NDArray[np.int64], rng: np.random.Generator
) -> list[int]:
    """The squares that pixels [N] lie in, by their numbers, those of each class by turns."""
    queues = [rng.permutation(np.unique(which[classes == one])).tolist()
              for one in np.unique(classes)]  # fmt: skip
    longest = max((len(queue) for queue in queues), default=0)
    turns = [queue[turn] for turn in range(longest) for queue in queues if turn < len(queue)]
    return list(dict.fromkeys(turns))


def _holds(box: Box, row: int, column: int, size: int) -> bool:
    """Whether a box holds the square that begins at a row and column."""
    left, top, right, bottom = box
    return top <= row and left <= column and row + size <= bottom and column + size <= right


def within(
    values: NDArray[np.float32], row: int, column: int, box: Box | None
) -> NDArray[np.float32]:
    """The values [C, H, W] that begin at a row and column, with zeros beyond a box (None: none)."""
    if box is None:
        return values
    left, top, right, bottom = box
    height, width = values.shape[1:]
    rows, columns = np.arange(row, row + height), np.arange(column, column + width)
    inside = np.outer((rows >= top) & (rows < bottom), (columns >= left) & (columns < right))
    return np.where(inside, values, np.float32(0))
