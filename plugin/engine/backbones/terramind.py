"""TerraMind 1.0: one vision transformer over the patches of several sensors.

Jakubik et al. 2025 (arXiv 2504.11171). Each modality (a group of the card's bands) has a patch
kernel and a code of its own; the tokens of all that are there see each other, and the features of a
place are their mean over the modalities, as in the authors' fine-tuning. Only modalities of which
the image has bands are built. The models' other modalities (land cover, NDVI, captions, ...) come
in as tokens of networks that aren't part of this one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import torch
from timm.layers import SwiGLU
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from . import conversion, patches
from .base import Backbone, Converted
from .card import Card
from .inputs import Inputs

# The names of the card's groups in the published files.
PUBLISHED = {
    "S2L2A": "untok_sen2l2a@224",
    "S2L1C": "untok_sen2l1c@224",
    "RGB": "untok_sen2rgb@224",
    "S1GRD": "untok_sen1grd@224",
    "S1RTC": "untok_sen1rtc@224",
    "DEM": "untok_dem@224",
}
_NORM = partial(nn.LayerNorm, eps=1e-6, bias=False)


class Modality(nn.Module):
    """The patch kernel and the code of one group of bands."""

    def __init__(self, bands: int, dim: int, patch: int) -> None:
        """Weights are drawn from torch's generator."""
        super().__init__()
        self.embed = nn.Conv2d(bands, dim, patch, stride=patch, bias=False)
        self.code = nn.Parameter(0.02 * torch.randn(dim))

    def forward(self, image: Tensor) -> Tensor:
        """Patches [B, dim, H/patch, W/patch] of the group's bands [B, C, H, W]."""
        return self.embed(image) + self.code[:, None, None]  # type: ignore[no-any-return]


