"""What can be said of a pixel and the squares around it without learning anything."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


def feature_count(bands: int, sides: Sequence[int]) -> int:
    """The number of a pixel's features."""
    return bands * (1 + 2 * len(sides))


def squares(bands: int, sides: Sequence[int]) -> dict[str, list[int]]:
    """Which of the features are those of a pixel's bands and of the squares of one side, for each
    but the largest, and of all of them."""
    every = list(range(feature_count(bands, sides)))
    parts = {
        f"{side}": every[:bands] + every[bands * (1 + 2 * place) : bands * (3 + 2 * place)]
        for place, side in enumerate(sides[:-1])
    }
    return {**parts, ", ".join(map(str, sides)): every}


def features(image: Tensor, sides: Sequence[int]) -> Tensor:
    """The features (B, F, H, W) of an image (B, C, H, W): its bands and, for each of the ``sides``,
    the mean and the standard deviation of each band in a square of so many pixels a side (odd)
    around every pixel."""
    parts = [image]
    for side in sides:
        padded = F.pad(image, (side // 2,) * 4, mode="replicate")
        mean = F.avg_pool2d(padded, side, stride=1)
        square = F.avg_pool2d(padded.square(), side, stride=1)
        parts += [mean, (square - mean.square()).clamp(min=0).sqrt()]
    return torch.cat(parts, 1)
