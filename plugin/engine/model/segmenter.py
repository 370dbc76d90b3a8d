"""The segmenter: backbone, adapted by a method, and decoder."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..backbones import catalogue
from ..errors import TilthError
from . import methods
from .decoders import LinearDecoder, UNetDecoder
from .methods import Method, apply

MAX_WIDTH = 256


@dataclass(frozen=True)
class DecoderSettings:
    """Which decoder, and how wide (the U-Net's channels at full resolution)."""

    name: str = "unet"
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
        if settings.name not in ("unet", "linear") or not 1 <= settings.width <= MAX_WIDTH:
            raise TilthError("adapter card: the decoder is not known or its width makes no sense")
        return settings


class Segmenter(nn.Module):
    """From a standardised image to class logits.

    ``wavelengths`` (bands,) are in nm, NaN where unknown, and are the same for all chips.
    """

    def __init__(
        self,
        backbone: nn.Module,
        decoder: nn.Module,
        depths: list[int],
        wavelengths: Tensor,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.decoder = decoder
        self.depths = depths
        self.register_buffer("wavelengths", wavelengths, persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        """image (B, C, H, W), sides multiples of the patch (and of 4). Logits (B, K, H, W)."""
        maps = self.backbone(image, self.wavelengths, self.depths)
        return self.decoder(image, maps)

    def surroundings(self, image: Tensor) -> Tensor:
        """What training judges chips by: the logits without those of a spectral branch."""
        maps = self.backbone(image, self.wavelengths, self.depths)
        if isinstance(self.decoder, UNetDecoder):
            return self.decoder.surroundings(image, maps)
        return self.decoder(image, maps)  # type: ignore[no-any-return]


def build(
    backbone_id: str,
    method: Method,
    decoder: DecoderSettings,
    wavelengths: list[float | None],
    classes: int,
    *,
    seed: int = 0,
    random_backbone: bool = False,
) -> tuple[Segmenter, Method]:
    """A segmenter with a fresh decoder, and the method with its targets filled in.

    Raises TilthError for an unknown backbone, and for targets that are none of its own.
    """
    network = catalogue.build(backbone_id, random_weights=random_backbone, seed=seed)
    dim, patch, depth = network.dim, network.patch, network.depth
    if not set(method.targets) <= set(network.card.lora_targets):
        raise TilthError(f"adapter card: the method's targets are none of {backbone_id!r}")
    if method.name == "lora" and not method.targets:
        targets = tuple(network.card.lora_targets)
        method = Method(method.name, method.rank, method.alpha, targets)
    adapted = apply(network, method, seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        head: nn.Module
        if decoder.name == "linear":
            head = LinearDecoder(dim, patch, classes)
            depths = [depth]
        else:
            head = UNetDecoder(len(wavelengths), dim, classes, decoder.width)
            depths = [depth // 2, depth]
    codes = torch.tensor([float("nan") if w is None else float(w) for w in wavelengths])
    return Segmenter(adapted, head, depths, codes), method


def restore(
    segmenter: Segmenter, method: Method, adapter: dict[str, Tensor], decoder: dict[str, Tensor]
) -> None:
    """Put an adapter's tensors into a segmenter. Raises TilthError where they do not fit."""
    methods.restore(segmenter.backbone, method, adapter)
    try:
        segmenter.decoder.load_state_dict(decoder)
    except RuntimeError as error:
        raise TilthError("adapter weights: the decoder's do not fit the card") from error
