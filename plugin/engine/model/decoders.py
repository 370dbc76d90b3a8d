"""Decoders: from the backbone's feature maps (and the image) to class logits per pixel."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .layers import ChannelNorm, ConvBlock, resize_to


class LinearDecoder(nn.Module):
    """One transposed convolution from tokens to pixels: the paper's linear decoder.

    Source: "Fine-tune Smarter, Not Harder" (arXiv 2504.17397), kernel = stride = patch.
    """

    depths = 1

    def __init__(self, dim: int, patch: int, classes: int) -> None:
        super().__init__()
        self.head = nn.ConvTranspose2d(dim, classes, patch, stride=patch)

    def forward(self, image: Tensor, maps: Sequence[Tensor]) -> Tensor:
        """maps: the last is (B, dim, H/patch, W/patch). Returns logits (B, classes, H, W)."""
        return self.head(maps[-1])


class UNetDecoder(nn.Module):
    """A slim U-Net whose bottom joins the backbone's tokens.

    The encoder sees the image at full, half and quarter resolution, so that single pixels stay
    sharp; the tokens of several depths are added at a quarter, at first with weight zero, so that
    the decoder begins as a plain U-Net and takes from the backbone what helps. A per-pixel branch
    of 1x1 convolutions goes straight to the output: a spectral classifier that the rest corrects.
    Layout after Ronneberger et al. 2015 (arXiv 1505.04597).
    """

    depths = 2

    def __init__(self, bands: int, dim: int, classes: int, width: int = 32) -> None:
        """dim 0 leaves the tokens out (the decoder alone)."""
        super().__init__()
        w = width
        self.spectral = nn.Sequential(
            nn.Conv2d(bands, 2 * w, 1), nn.GELU(), nn.Conv2d(2 * w, w, 1), ChannelNorm(w), nn.GELU()
        )
        self.stem = nn.Sequential(nn.Conv2d(bands, w, 3, padding=1), ChannelNorm(w), nn.GELU())
        self.at_full = ConvBlock(2 * w, w)
        self.at_half = nn.Sequential(ConvBlock(w, 2 * w), ConvBlock(2 * w, 2 * w))
        self.at_quarter = nn.Sequential(ConvBlock(2 * w, 4 * w), ConvBlock(4 * w, 4 * w))
        self.tokens = nn.ModuleList(
            nn.Sequential(ChannelNorm(dim), nn.Conv2d(dim, 4 * w, 1))
            for _ in range(self.depths if dim else 0)
        )
        self.gate = nn.Parameter(torch.zeros(4 * w, 1, 1))
        self.bottom = ConvBlock(4 * w, 4 * w)
        self.up_half = ConvBlock(6 * w, 2 * w)
        self.up_full = ConvBlock(3 * w, w)
        self.drop = nn.Dropout2d(0.1)
        self.head = nn.Conv2d(2 * w, classes, 1)

    def forward(self, image: Tensor, maps: Sequence[Tensor]) -> Tensor:
        """image (B, bands, H, W), maps (B, dim, h, w) each. Returns logits (B, classes, H, W)."""
        spectral = self.spectral(image)
        full = self.at_full(torch.cat([self.stem(image), spectral], 1))
        half = self.at_half(F.avg_pool2d(full, 2))
        quarter = self.at_quarter(F.avg_pool2d(half, 2))
        for project, tokens in zip(self.tokens, maps, strict=False):
            quarter = quarter + self.gate * resize_to(project(tokens), quarter)
        x = self.bottom(self.drop(quarter))
        x = self.up_half(torch.cat([resize_to(x, half), half], 1))
        x = self.up_full(torch.cat([resize_to(x, full), full], 1))
        return self.head(torch.cat([x, spectral], 1))
