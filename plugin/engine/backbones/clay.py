"""Clay v1 and v1.5: vision transformers for any bands, told pixel size, time and place.

Clay Foundation 2024, https://clay-foundation.github.io/model. Patch kernels come from the bands'
wavelengths (hypernetwork.py). To each patch a code is added: its place in the image with steps of
the pixel's size in metres, and eight numbers for time and place, which are zeros where they aren't
told, as in a fifth of the training.
"""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Mapping, Sequence

import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from torch.nn import functional as F

from . import conversion
from .base import Converted
from .card import Card
from .hypernetwork import Flavour, WavePatches, WaveTransformer, micrometres, renamed
from .inputs import Inputs

FLAVOUR = Flavour(F.gelu, scale=0.02, bias_scale=1.0, channels_last=False, padding=0)
METADATA = 8
EPS = 1e-5


class ClayBackbone(WaveTransformer):
    """The encoder of a Clay model.

    `card.options`: dim, depth, heads, gsd (of a pixel in metres, where it isn't known), stand_ins,
    and the hypernetwork's sizes.
    """

    metadata: Tensor

    def __init__(self, card: Card, inputs: Inputs) -> None:
        """Weights are drawn from torch's generator.

        Raises ValueError for a band without a wavelength, and for a date that is none.
        """
        dim, depth, heads = (int(card.options[name]) for name in ("dim", "depth", "heads"))
        lengths = torch.tensor(micrometres(card, inputs))
        embed = WavePatches(card, wave_codes(lengths, int(card.options["wave_dim"])), FLAVOUR)
        super().__init__(card, inputs, embed, [_block(dim, heads) for _ in range(depth)], EPS)
        known = inputs.resolution_m
        self.gsd = float(card.options["gsd"]) if known is None else known / inputs.zoom
        told = [0.0] * METADATA
        if inputs.time_location:
            told = [*time_code(inputs.dates), *location_code(inputs.location)]
        self.register_buffer("metadata", torch.tensor(told), persistent=False)

    def positions(self, rows: int, columns: int) -> tuple[None, Tensor]:
        """Nothing for the class token; codes [1, dim, rows, columns] for the patches."""
        told = self.metadata.float()[:, None, None].expand(-1, rows, columns)
        place = place_codes(rows, columns, self.dims[0] - METADATA, self.gsd, told.device)
        return None, torch.cat([place, told])[None]

    @classmethod
    def convert(cls, card: Card, published: Mapping[str, Tensor]) -> Converted:
        """Of the masked autoencoder the encoder: no decoder, no teacher, no projection.

        Names may begin with `model.`, as in a Lightning checkpoint. Raises ValueError where the
        checkpoint is not the card's.
        """
        bare = {name: re.sub(r"^(state_dict\.)?(model\.)?", "", name) for name in published}
        whole = any(name.startswith(ENCODER) for name in bare.values())
        kept: dict[str, Tensor] = {}
        left = []
        for name, own in bare.items():
            if whole and not own.startswith(ENCODER):
                left.append(name)
            else:
                kept[_own_name(own.removeprefix(ENCODER))] = published[name]
        return conversion.checked(cls, card, kept, left)


ENCODER = "encoder."
_PARTS = {
    "0.norm": "norm1",
    "0.to_qkv": "attn.qkv",
    "0.to_out": "attn.proj",
    "1.net.0": "norm2",
    "1.net.1": "mlp.fc1",
    "1.net.3": "mlp.fc2",
}
_RULES = (
    ("patch_embedding.fclayer.l1.", "embed.fc1."),
    ("patch_embedding.fclayer.l2.", "embed.fc2."),
    ("patch_embedding.weight_generator.encoder.layers.0.", "embed.layer."),
    ("patch_embedding.weight_generator.fc_weight.", "embed.kernel."),
    ("patch_embedding.weight_generator.fc_bias.", "embed.bias."),
    ("patch_embedding.weight_generator.weight_tokens", "embed.tokens"),
    ("patch_embedding.weight_generator.bias_token", "embed.bias_token"),
    ("transformer.norm.", "norm."),
)


def _own_name(name: str) -> str:
    """A name of the published encoder in this network's terms."""
    found = re.fullmatch(r"transformer\.layers\.(\d+)\.(.+)\.(weight|bias)", name)
    if found and found[2] in _PARTS:
        return f"blocks.{found[1]}.{_PARTS[found[2]]}.{found[3]}"
    return renamed(name, _RULES)


def _block(dim: int, heads: int) -> Block:
    """Timm's block, with no biases in the attention."""
    block = Block(dim, heads, qkv_bias=False, norm_layer=nn.LayerNorm)
    block.attn.proj = nn.Linear(dim, dim, bias=False)
    return block


def wave_codes(wavelengths: Tensor, dim: int) -> Tensor:
    """Codes [C, dim] of wavelengths [C] in micrometres: all sines, then all cosines."""
    steps = torch.arange(dim // 2) / (dim // 2 - 1)
    angles = wavelengths[:, None] * (1.0 / 10000**steps)
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def place_codes(
    rows: int, columns: int, dim: int, gsd: float, device: torch.device | str = "cpu"
) -> Tensor:
    """Codes [dim, rows, columns] of a grid of patches of pixels of `gsd` metres.

    Sines and cosines of the column, then of the row; `dim` is a multiple of 4. The published
    formula divides the exponents by `dim` once more than is usual, so that all rates are about
    `gsd`; the models were trained that way.
    """
    steps = torch.arange(dim // 4, device=device) / (dim // 4 - 1)
    # Single precision in this order, as in training: angles run to thousands.
    rates = 1.0 / 10000 ** (2 * steps / dim) * gsd
    across, down = (
        torch.arange(count, device=device)[:, None] * rates for count in (columns, rows)
    )
    along = torch.cat([across.sin(), across.cos()], dim=1).T[:, None, :].expand(-1, rows, -1)
    upright = torch.cat([down.sin(), down.cos()], dim=1).T[:, :, None].expand(-1, -1, columns)
    return torch.cat([along, upright])


def time_code(dates: Sequence[str]) -> list[float]:
    """Sine and cosine of the week of the year, then of the hour; zeros for what isn't known.

    Of several dates, none: the models take one. Raises ValueError for a date that is none.
    """
    if len(dates) != 1 or not dates[0]:
        return [0.0] * 4
    try:
        week = datetime.date.fromisoformat(dates[0][:10]).isocalendar()[1]
    except ValueError as error:
        raise ValueError(f"inputs: a date is not like 2025-06-30 ({error})") from error
    hour = re.match(r"[T ](\d\d)", dates[0][10:])
    return [*_turn(week / 52), *(_turn(int(hour[1]) / 24) if hour else (0.0, 0.0))]


def location_code(location: tuple[float, float] | None) -> list[float]:
    """Sine and cosine of latitude, then of longitude, of (longitude, latitude) in degrees."""
    if location is None:
        return [0.0] * 4
    longitude, latitude = location
    return [*_turn(latitude / 360), *_turn(longitude / 360)]


def _turn(share: float) -> tuple[float, float]:
    """Sine and cosine of a share of a full turn."""
    angle = 2 * math.pi * share
    return math.sin(angle), math.cos(angle)
