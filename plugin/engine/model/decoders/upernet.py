"""UperNet over four of the backbone's maps."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..layers import ChannelNorm, resize_to
from .pyramid import Pyramid

POOLS = (1, 2, 3, 6)


class UperNetDecoder(nn.Module):
    """A pyramid pooling module on the coarsest level and a feature pyramid down to the finest.

    Xiao et al. 2018 (arXiv 1807.10221), pooling after Zhao et al. 2017 (arXiv 1612.01105); 256
    channels as in the paper (arXiv 2504.17397). Normalisation is by pixel, not by batch (see
    `ChannelNorm`): batch statistics of the 1x1 pool would need a batch. The pools see the whole
    chip, as a vision transformer does; the map's blending takes care of the seams.
    """

    depths = 4

    def __init__(
        self, dims: Sequence[int], strides: Sequence[float], outputs: int, channels: int = 256
    ) -> None:
        """`dims` and `strides` (in pixels of the image) are those of the maps."""
        super().__init__()
        self.pyramid = Pyramid(dims, strides)
        *finer, coarsest = self.pyramid.dims
        self.pools = nn.ModuleList(_conv(coarsest, channels, 1) for _ in POOLS)
        self.bottom = _conv(coarsest + len(POOLS) * channels, channels, 3)
        self.laterals = nn.ModuleList(_conv(dim, channels, 1) for dim in finer)
        self.smooth = nn.ModuleList(_conv(channels, channels, 3) for _ in finer)
        self.fuse = _conv(len(dims) * channels, channels, 3)
        self.drop = nn.Dropout2d(0.1)
        self.head = nn.Conv2d(channels, outputs, 1)

    def forward(self, image: Tensor, maps: Sequence[Tensor]) -> Tensor:
        """maps (B, dim, h, w), four of them. Returns (B, outputs, H', W') at the finest level's
        resolution."""
        *finer, coarsest = self.pyramid(maps)
        pooled = [
            resize_to(conv(F.adaptive_avg_pool2d(coarsest, size)), coarsest)
            for conv, size in zip(self.pools, POOLS, strict=True)
        ]
        x = self.bottom(torch.cat([coarsest, *pooled], 1))
        # From coarse to fine: each level is what lies above it, plus its own.
        levels = [x]
        for lateral, level in zip(reversed(self.laterals), reversed(finer), strict=True):
            own = lateral(level)
            x = own + resize_to(x, own)
            levels.insert(0, x)
        finest = levels[0]
        smoothed = [conv(level) for conv, level in zip(self.smooth, levels, strict=False)]
        joined = torch.cat([resize_to(level, finest) for level in (*smoothed, levels[-1])], 1)
        return self.head(self.drop(self.fuse(joined)))  # type: ignore[no-any-return]


def _conv(inputs: int, outputs: int, size: int) -> nn.Sequential:
    """A convolution, normalisation and GELU, at the same resolution."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, padding=size // 2), ChannelNorm(outputs), nn.GELU()
    )
