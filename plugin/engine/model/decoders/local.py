"""A branch on each pixel and the squares around it, with features that are not learnt."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .neighbourhood import feature_count, features

# Sides of the squares, in pixels.
SIDES = (3, 5, 9)
WIDTH = 96


class LocalBranch(nn.Module):
    """A small network on a pixel's bands and their mean and spread in squares around it.

    What a forest with neighbourhood features sees; it learns what such forests say
    (training/teacher.py).
    """

    mean: Tensor
    spread: Tensor

    def __init__(self, bands: int, classes: int) -> None:
        super().__init__()
        count = feature_count(bands, SIDES)
        self.register_buffer("mean", torch.zeros(count))
        self.register_buffer("spread", torch.ones(count))
        self.layers = nn.Sequential(
            nn.Conv2d(count, WIDTH, 1),
            nn.GELU(),
            nn.Conv2d(WIDTH, WIDTH, 1),
            nn.GELU(),
            nn.Conv2d(WIDTH, classes, 1),
        )

    def forward(self, image: Tensor) -> Tensor:
        """image (B, bands, H, W). Returns logits (B, classes, H, W)."""
        with torch.autocast(image.device.type, enabled=False):
            values = features(image.float(), SIDES)
        return self.judge(values)

    def judge(self, values: Tensor) -> Tensor:
        """Logits (B, classes, H, W) of features (B, F, H, W)."""
        shape = (1, -1, 1, 1)
        return self.layers((values - self.mean.view(shape)) / self.spread.view(shape))  # type: ignore[no-any-return]

    def look_at(self, values: Tensor) -> None:
        """Take mean and spread of features (N, F) as those to be expected."""
        # In half precision, as the file holds them, so that the score is that of the file.
        self.mean.copy_(values.mean(0).half())
        self.spread.copy_(values.std(0).clamp(min=0.01).half())
