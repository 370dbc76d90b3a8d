"""DOFA: a vision transformer for any bands of optical, hyperspectral and radar images.

Xiong et al. 2024 (arXiv 2403.15356). Patch kernels come from the bands' wavelengths
(hypernetwork.py). Positions are those of the native chip, stretched to others.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from torch.nn import functional as F

from . import conversion, patches
from .base import Converted
from .card import Card
from .hypernetwork import Flavour, WavePatches, WaveTransformer, micrometres, renamed
from .inputs import Inputs

FLAVOUR = Flavour(F.relu, scale=0.01, bias_scale=0.01, channels_last=True, padding=1)
EPS = 1e-6


class DofaBackbone(WaveTransformer):
    """The encoder of a DOFA model.

    `card.options`: dim, depth, heads, stand_ins, and the hypernetwork's sizes.
    """

    pos_embed: Tensor

    def __init__(self, card: Card, inputs: Inputs) -> None:
        """Weights are drawn from torch's generator.

        Raises ValueError for a band without a wavelength.
        """
        dim, depth, heads = (int(card.options[name]) for name in ("dim", "depth", "heads"))
        nanometres = torch.tensor(micrometres(card, inputs)) * 1000
        codes = patches.sinusoids(nanometres, int(card.options["wave_dim"]))
        embed = WavePatches(card, codes, FLAVOUR)
        norm = partial(nn.LayerNorm, eps=EPS)
        blocks = [Block(dim, heads, qkv_bias=True, norm_layer=norm) for _ in range(depth)]
        super().__init__(card, inputs, embed, blocks, EPS)
        # Not trained, but published: so it is no parameter, but stored.
        side = card.native_size // card.patch
        self.register_buffer("pos_embed", usual_positions(side, dim))

    def positions(self, rows: int, columns: int) -> tuple[Tensor, Tensor]:
        """The class token's code [1, 1, dim], and the grid's [1, dim, rows, columns]."""
        side = self.card.native_size // self.patch
        grid = self.pos_embed[:, 1:].transpose(1, 2).unflatten(2, (side, side))
        return self.pos_embed[:, :1], patches.resize(grid, rows, columns)

    @classmethod
    def convert(cls, card: Card, published: Mapping[str, Tensor]) -> Converted:
        """The encoder of TorchGeo's files or of the authors'; their projector and head are left.

        TorchGeo's lack the final norm: it starts neutral, and `dropped` says so. Raises ValueError
        where the checkpoint is not the card's.
        """
        kept: dict[str, Tensor] = {}
        left = []
        for name, tensor in published.items():
            own = renamed(name.removeprefix("model."), _RULES)
            if own.split(".")[0] in _KEPT:
                kept[own] = tensor
            else:
                left.append(name)
        neutral = {"norm.weight": torch.ones, "norm.bias": torch.zeros}
        added = [name for name in neutral if name not in kept]
        for name in added:
            kept[name] = neutral[name](int(card.options["dim"]))
        found = conversion.checked(cls, card, kept, left)
        notes = [f"{name} (not in the file: starts neutral)" for name in added]
        return Converted(found.tensors, found.dropped + notes)


_KEPT = ("cls_token", "pos_embed", "embed", "blocks", "norm")
_RULES = (
    ("patch_embed.fclayer.w1.", "embed.fc1."),
    ("patch_embed.fclayer.w2.", "embed.fc2."),
    ("patch_embed.weight_generator.transformer_encoder.layers.0.", "embed.layer."),
    ("patch_embed.weight_generator.fc_weight.", "embed.kernel."),
    ("patch_embed.weight_generator.fc_bias.", "embed.bias."),
    ("patch_embed.weight_generator.weight_tokens", "embed.tokens"),
    ("patch_embed.weight_generator.bias_token", "embed.bias_token"),
)


def usual_positions(side: int, dim: int) -> Tensor:
    """Codes [1, 1 + side * side, dim] as a network starts with; the class token's are zeros.

    Half of the channels are for the column, half for the row (He et al. 2022, arXiv 2111.06377).
    """
    codes = patches.sinusoids(torch.arange(side, dtype=torch.float64), dim // 2).float()
    across = codes[None, :, :].expand(side, -1, -1)
    down = codes[:, None, :].expand(-1, side, -1)
    grid = torch.cat([across, down], dim=-1).flatten(0, 1)
    return torch.cat([torch.zeros(1, dim), grid])[None]
