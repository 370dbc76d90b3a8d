"""Galileo: a vision transformer over space, time and groups of bands, with patches of any size.

Tseng et al. 2025, "Galileo: Learning Global & Local Features of Many Remote Sensing Modalities"
(arXiv 2502.09356); weights by the authors under the MIT licence.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from .base import Backbone, Converted
from .card import Card
from .conversion import checked
from .dated import NDVI, DatedBands, month_codes, months, on_sphere
from .inputs import Inputs

# Metres: positions are counted in pixels of this size. Also what is taken where none is known.
BASE_RESOLUTION = 10.0
# Pixels along a patch of the published kernels; ours are resized to the card's patch.
KERNEL = 8
# Patches along the largest grid of the pre-training. Larger ones are cut, since features of grids
# beyond it are worse (benchmarks/probe_galileo.py) and dearer.
WINDOW = 12
# The order of the rows of the published codes; the second static group is the location.
GROUPS = ("S1", "S2_RGB", "S2_Red_Edge", "S2_NIR_10m", "S2_NIR_20m", "S2_SWIR", "NDVI")
_STATIC_LOCATION = 1


class GalileoBackbone(Backbone):
    """Galileo's encoder. Every patch has a token for each date and group of bands that is there.

    Within a window of `WINDOW` patches each way, the largest that it was trained on, all tokens
    attend to all; the cost grows with the square of dates x groups. A map holds each patch's mean
    over its tokens. Months come from the dates as `dated.months` says; the place is a further token
    where `inputs.time_location` allows it and the location is known. Maps of climate, terrain and
    land cover, which Galileo could take too, are left out. The card's options are `dim`, `depth`
    and `heads`; its `patch` may be 1 to 8.
    """

    time_codes: Tensor
    scaled: Tensor
    place: Tensor | None

    def __init__(self, card: Card, inputs: Inputs) -> None:
        """Weights are drawn from torch's generator. Raises ValueError as `DatedBands` does."""
        super().__init__(card, inputs)
        dim, depth, heads = (int(card.options[name]) for name in ("dim", "depth", "heads"))
        self.dims, self.patch = (dim,) * depth, card.patch
        self.strides = (self.patch,) * depth
        self.bands = DatedBands(card, inputs)
        self.embed = nn.ModuleDict(
            {
                group: nn.Conv2d(len(self.bands.groups[group]), dim, self.patch, stride=self.patch)
                for group in self.bands.frames
            }
        )
        self.group_codes = nn.Parameter(torch.randn(len(GROUPS), dim // 4) * 0.02)
        self.location = nn.Linear(3, dim)
        self.location_code = nn.Parameter(torch.randn(dim // 4) * 0.02)
        self.blocks = nn.ModuleList(
            Block(dim, heads, qkv_bias=True, norm_layer=functools.partial(nn.LayerNorm, eps=1e-5))
            for _ in range(depth)
        )
        self.norm = nn.LayerNorm(dim)
        when = sinusoids(torch.arange(self.bands.dates), dim // 4)
        season = month_codes(months(inputs), dim // 4)
        self.register_buffer("time_codes", torch.cat([when, season], 1), persistent=False)
        told = inputs.time_location and inputs.location is not None
        place = on_sphere(inputs.location) if told and inputs.location else None
        self.register_buffer("place", place, persistent=False)
        # Galileo centres a band at 0.5, with four standard deviations from 0 to 1; NDVI stays.
        scaled = torch.tensor([band.name != NDVI for band in card.bands])
        self.register_buffer("scaled", scaled[:, None, None], persistent=False)

    def forward(self, image: Tensor, depths: Sequence[int]) -> list[Tensor]:
        """Feature maps [B, dim, H/patch, W/patch]; see `Backbone.forward`."""
        self.check(image, depths)
        grid = self.tokens(image)
        down, across = (windows(count) for count in grid.shape[1:3])
        alike: dict[tuple[int, int], list[tuple[int, int]]] = {}
        for i, (top, bottom) in enumerate(down):
            for j, (left, right) in enumerate(across):
                alike.setdefault((bottom - top, right - left), []).append((i, j))
        pieces: dict[tuple[int, int], Tensor] = {}
        for places in alike.values():
            parts = [grid[:, slice(*down[i]), slice(*across[j])] for i, j in places]
            found = self._encoded(torch.cat(parts), depths)
            pieces.update(zip(places, found.chunk(len(places), 1), strict=True))
        strips = [
            torch.cat([pieces[i, j] for j in range(len(across))], 4) for i in range(len(down))
        ]
        return list(torch.cat(strips, 3))

    def _encoded(self, grid: Tensor, depths: Sequence[int]) -> Tensor:
        """Maps [depths, B, dim, h, w] of a window's tokens [B, h, w, dates and groups, dim]."""
        rows, columns, each, dim = grid.shape[1:]
        metres = (self.inputs.resolution_m or BASE_RESOLUTION) / self.inputs.zoom * self.patch
        codes = grid_codes(rows, columns, metres / BASE_RESOLUTION, dim // 4).to(grid.device)
        codes = nn.functional.pad(codes, (dim * 3 // 4, 0))
        tokens = (grid.flatten(1, 2) + codes[:, None]).flatten(1, 2)
        if self.place is not None:
            code = nn.functional.pad(self.location_code, (0, dim * 3 // 4))
            place = self.location(self.place) + code
            tokens = torch.cat([tokens, place.to(tokens).expand(len(tokens), 1, -1)], 1)
        found: dict[int, Tensor] = {}
        for number, block in enumerate(self.blocks[: max(depths)], start=1):
            tokens = block(tokens)
            if number in depths:
                output = self.norm(tokens) if number == self.depth else tokens
                found[number] = _means(output, rows * columns, each).unflatten(2, (rows, columns))
        return torch.stack([found[depth] for depth in depths])

    def tokens(self, image: Tensor) -> Tensor:
        """Tokens [B, h, w, dates and groups, dim] with the codes of group, date and month."""
        values = self.bands(image)
        centred = (values - self.bands.mean) / (4 * self.bands.std) + 0.5
        values = torch.where(self.scaled, centred, values)
        found = []
        for group, frames in self.bands.frames.items():
            part = values[:, frames][:, :, self.bands.groups[group]]
            maps = self.embed[group](part.flatten(0, 1)).unflatten(0, part.shape[:2])
            own = self.group_codes[GROUPS.index(group)].expand(len(frames), -1)
            code = torch.cat([own, self.time_codes[frames]], 1)
            code = nn.functional.pad(code, (0, maps.shape[2] - code.shape[1]))
            found.append(maps.permute(0, 3, 4, 1, 2) + code)
        return torch.cat(found, 3)

    @classmethod
    def convert(cls, card: Card, published: Mapping[str, Tensor]) -> Converted:
        """The authors' encoder.pt: q, k and v are put together, kernels stay at 8 x 8 pixels.

        Raises ValueError where it is another model's.
        """
        given = {name.replace(".backbone", ""): tensor for name, tensor in published.items()}
        depth = int(card.options["depth"])
        tensors: dict[str, Tensor] = {}
        for name, tensor in given.items():
            part = name.split(".")[-1]
            if name == "s_t_channel_embed":
                tensors["group_codes"] = tensor
            elif name == "st_channel_embed":
                tensors["location_code"] = tensor[_STATIC_LOCATION]
            elif name.startswith("static_embed.location."):
                tensors[f"location.{part}"] = tensor
            elif name.startswith("space_time_embed."):
                tensors[f"embed.{name.split('.')[1]}.{part}"] = tensor
            elif re.fullmatch(r"blocks\.\d+\.attn\.q\..*", name):
                three = [given.get(name.replace(".q.", f".{which}.")) for which in "qkv"]
                found = [tensor for tensor in three if tensor is not None]
                tensors[name.replace(".q.", ".qkv.")] = torch.cat(found)
            elif not re.fullmatch(r"blocks\.\d+\.attn\.[kv]\..*", name):
                tensors[name] = tensor
        if f"blocks.{depth}.norm1.weight" in given:
            raise ValueError(f"not the weights of {card.title}: it has more than {depth} blocks")
        whole = replace(card, patch=KERNEL, native_size=KERNEL)
        return checked(cls, whole, tensors, [])

    def select(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The groups that are there, with kernels resized to the patch."""
        absent = tuple(f"embed.{group}." for group in GROUPS if group not in self.embed)
        kept = {name: value for name, value in tensors.items() if not name.startswith(absent)}
        for name, value in kept.items():
            if name.startswith("embed.") and name.endswith(".weight"):
                kept[name] = resized(value, self.patch)
        return kept


def resized(kernel: Tensor, patch: int) -> Tensor:
    """Patch kernels [D, C, k, k] for patches of another size, [D, C, patch, patch].

    The kernel whose answer to a resized patch is, in the least-squares sense, the old one's to the
    patch itself (FlexiViT: Beyer et al. 2023, arXiv 2212.08013).
    """
    size = kernel.shape[-1]
    if size == patch:
        return kernel
    pixels = torch.eye(size * size).reshape(size * size, 1, size, size)
    smaller = nn.functional.interpolate(
        pixels, size=(patch, patch), mode="bicubic", antialias=True, align_corners=False
    )
    inverse = torch.linalg.pinv(smaller.flatten(1))
    return (kernel.float().flatten(2) @ inverse.T).unflatten(2, (patch, patch))


def windows(count: int) -> list[tuple[int, int]]:
    """Begin and end of as few parts of `count` patches as `WINDOW` allows, as equal as can be."""
    parts = -(-count // WINDOW)
    ends = [count * (number + 1) // parts for number in range(parts)]
    return list(zip([0, *ends[:-1]], ends, strict=True))


def sinusoids(steps: Tensor, dim: int) -> Tensor:
    """Codes [N, dim] of positions [N]: sines, then cosines.

    The rates fall from 1 to the fourth root of 1/10000 only, as in the published code.
    """
    rates = 10000.0 ** (-torch.arange(dim // 2) / (2 * dim))
    angles = steps.float()[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], 1)


def grid_codes(rows: int, columns: int, step: float, dim: int) -> Tensor:
    """Codes [rows * columns, dim] of a grid: half of each for its column, half for its row.

    step: the width of a token in pixels of `BASE_RESOLUTION` metres.
    """
    across = sinusoids(torch.arange(columns) * step, dim // 2)
    down = sinusoids(torch.arange(rows) * step, dim // 2)
    both = [across.expand(rows, -1, -1), down[:, None].expand(-1, columns, -1)]
    return torch.cat(both, 2).flatten(0, 1)


def _means(tokens: Tensor, patches: int, each: int) -> Tensor:
    """The mean [B, dim, patches] over a patch's `each` tokens and those that all patches share."""
    own, shared = tokens[:, : patches * each], tokens[:, patches * each :]
    total = own.unflatten(1, (patches, each)).sum(2) + shared.sum(1, keepdim=True)
    return (total / (each + shared.shape[1])).transpose(1, 2)
