"""Maps of one size made into a pyramid, as decoders made for CNNs want them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn

from ..layers import ChannelNorm

# How much finer (or coarser) the levels are than a vision transformer's maps.
FACTORS = (4.0, 2.0, 1.0, 0.5)
# No level is finer than this many pixels of the image: there the image itself knows more.
FINEST = 2.0


class Pyramid(nn.Module):
    """Four maps, normalised and brought to four sizes by convolutions that learn.

    A vision transformer's maps have one size: they are made 4, 2, 1 and 1/2 times as fine, by
    transposed convolutions that halve the channels at each doubling (after Li et al. 2022,
    arXiv 2203.16527, and the paper's decoders, arXiv 2504.17397). A CNN's maps are a pyramid
    already and keep their sizes. `dims` and `strides` are those of the levels, finest first.
    """

    def __init__(self, dims: Sequence[int], strides: Sequence[float]) -> None:
        """`dims` and `strides` (in pixels of the image) are those of the maps."""
        super().__init__()
        flat = len(set(strides)) == 1
        self.dims: list[int] = []
        self.strides: list[float] = []
        self.levels = nn.ModuleList()
        for dim, stride, factor in zip(dims, strides, FACTORS, strict=True):
            doublings = int(math.log2(factor)) if flat else 0
            while doublings > 0 and stride / 2**doublings < FINEST:
                doublings -= 1
            level, width = _level(dim, doublings)
            self.levels.append(level)
            self.dims.append(width)
            self.strides.append(stride / 2.0**doublings)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """maps (B, dim, h, w) each. Returns the levels (B, dims[i], h_i, w_i)."""
        return [level(x) for level, x in zip(self.levels, maps, strict=True)]


def _level(dim: int, doublings: int) -> tuple[nn.Sequential, int]:
    """One level, and its width: as often doubled as said, halved where that is negative."""
    steps: list[nn.Module] = [ChannelNorm(dim)]
    for number in range(doublings):
        narrow = max(dim // 2, 1)
        if number:
            steps += [ChannelNorm(dim), nn.GELU()]
        steps.append(nn.ConvTranspose2d(dim, narrow, 2, stride=2))
        dim = narrow
    if doublings < 0:
        steps.append(nn.MaxPool2d(2, ceil_mode=True))
    return nn.Sequential(*steps), dim
