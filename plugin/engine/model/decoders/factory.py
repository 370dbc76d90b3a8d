"""Decoders: from the backbone's feature maps (and the image) to class logits per pixel.

Each is a module with `depths`, the number of feature maps that it wants, and
`forward(image [B, C, H, W], maps) -> logits [B, classes, h, w]`, which the segmenter brings to the
image's size where they have another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from torch import nn

from ...errors import TilthError
from .linear import LinearDecoder
from .slim import SlimDecoder

MAX_WIDTH = 256
DEPTHS = {"slim": SlimDecoder.depths, "linear": LinearDecoder.depths}


@dataclass(frozen=True)
class DecoderSettings:
    """Which decoder, and how wide (the slim one's channels at full resolution)."""

    name: str = "slim"
    width: int = 32

    def to_dict(self) -> dict[str, Any]:
        """The settings as JSON holds them."""
        return asdict(self)

    @staticmethod
    def from_dict(data: dict[str, Any]) -> DecoderSettings:
        """The settings that a card describes. Raises TilthError when they make no sense."""
        try:
            settings = DecoderSettings(str(data["name"]), int(data["width"]))
        except (KeyError, OverflowError, TypeError, ValueError) as error:
            raise TilthError("adapter card: the decoder is damaged") from error
        if settings.name not in DEPTHS or not 1 <= settings.width <= MAX_WIDTH:
            raise TilthError("adapter card: the decoder is not known or its width makes no sense")
        return settings


def make(
    settings: DecoderSettings,
    bands: int,
    dims: Sequence[int],
    strides: Sequence[int],
    classes: int,
) -> nn.Module:
    """A fresh decoder. `dims` and `strides` (pixels of the backbone's input) are those of the
    feature maps that it will get; both are empty where there is no backbone.

    Raises TilthError for a decoder that needs a backbone and has none.
    """
    if settings.name == "slim":
        return SlimDecoder(bands, dims, classes, settings.width)
    if not dims:
        raise TilthError(f"decoder: {settings.name} needs a backbone; choose slim")
    return LinearDecoder(dims[-1], strides[-1], classes)
