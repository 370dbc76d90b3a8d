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
from .fcn import FcnDecoder
from .forest import ForestDecoder
from .image_branch import ImageBranch
from .linear import LinearDecoder
from .local import LocalBranch
from .slim import SlimDecoder
from .unet import UnetDecoder
from .upernet import UperNetDecoder

MAX_WIDTH = 256
MAX_CHANNELS = 2048
DEPTHS = {
    "slim": SlimDecoder.depths,
    "linear": LinearDecoder.depths,
    "fcn": FcnDecoder.depths,
    "unet": UnetDecoder.depths,
    "upernet": UperNetDecoder.depths,
    "forest": 0,
    "forest-neighbourhood": 0,
}
TREES = 100
# Tokens that span more of the image's pixels say little of a single one.
COARSEST = 8.0
# The paper's channels (arXiv 2504.17397), for those decoders that have any.
CHANNELS = {"fcn": 512, "unet": 512, "upernet": 256}


@dataclass(frozen=True)
class DecoderSettings:
    """Which decoder, and how wide.

    `width` are the channels at full resolution of the slim one and of the image branch, `channels`
    those of the others (0: as in the paper). The slim one sees the image anyhow; each other one
    does where it has the `image_branch`. With `tokens`, the usual classifiers look at the plain
    backbone's tokens, too, where these are fine enough; with `discriminants`, the branch that
    learns what they say sees what the linear ones say of its features.
    """

    name: str = "slim"
    width: int = 32
    image_branch: bool = True
    channels: int = 0
    tokens: bool = False
    discriminants: bool = True

    def to_dict(self) -> dict[str, Any]:
        """The settings as JSON holds them."""
        return asdict(self)

    @staticmethod
    def from_dict(data: dict[str, Any]) -> DecoderSettings:
        """The settings that a card describes. Raises TilthError when they make no sense."""
        try:
            settings = DecoderSettings(
                str(data["name"]),
                int(data["width"]),
                bool(data["image_branch"]),
                int(data["channels"]),
                # Adapters of before have neither.
                bool(data.get("tokens", False)),
                bool(data.get("discriminants", False)),
            )
        except (KeyError, OverflowError, TypeError, ValueError) as error:
            raise TilthError("adapter card: the decoder is damaged") from error
        if settings.name not in DEPTHS or not 1 <= settings.width <= MAX_WIDTH:
            raise TilthError("adapter card: the decoder is not known or its width makes no sense")
        if not 0 <= settings.channels <= MAX_CHANNELS:
            raise TilthError("adapter card: the decoder's channels make no sense")
        return settings


def make(
    settings: DecoderSettings,
    bands: int,
    dims: Sequence[int],
    strides: Sequence[int],
    classes: int,
    zoom: float = 1.0,
) -> nn.Module:
    """A fresh decoder. `dims` and `strides` (pixels of the backbone's input, which is the image
    enlarged `zoom` times) are those of the feature maps that it will get; both are empty where
    there is no backbone.

    Raises TilthError for a decoder that needs a backbone and has none.
    """
    fine = bool(dims) and strides[-1] / zoom <= COARSEST
    plain = dims[-1] if settings.tokens and fine else 0
    if settings.name == "slim":
        local = LocalBranch(bands, classes, plain, settings.discriminants)
        return SlimDecoder(bands, dims, classes, settings.width, local)
    if settings.name.startswith("forest"):
        return ForestDecoder(bands, classes, TREES, settings.name == "forest-neighbourhood")
    if not dims:
        raise TilthError(f"decoder: {settings.name} needs a backbone; choose slim")
    if not settings.image_branch:
        return _plain(settings, dims, strides, classes, zoom)
    features = 2 * settings.width
    decoder = _plain(settings, dims, strides, features, zoom)
    local = LocalBranch(bands, classes, plain, settings.discriminants)
    return ImageBranch(decoder, features, bands, classes, settings.width, local)


def _plain(
    settings: DecoderSettings,
    dims: Sequence[int],
    strides: Sequence[int],
    outputs: int,
    zoom: float,
) -> nn.Module:
    """A decoder of the backbone's maps alone, with so many channels at its end."""
    if settings.name == "linear":
        return LinearDecoder(dims[-1], strides[-1], outputs)
    channels = settings.channels or CHANNELS[settings.name]
    pixels = [stride / zoom for stride in strides]
    if settings.name == "fcn":
        return FcnDecoder(dims[-1], pixels[-1], outputs, channels)
    if settings.name == "unet":
        return UnetDecoder(dims, pixels, outputs, channels)
    return UperNetDecoder(dims, pixels, outputs, channels)
