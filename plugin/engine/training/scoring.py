"""How a training runs and how its result is judged, whatever learns."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ..devices import mixed_precision
from ..memory import Portion
from ..model.segmenter import Segmenter
from .samples import Chip

IGNORE = -1


@dataclass(frozen=True)
class Settings:
    """How a training runs.

    ``learning_rate`` is the adapter's, ``decoder_rate`` the decoder's and ``spectral_rate`` that of
    its spectral branches. An epoch is ``steps`` batches of ``batch`` chips, however many of them
    the device takes at a time; where ``paced``, of fewer when the time would end a run after a
    handful of steps. ``epochs`` and ``seconds`` bound the run, whichever ends first
    (None: no bound of that kind). ``patience`` is the number of epochs without a better held-out
    score after which it stops.
    """

    epochs: int | None = 40
    seconds: float | None = None
    steps: int = 12
    batch: int = 8
    paced: bool = True
    chip: int = 64
    learning_rate: float = 1e-3
    decoder_rate: float = 2e-3
    spectral_rate: float = 1e-2
    weight_decay: float = 0.01
    warm_up: float = 0.05
    patience: int = 15
    jitter: float = 1.0
    balance: float = 0.0
    seed: int = 0


@dataclass
class Progress:
    """Where a run stands: all of it that a checkpoint must keep, besides the tensors.

    ``began`` are the seconds after which its first step was made: of a share of the run, a run that
    goes on with other minutes would make another.
    """

    epoch: int = 0
    seconds: float = 0.0
    began: float = 0.0
    best_score: float = -1.0
    best_loss: float = math.inf
    best_epoch: int = 0
    history: list[dict[str, float | None]] = field(default_factory=list)


class Scorer:
    """A segmenter, and the held-out chips that tell how good it is.

    ``begun`` is whether it goes on from an earlier adapter.
    """

    begun = False

    def __init__(
        self,
        segmenter: Segmenter,
        held_out: list[Chip],
        classes: int,
        device: torch.device,
        settings: Settings,
        portion: Portion,
    ) -> None:
        # Channels last: the decoder's convolutions are four times as fast on CPUs.
        self.segmenter = segmenter.to(device).to(memory_format=torch.channels_last)
        self.held_out = held_out
        self.classes = classes
        self.device = device
        self.settings = settings
        self.portion = portion
        self.progress = Progress()

    @property
    def classic_share(self) -> float:
        """How far (0 to 1) the segmenter follows the usual classifiers' mean alone."""
        return 0.0

    def validate(self) -> tuple[NDArray[np.int64], float]:
        """Confusion [K, K] (rows: reference) and mean loss on the held-out pixels."""
        confusion = np.zeros((self.classes, self.classes), np.int64)
        total, pixels = 0.0, 0
        for logits, target in self.held_out_logits():
            total += float(F.cross_entropy(logits, target, reduction="sum"))
            pixels += len(target)
            pairs = target * self.classes + logits.argmax(1)
            confusion += (
                torch.bincount(pairs, minlength=self.classes**2)
                .reshape(self.classes, self.classes)
                .numpy()
            )
        return confusion, total / max(pixels, 1)

    def held_out_logits(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields logits [n, K] and classes [n] of the held-out pixels, by batches, on the CPU."""
        return self.logits_of(self.held_out)

    @torch.no_grad()
    def logits_of(self, chips: Sequence[Chip]) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields logits [n, K] and classes [n] of the chips' labelled pixels, as above."""
        self.segmenter.eval()
        start = 0
        while start < len(chips):
            rest = functools.partial(self._judged, chips[start:])
            taken, logits, classes = self.portion.run(rest)
            start += taken
            yield logits, classes

    def _judged(self, chips: Sequence[Chip], size: int) -> tuple[int, Tensor, Tensor]:
        """How many of the chips were taken, and logits and classes of their labelled pixels."""
        chips = chips[:size]
        image, target = tensors(chips, self.device)
        with mixed_precision(self.device):
            logits = self.segmenter(image)
        known = target != IGNORE
        pixels = logits.float().permute(0, 2, 3, 1)[known].cpu()
        return len(chips), pixels, target[known].cpu()


def tensors(chips: Sequence[Chip], device: torch.device) -> tuple[Tensor, Tensor]:
    """Images (B, C, S, S) and classes (B, S, S) from 0, IGNORE where unlabelled."""
    image = torch.from_numpy(np.stack([chip.image for chip in chips]))
    image = image.contiguous(memory_format=torch.channels_last)
    target = torch.from_numpy(np.stack([chip.classes for chip in chips])).long() - 1
    return image.to(device, non_blocking=True), target.to(device, non_blocking=True)
