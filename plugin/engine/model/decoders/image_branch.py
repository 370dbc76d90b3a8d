"""Tilth's full-resolution image branch, for any decoder."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..layers import ChannelNorm, ConvBlock, resize_to
from .local import LocalBranch
from .slim import SlimDecoder, joined, spectral_branch


def branches_of(decoder: nn.Module) -> SlimDecoder | ImageBranch | None:
    """The decoder, where it has branches on single pixels."""
    return decoder if isinstance(decoder, (SlimDecoder, ImageBranch)) else None


class ImageBranch(nn.Module):
    """A decoder joined with what the image itself shows, pixel by pixel.

    It does for any decoder what `SlimDecoder` has built in: two branches on each pixel and what is
    next to it, and an encoder of the image at full and half resolution that the decoder's features
    join, so that single pixels stay sharp however coarse the backbone's maps are.
    """

    trust: Tensor

    def __init__(
        self,
        decoder: nn.Module,
        features: int,
        bands: int,
        classes: int,
        width: int,
        distilled: LocalBranch,
    ) -> None:
        """`decoder` gives maps of so many `features` instead of logits; `width` are the branch's
        channels at full resolution, `distilled` is what learns from the usual classifiers."""
        super().__init__()
        w = width
        self.spectral = spectral_branch(bands, classes, 2 * w)
        self.distilled = distilled
        self.register_buffer("trust", torch.ones(()))
        self.decoder = decoder
        self.norm = ChannelNorm(features)
        self.stem = nn.Sequential(nn.Conv2d(bands, w, 3, padding=1), ChannelNorm(w), nn.GELU())
        self.at_full = ConvBlock(w, w)
        self.at_half = nn.Sequential(ConvBlock(w, 2 * w), ConvBlock(2 * w, 2 * w))
        self.up_half = ConvBlock(features + 2 * w, 2 * w)
        self.up_full = ConvBlock(features + 3 * w, w)
        self.head = nn.Conv2d(w, classes, 1)

    def surroundings(self, image: Tensor, maps: Sequence[Tensor]) -> Tensor:
        """Logits (B, classes, H, W) of the decoder joined with the image."""
        deep = self.norm(self.decoder(image, maps))
        full = self.at_full(self.stem(image))
        half = self.at_half(F.avg_pool2d(full, 2))
        x = self.up_half(torch.cat([resize_to(deep, half), half], 1))
        x = self.up_full(torch.cat([resize_to(x, full), resize_to(deep, full), full], 1))
        return self.head(x)  # type: ignore[no-any-return]

    def forward(
        self, image: Tensor, maps: Sequence[Tensor], tokens: Tensor | None = None
    ) -> Tensor:
        """As `SlimDecoder.forward`."""
        around = self.surroundings(image, maps)
        return joined(self.spectral, self.distilled, self.trust, image, around, tokens)
