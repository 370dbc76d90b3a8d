"""The paper's fully convolutional decoder."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn

from ..layers import ChannelNorm

MOST = 4


class FcnDecoder(nn.Module):
    """The last map doubled step by step, at most four times, to the image's resolution.

    Each step is a transposed convolution, a 3x3 convolution, normalisation and GELU. After Long
    et al. 2015 (arXiv 1411.4038) as the paper has it (arXiv 2504.17397: 512 channels, four steps).
    Normalisation is by pixel, not by batch (see `ChannelNorm`).
    """

    depths = 1

    def __init__(self, dim: int, stride: float, outputs: int, channels: int = 512) -> None:
        """`dim` and `stride` (in pixels of the image) are those of the last map."""
        super().__init__()
        doublings = min(max(math.ceil(math.log2(stride)), 0), MOST)
        steps: list[nn.Module] = []
        for number in range(max(doublings, 1)):
            inputs = dim if number == 0 else channels
            if doublings:
                steps.append(nn.ConvTranspose2d(inputs, channels, 2, stride=2))
                inputs = channels
            steps.append(nn.Conv2d(inputs, channels, 3, padding=1))
            steps += [ChannelNorm(channels), nn.GELU()]
        self.steps = nn.Sequential(*steps)
        self.head = nn.Conv2d(channels, outputs, 1)

    def forward(self, image: Tensor, maps: Sequence[Tensor]) -> Tensor:
        """maps: the last is (B, dim, h, w). Returns (B, outputs, h * 2^n, w * 2^n)."""
        return self.head(self.steps(maps[-1]))  # type: ignore[no-any-return]
