"""The paper's U-Net decoder over four of the backbone's maps."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..layers import ConvBlock, resize_to
from .pyramid import Pyramid


class UnetDecoder(nn.Module):
    """From the coarsest of four levels up to twice the finest, each level joined on the way.

    Layout after Ronneberger et al. 2015 (arXiv 1505.04597), on a vision transformer by a learned
    pyramid as in the paper (arXiv 2504.17397: 512, 256, 128 and 64 channels). Normalisation is by
    pixel, not by batch (see `ChannelNorm`).
    """

    depths = 4

    def __init__(
        self, dims: Sequence[int], strides: Sequence[float], outputs: int, channels: int = 512
    ) -> None:
        """`dims` and `strides` (in pixels of the image) are those of the maps; `channels` are the
        first block's, each further one has half of the one before."""
        super().__init__()
        self.pyramid = Pyramid(dims, strides)
        widths = [max(channels >> number, 1) for number in range(4)]
        finest, *middle, coarsest = self.pyramid.dims
        skips = [*reversed(middle), finest, 0]
        inputs = [coarsest, *widths[:-1]]
        self.blocks = nn.ModuleList(
            nn.Sequential(ConvBlock(wide + skip, width), ConvBlock(width, width))
            for wide, skip, width in zip(inputs, skips, widths, strict=True)
        )
        self.last_doubling = self.pyramid.strides[0] > 1
        self.head = nn.Conv2d(widths[-1], outputs, 1)

    def forward(self, image: Tensor, maps: Sequence[Tensor]) -> Tensor:
        """maps (B, dim, h, w), four of them. Returns (B, outputs, H', W') at twice the finest
        level's resolution, at most the image's."""
        *finer, x = self.pyramid(maps)
        for block, skip in zip(self.blocks, reversed(finer), strict=False):
            x = block(torch.cat([resize_to(x, skip), skip], 1))
        if self.last_doubling:
            x = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
        return self.head(self.blocks[-1](x))  # type: ignore[no-any-return]
