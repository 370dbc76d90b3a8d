"""Prithvi-EO 1.0 and 2.0: vision transformers over the patches of one or several dates.

Jakubik et al. 2023 (arXiv 2310.18660), Szwarcman et al. 2024 (arXiv 2412.02732). The patch kernel
spans one date, so a stack of dates is so many images whose tokens see each other. Positions are
fixed sine-cosine codes of date, row and column; they are made for the native chip and stretched to
others, as the authors do. The TL models can be told when and where an image was taken.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from functools import partial

import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from . import conversion, patches
from .base import Backbone, Converted
from .card import Card
from .inputs import Inputs

# Block and final norm; timm's own default is another epsilon.
_NORM = partial(nn.LayerNorm, eps=1e-5)


class PrithviBackbone(Backbone):
    """The encoder of a Prithvi model. `card.options`: dim, depth, heads, coordinates (of TL).

    A feature map of T dates has T * dim channels, the first date's first. Time enters only where
    every date is known.
    """

    def __init__(self, card: Card, inputs: Inputs) -> None:
        """Weights are drawn from torch's generator.

        Raises ValueError where the dates don't have the same bands.
        """
        super().__init__(card, inputs)
        dim, depth, heads = (int(card.options[name]) for name in ("dim", "depth", "heads"))
        self.places, self.slices = bands_by_date(card, inputs)
        dates = len(self.places)
        self.patch = card.patch
        self.dims, self.strides = (dates * dim,) * depth, (card.patch,) * depth
        self.embed = nn.Conv2d(len(self.slices), dim, card.patch, stride=card.patch)
        self.cls_token = nn.Parameter(0.02 * torch.randn(1, 1, dim))
        self.blocks = nn.ModuleList(
            Block(dim, heads, qkv_bias=True, norm_layer=_NORM) for _ in range(depth)
        )
        self.norm = _NORM(dim)
        self.register_buffer(
            "positions", positions(dates, card.native_size // card.patch, dim), persistent=False
        )
        if card.options["coordinates"]:
            self.time_scale = nn.Parameter(torch.full((1,), 0.1))
            self.location_scale = nn.Parameter(torch.full((1,), 0.1))
        told = bool(card.options["coordinates"]) and inputs.time_location
        self.register_buffer("time", time_code(inputs, dim) if told else None, persistent=False)
        self.register_buffer(
            "location", location_code(inputs, dim) if told else None, persistent=False
        )

    positions: Tensor
    time: Tensor | None
    location: Tensor | None

    def forward(self, image: Tensor, depths: Sequence[int]) -> list[Tensor]:
        """Feature maps [B, T * dim, H/patch, W/patch]; see `Backbone.forward`."""
        self.check(image, depths)
        batch, dates = image.shape[0], len(self.places)
        stack = torch.stack([image[:, places] for places in self.places], dim=1)
        maps = self.embed(stack.flatten(0, 1))
        rows, columns = maps.shape[-2:]
        maps = maps.unflatten(0, (batch, dates))
        maps = maps + patches.resize(self.positions, rows, columns, align_corners=True)
        if self.time is not None:
            maps = maps + self.time_scale * self.time[..., None, None]
        if self.location is not None:
            maps = maps + self.location_scale * self.location[..., None, None]
        tokens = maps.flatten(3).transpose(2, 3).flatten(1, 2)
        tokens = torch.cat([self.cls_token.expand(batch, -1, -1).to(tokens), tokens], dim=1)
        found: dict[int, Tensor] = {}
        for number, block in enumerate(self.blocks[: max(depths)], start=1):
            tokens = block(tokens)
            if number in depths:
                output = self.norm(tokens) if number == self.depth else tokens
                grid = output[:, 1:].unflatten(1, (dates, rows, columns))
                found[number] = grid.permute(0, 1, 4, 2, 3).flatten(1, 2)
        return [found[depth] for depth in depths]

    @classmethod
    def convert(cls, card: Card, published: Mapping[str, Tensor]) -> Converted:
        """Of the masked autoencoder the encoder; fixed positions are made anew.

        The files of 2.0 have the prefix `encoder.`, those of 1.0 have none. Raises ValueError where
        the checkpoint is not the card's.
        """
        kept: dict[str, Tensor] = {}
        left = []
        for name, tensor in published.items():
            own = name.replace("_timm_module.", "").removeprefix("encoder.")
            own = _RENAMED.get(own, own)
            if "decoder" in own or "_dec." in own or own in ("mask_token", "pos_embed"):
                left.append(name)
            elif own == "embed.weight" and tensor.ndim == 5 and tensor.shape[2] == 1:
                kept[own] = tensor[:, :, 0]
            else:
                kept[own] = tensor
        return conversion.checked(cls, card, kept, left)

    def select(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The patch kernel cut to the image's bands."""
        return {**tensors, "embed.weight": patches.cut(tensors["embed.weight"], self.slices)}


