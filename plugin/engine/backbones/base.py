"""What every backbone looks like to the rest of the engine."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .card import Card
from .inputs import Inputs


@dataclass
class Converted:
    """A published checkpoint in the network's own names: what is stored as safetensors.

    `dropped` names what the checkpoint has and the network doesn't use (a pre-training decoder,
    positional codes that are computed anew), for people to read.
    """

    tensors: dict[str, Tensor]
    dropped: list[str]


class Backbone(nn.Module, ABC):
    """A network whose feature maps at chosen depths can be asked for, built for one set of inputs.

    `depth` is the number of blocks (of a CNN: of stages); `dims` and `strides` are the width of
    the features after each, and the pixels (of the enlarged image) that a feature spans each way.
    The image's sides must be multiples of `patch`. Every name of `card.lora_targets` is a layer
    (linear, of a CNN a convolution) within each of `self.blocks`.

    Subclasses are made with `(card, inputs)`, draw their weights from torch's generator, and
    say how a published checkpoint becomes theirs.
    """

    card: Card
    inputs: Inputs
    dims: tuple[int, ...]
    strides: tuple[int, ...]
    patch: int
    blocks: nn.ModuleList
    wavelengths: Tensor

    def __init__(self, card: Card, inputs: Inputs) -> None:
        """Keep what the network is built for; `wavelengths` [C] are in nm, NaN where unknown."""
        super().__init__()
        self.card, self.inputs = card, inputs
        lengths = [float("nan") if w is None else w for w in inputs.wavelengths]
        self.register_buffer("wavelengths", torch.tensor(lengths), persistent=False)

    @property
    def depth(self) -> int:
        """The number of blocks, or of a CNN's stages."""
        return len(self.dims)

    @abstractmethod
    def forward(self, image: Tensor, depths: Sequence[int]) -> list[Tensor]:
        """Feature maps of an image.

        image: float [B, C, H, W], standardised, without NaN, its C bands as `inputs` says.
        depths: 1-based numbers of the blocks whose output is wanted; the last block's output comes
            after the final norm.

        Returns one [B, dims[d-1], H/strides[d-1], W/strides[d-1]] for each of `depths`, in their
        order. Raises ValueError where H or W is no multiple of the patch, the image has another
        number of bands than `inputs`, or a depth doesn't exist.
        """

    @classmethod
    def convert(cls, card: Card, published: Mapping[str, Tensor]) -> Converted:
        """A published checkpoint in this network's names, for all the bands of the card.

        Raises ValueError where the checkpoint is not the card's.
        """
        raise ValueError(f"{card.id} has no published checkpoint")

    def select(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The tensors of the whole network cut to this one's inputs (as of its patch kernels)."""
        return dict(tensors)

    def fill(self, tensors: Mapping[str, Tensor]) -> None:
        """Load what `convert` made. Raises RuntimeError for any tensor too many or too few."""
        self.load_state_dict(self.select(tensors))

    def check(self, image: Tensor, depths: Sequence[int]) -> None:
        """Raise ValueError for arguments of `forward` that no backbone can take."""
        if image.ndim != 4 or image.shape[1] < 1:
            raise ValueError(f"image of shape {tuple(image.shape)}, expected [B, C, H, W]")
        height, width = image.shape[-2:]
        if height < 1 or width < 1 or height % self.patch or width % self.patch:
            raise ValueError(f"{height} x {width} pixels are no multiple of patch {self.patch}")
        if image.shape[1] != len(self.inputs.wavelengths):
            raise ValueError(
                f"{image.shape[1]} bands, expected {len(self.inputs.wavelengths)} as built for"
            )
        if not depths or not all(1 <= depth <= self.depth for depth in depths):
            raise ValueError(f"depths {list(depths)}, expected numbers from 1 to {self.depth}")
