"""What every backbone looks like to the rest of the engine."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor, nn

from .card import Card


class Backbone(nn.Module, ABC):
    """A vision transformer whose feature maps after chosen blocks can be asked for.

    `card` describes it, `dim` is the width of its features, `patch` the pixels a token spans each
    way, `depth` the number of its blocks. The blocks are `self.blocks`, and every name of
    `card.lora_targets` is a linear layer within each of them.
    """

    card: Card
    dim: int
    patch: int
    depth: int

    @abstractmethod
    def forward(self, image: Tensor, wavelengths: Tensor, depths: Sequence[int]) -> list[Tensor]:
        """Feature maps of an image.

        image: float [B, C, H, W], standardised as the card's `normalisation` says, without NaN.
        wavelengths: float [C], each band's centre in nm, NaN where unknown.
        depths: 1-based numbers of the blocks whose output is wanted; the last block's output comes
            after the final norm.

        Returns one [B, dim, H/patch, W/patch] for each of `depths`, in their order. Raises
        ValueError where H or W is no multiple of the patch, the wavelengths don't match the bands,
        or a depth doesn't exist.
        """

    def check(self, image: Tensor, wavelengths: Tensor, depths: Sequence[int]) -> None:
        """Raise ValueError for arguments of `forward` that no backbone can take."""
        if image.ndim != 4 or image.shape[1] < 1:
            raise ValueError(f"image of shape {tuple(image.shape)}, expected [B, C, H, W]")
        height, width = image.shape[-2:]
        if height < 1 or width < 1 or height % self.patch or width % self.patch:
            raise ValueError(f"{height} x {width} pixels are no multiple of patch {self.patch}")
        if wavelengths.shape != (image.shape[1],):
            raise ValueError(f"{tuple(wavelengths.shape)} wavelengths for {image.shape[1]} bands")
        if not depths or not all(1 <= depth <= self.depth for depth in depths):
            raise ValueError(f"depths {list(depths)}, expected numbers from 1 to {self.depth}")