_RENAMED = {
    "patch_embed.proj.weight": "embed.weight",
    "patch_embed.proj.bias": "embed.bias",
    "temporal_embed_enc.scale": "time_scale",
    "location_embed_enc.scale": "location_scale",
}


def positions(dates: int, side: int, dim: int) -> Tensor:
    """Codes [dates, dim, side, side] of column, row and date.

    They take 6, 6 and 4 sixteenths of the channels, in this order.
    """
    shape = (dates, side, side)
    sixteenth = dim // 16
    grid = torch.arange(side, dtype=torch.float64)
    across = patches.sinusoids(grid, 6 * sixteenth)[None, None, :, :].expand(*shape, -1)
    down = patches.sinusoids(grid, 6 * sixteenth)[None, :, None, :].expand(*shape, -1)
    when = patches.sinusoids(torch.arange(dates, dtype=torch.float64), 4 * sixteenth)
    later = when[:, None, None, :].expand(*shape, -1)
    return torch.cat([across, down, later], dim=-1).permute(0, 3, 1, 2).float().contiguous()


def time_code(inputs: Inputs, dim: int) -> Tensor | None:
    """Codes [T, dim] of the dates' years and days of the year; None where a date isn't known.

    Raises ValueError for a date that is none.
    """
    if not inputs.dates or not all(inputs.dates):
        return None
    try:
        dates = [datetime.date.fromisoformat(date[:10]) for date in inputs.dates]
    except ValueError as error:
        raise ValueError(f"inputs: a date is not like 2025-06-30 ({error})") from error
    # Single precision, as in training: a year's fast sinusoids would differ otherwise.
    years = torch.tensor([float(date.year) for date in dates])
    days = torch.tensor([float(date.timetuple().tm_yday) for date in dates])
    half = dim // 2
    return torch.cat([patches.sinusoids(years, half), patches.sinusoids(days, dim - half)], dim=1)


def location_code(inputs: Inputs, dim: int) -> Tensor | None:
    """Codes [1, dim] of latitude and longitude in degrees; None where they aren't known."""
    if inputs.location is None:
        return None
    longitude, latitude = (torch.tensor([float(degrees)]) for degrees in inputs.location)
    half = dim // 2
    return torch.cat(
        [patches.sinusoids(latitude, half), patches.sinusoids(longitude, dim - half)], dim=1
    )


def bands_by_date(card: Card, inputs: Inputs) -> tuple[list[list[int]], list[int]]:
    """Where in the image each date's bands are, and the card's bands whose slices they take.

    The bands come in the card's order. Raises ValueError where a date has other bands than another.
    """
    chosen = patches.slices(card, inputs)
    places = [sorted(date, key=lambda place: chosen[place]) for date in patches.frames(inputs)]
    by_date = [[chosen[place] for place in date] for date in places]
    for number, slices in enumerate(by_date, start=1):
        if slices != by_date[0]:
            raise ValueError(f"date {number} has other bands than the first; each needs the same")
    return places, by_date[0]