class TerraMindBackbone(Backbone):
    """The encoder of a TerraMind model. `card.options`: dim, depth, heads, gated.

    Gated blocks (base, large) have SwiGLU and no biases. No norm has a bias.
    """

    positions: Tensor

    def __init__(self, card: Card, inputs: Inputs) -> None:
        """Weights are drawn from torch's generator. Raises ValueError for more than one date."""
        super().__init__(card, inputs)
        if inputs.frame_count > 1:
            raise ValueError(f"{inputs.frame_count} dates, but it takes one")
        dim, depth, heads = (int(card.options[name]) for name in ("dim", "depth", "heads"))
        self.patch = card.patch
        self.dims, self.strides = (dim,) * depth, (card.patch,) * depth
        self.slices, self.places = bands_by_group(card, inputs)
        self.modalities = nn.ModuleDict(
            {group: Modality(len(found), dim, card.patch) for group, found in self.places.items()}
        )
        self.blocks = nn.ModuleList(
            _block(dim, heads, bool(card.options["gated"])) for _ in range(depth)
        )
        self.norm = _NORM(dim)
        self.register_buffer(
            "positions", positions(card.native_size // card.patch, dim), persistent=False
        )

    def forward(self, image: Tensor, depths: Sequence[int]) -> list[Tensor]:
        """Feature maps [B, dim, H/patch, W/patch]; see `Backbone.forward`."""
        self.check(image, depths)
        rows, columns = (side // self.patch for side in image.shape[-2:])
        grid = patches.resize(self.positions, rows, columns)
        tokens = torch.cat(
            [
                (modality(image[:, self.places[group]]) + grid).flatten(2).transpose(1, 2)
                for group, modality in self.modalities.items()
            ],
            dim=1,
        )
        found: dict[int, Tensor] = {}
        for number, block in enumerate(self.blocks[: max(depths)], start=1):
            tokens = block(tokens)
            if number in depths:
                output = self.norm(tokens) if number == self.depth else tokens
                output = output.unflatten(1, (len(self.modalities), rows, columns))
                found[number] = output.mean(1).permute(0, 3, 1, 2)
        return [found[depth] for depth in depths]

    @classmethod
    def convert(cls, card: Card, published: Mapping[str, Tensor]) -> Converted:
        """Of the whole model the encoder's blocks and the kernels of its untokenised modalities.

        Positions are made anew; the norms' biases are all zero. Raises ValueError where they aren't
        and where the checkpoint is not the card's.
        """
        kept: dict[str, Tensor] = {}
        left = []
        for name, tensor in published.items():
            own = _own_name(name, bool(card.options["gated"]))
            if own is None:
                left.append(name)
            elif own.endswith(("norm1.bias", "norm2.bias", "norm.bias")):
                if not tensor.is_meta and tensor.any():
                    raise ValueError(f"not the weights of {card.title}: {name} is not zero")
                left.append(name)
            elif own.endswith(".embed.weight"):
                kept[own] = _kernel(tensor, card.patch)
            else:
                kept[own] = tensor.flatten() if own.endswith(".code") else tensor
        return conversion.checked(cls, card, kept, left)

    def select(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The kernels of the image's modalities, cut to its bands."""
        kept = {name: value for name, value in tensors.items() if not _is_of_modality(name)}
        members = _members(self.card)
        for group, places in self.places.items():
            prefix = f"modalities.{group}"
            chosen = [members[group].index(self.slices[place]) for place in places]
            kernel = tensors[f"{prefix}.embed.weight"]
            kept[f"{prefix}.embed.weight"] = patches.cut(kernel, chosen)
            kept[f"{prefix}.code"] = tensors[f"{prefix}.code"]
        return kept


def bands_by_group(card: Card, inputs: Inputs) -> tuple[list[int], dict[str, list[int]]]:
    """The card's band whose slice each band of the image takes, and each group's places in it.

    An image's band that is none of the card's joins a group that is there anyway, if any. Groups
    come in the card's order.
    """
    members = _members(card)
    group_of = {index: group for group, found in members.items() for index in found}
    there = {group_of[index] for index in inputs.bands if index in group_of}
    # Of a card's groups only the first has bands of its wavelengths if none is there.
    allowed = there or {next(iter(members))}
    slices = patches.slices(
        card, inputs, [index for index, group in group_of.items() if group in allowed]
    )
    places = {
        group: [place for place, index in enumerate(slices) if group_of[index] == group]
        for group in members
    }
    return slices, {group: found for group, found in places.items() if found}


def positions(side: int, dim: int) -> Tensor:
    """Codes [1, dim, side, side] of rows (the first half of the channels) and columns."""
    along = patches.sinusoids(torch.arange(side, dtype=torch.float32), dim // 2)
    down = along[:, None, :].expand(side, side, -1)
    across = along[None, :, :].expand(side, side, -1)
    return torch.cat([down, across], dim=-1).permute(2, 0, 1)[None].contiguous()


def _block(dim: int, heads: int, gated: bool) -> Block:
    """Timm's block; a gated one's hidden width is two thirds of four times `dim`, rounded down."""
    if not gated:
        return Block(dim, heads, qkv_bias=True, norm_layer=_NORM)
    # The half keeps the product with `dim` from falling below the whole number.
    ratio = (8 * dim // 3 + 0.5) / dim
    return Block(
        dim,
        heads,
        mlp_ratio=ratio,
        proj_bias=False,
        norm_layer=_NORM,
        act_layer=nn.SiLU,
        mlp_layer=SwiGLU,
    )


def _members(card: Card) -> dict[str, list[int]]:
    """The card's bands by group, as indices."""
    members: dict[str, list[int]] = {}
    for index, band in enumerate(card.bands):
        members.setdefault(band.group, []).append(index)
    return members


def _is_of_modality(name: str) -> bool:
    return name.startswith("modalities.")


def _kernel(weight: Tensor, patch: int) -> Tensor:
    """A kernel [D, C, patch, patch] of a linear layer's weight [D, patch * patch * C].

    Of another shape it is as it was, for others to refuse.
    """
    if weight.ndim != 2 or weight.shape[1] % patch**2:
        return weight
    return weight.unflatten(1, (patch, patch, -1)).permute(0, 3, 1, 2)


def _own_name(name: str, gated: bool) -> str | None:
    """The network's name of a published tensor; None for what it doesn't use."""
    for group, published in PUBLISHED.items():
        prefix = f"encoder_embeddings.{published}."
        part = {"proj.weight": "embed.weight", "mod_emb": "code"}.get(name.removeprefix(prefix))
        if name.startswith(prefix) and part:
            return f"modalities.{group}.{part}"
    if name.startswith("encoder_norm."):
        return name.replace("encoder_norm.", "norm.", 1)
    if not name.startswith("encoder."):
        return None
    own = name.replace("encoder.", "blocks.", 1)
    if gated:
        own = own.replace(".mlp.fc1.", ".mlp.fc1_g.").replace(".mlp.fc3.", ".mlp.fc1_x.")
    return own
