"""Tilth's own decoder: single pixels stay sharp."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..layers import ChannelNorm, ConvBlock, resize_to
from .local import LocalBranch

# The weight of the spectral branch that learns the labels; the rest is the distilled one's.
SHARE = 0.2


def spectral_branch(bands: int, classes: int, width: int) -> nn.Module:
    """A small network on each pixel's own bands: (B, bands, H, W) to logits (B, classes, H, W)."""
    return nn.Sequential(
        nn.Conv2d(bands, width, 1),
        nn.GELU(),
        nn.Conv2d(width, width, 1),
        nn.GELU(),
        nn.Conv2d(width, classes, 1),
    )


def joined(
    spectral: nn.Module,
    distilled: nn.Module,
    trust: Tensor,
    image: Tensor,
    around: Tensor,
    tokens: Tensor | None,
) -> Tensor:
    """Three opinions as one: logits (B, classes, H, W) of an image and of its surroundings.

    ``trust`` (0 to 1) is how much what learns by gradients counts beside what the usual classifiers
    say: a network needs more polygons than they. ``tokens`` are those of the plain backbone.
    """
    # In float32: half precision's ties would go to the class that comes first.
    labels = spectral(image).float().log_softmax(1)
    classic = distilled(image, tokens).float().log_softmax(1)
    share = SHARE * trust
    return share * labels + (1 - share) * classic + trust * around.float() / 2  # type: ignore[no-any-return]


class SlimDecoder(nn.Module):
    """Three opinions on every pixel: on its spectrum, on the pixels around it, on its surroundings.

    The first is a small network on the pixel's own bands (1x1 convolutions) that learns the labels;
    it is hard to mislead. The second sees mean and spread around the pixel, too, and learns what
    the usual classifiers make of the landscape (training/teacher.py). The third is a slim U-Net
    (layout after Ronneberger et al. 2015, arXiv 1505.04597) whose encoder sees the image at full,
    half and quarter resolution, so that single pixels stay sharp; the backbone's tokens of several
    depths are added at a quarter. It counts half as much as the others: where another region looks
    different, it is the surroundings that mislead (docs/trials.md).
    """

    depths = 2
    trust: Tensor

    def __init__(
        self,
        bands: int,
        dims: Sequence[int],
        classes: int,
        width: int = 32,
        distilled: LocalBranch | None = None,
    ) -> None:
        """`dims` are the widths of the feature maps; none means the decoder alone. `distilled` is
        the branch that learns from the usual classifiers; None: one that sees no tokens."""
        super().__init__()
        w = width
        self.spectral = spectral_branch(bands, classes, 2 * w)
        self.distilled = distilled or LocalBranch(bands, classes)
        self.register_buffer("trust", torch.ones(()))
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

    def forward(
        self, image: Tensor, maps: Sequence[Tensor], tokens: Tensor | None = None
    ) -> Tensor:
        """image (B, bands, H, W), maps and the plain backbone's tokens (B, dim, h, w). Returns
        logits (B, classes, H, W)."""
        around = self.surroundings(image, maps)
        return joined(self.spectral, self.distilled, self.trust, image, around, tokens)
