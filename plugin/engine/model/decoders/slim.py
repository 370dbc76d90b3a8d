"""Tilth's own decoder: single pixels stay sharp."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..layers import ChannelNorm, ConvBlock, resize_to


class SlimDecoder(nn.Module):
    """Two opinions on every pixel: its spectrum alone, and its surroundings.

    The spectral branch is a small network on the pixel's own bands (1x1 convolutions): what a
    random forest sees, and as hard to mislead. The other is a slim U-Net (layout after Ronneberger
    et al. 2015, arXiv 1505.04597) whose encoder sees the image at full, half and quarter
    resolution, so that single pixels stay sharp; the backbone's tokens of several depths are added
    at a quarter. The spectrum's logits count twice: where another region looks different, it is
    the surroundings that mislead (docs/method.md).
    """

    depths = 2

    def __init__(self, bands: int, dims: Sequence[int], classes: int, width: int = 32) -> None:
        """`dims` are the widths of the feature maps; none means the decoder alone."""
        super().__init__()
        w = width
        self.spectral = nn.Sequential(
            nn.Conv2d(bands, 2 * w, 1), nn.GELU(), nn.Conv2d(2 * w, 2 * w, 1), nn.GELU()
        )
        self.spectral_head = nn.Conv2d(2 * w, classes, 1)
        self.stem = nn.Sequential(nn.Conv2d(bands, w, 3, padding=1), ChannelNorm(w), nn.GELU())
        self.at_full = ConvBlock(w, w)
        self.at_half = nn.Sequential(ConvBlock(w, 2 * w), ConvBlock(2 * w, 2 * w))
        self.at_quarter = nn.Sequential(ConvBlock(2 * w, 4 * w), ConvBlock(4 * w, 4 * w))
        self.tokens = nn.ModuleList(
            nn.Sequential(ChannelNorm(dim), nn.Conv2d(dim, 4 * w, 1)) for dim in dims
        )
        self.bottom = ConvBlock(4 * w, 4 * w)
        self.up_half = ConvBlock(6 * w, 2 * w)
        self.up_full = ConvBlock(3 * w, w)
        self.drop = nn.Dropout2d(0.1)
        self.head = nn.Conv2d(w, classes, 1)

    def spectrum(self, image: Tensor) -> Tensor:
        """Logits of the spectral branch: what each pixel's bands alone say."""
        return self.spectral_head(self.spectral(image))  # type: ignore[no-any-return]

    def surroundings(self, image: Tensor, maps: Sequence[Tensor]) -> Tensor:
        """Logits of the U-Net."""
        full = self.at_full(self.stem(image))
        half = self.at_half(F.avg_pool2d(full, 2))
        quarter = self.at_quarter(F.avg_pool2d(half, 2))
        for project, tokens in zip(self.tokens, maps, strict=True):
            quarter = quarter + resize_to(project(tokens), quarter)
        x = self.bottom(self.drop(quarter))
        x = self.up_half(torch.cat([resize_to(x, half), half], 1))
        x = self.up_full(torch.cat([resize_to(x, full), full], 1))
        return self.head(x)  # type: ignore[no-any-return]

    def forward(self, image: Tensor, maps: Sequence[Tensor]) -> Tensor:
        """image (B, bands, H, W), maps (B, dim, h, w) each. Returns logits (B, classes, H, W)."""
        return self.spectrum(image) + self.surroundings(image, maps) / 2
