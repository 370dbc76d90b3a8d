"""The embedded backbone: a small vision transformer that takes any set of bands.

Bands enter through a hypernetwork that turns a wavelength into weights, after DOFA (Xiong et al.
2024, arXiv 2403.15356). Unlike DOFA's, it doesn't make a whole patch kernel for each band but a
per-pixel projection to `LIFT` channels; a non-linearity and a shared patch kernel follow. So the
network can form ratios of bands within a pixel before it mixes pixels, and the hypernetwork's
output is patch^2 * dim / LIFT times smaller.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from ..base import Backbone
from ..card import Card
from ..inputs import Inputs

DIM = 192
DEPTH = 8
HEADS = 3
PATCH = 4
LIFT = 64
# Codes for bands without a wavelength (radar, elevation, plain pictures): the first such band gets
# the first, and so on, so that two of them can be told apart.
UNKNOWN_CODES = 8
FREQUENCIES = 16
CODE = 128


class WavelengthCode(nn.Module):
    """A vector [CODE] for each wavelength: Fourier features of its logarithm, then a small MLP."""

    def __init__(self) -> None:
        """Weights are drawn from torch's generator."""
        super().__init__()
        self.unknown = nn.Parameter(torch.randn(UNKNOWN_CODES, 2 * FREQUENCIES + 1))
        self.mlp = nn.Sequential(
            nn.Linear(2 * FREQUENCIES + 1, CODE), nn.GELU(), nn.Linear(CODE, CODE)
        )
        self.norm = nn.LayerNorm(CODE)

    def forward(self, wavelengths: Tensor) -> Tensor:
        """Codes [C, CODE] of wavelengths [C] in nm, NaN where unknown."""
        unknown = wavelengths.isnan()
        order = unknown.long().cumsum(0).sub(1).remainder(UNKNOWN_CODES)
        features = _fourier(wavelengths.nan_to_num(nan=1000.0).float())
        features = torch.where(unknown[:, None], self.unknown[order].float(), features)
        code = self.mlp(features.to(self.unknown.dtype))
        return self.norm(code)  # type: ignore[no-any-return]


class BandLift(nn.Module):
    """Any number of bands -> `channels` features a pixel, with weights made from the wavelengths.

    The bands' mean is taken, not their sum: neighbouring bands of a standardised image correlate,
    so a mean keeps features of one band and of 200 bands at one size.
    """

    def __init__(self, channels: int) -> None:
        """Weights are drawn from torch's generator."""
        super().__init__()
        self.code = WavelengthCode()
        self.weight = nn.Linear(CODE, channels)
        self.bias = nn.Linear(CODE, channels)
        # A code's deviation is 1; so is, with this, that of a band's weights.
        nn.init.normal_(self.weight.weight, std=CODE**-0.5)

    def forward(self, image: Tensor, wavelengths: Tensor) -> Tensor:
        """Features [B, channels, H, W] of an image [B, C, H, W]; wavelengths [C] in nm or NaN."""
        code = self.code(wavelengths)
        weight = self.weight(code).T / image.shape[1]
        bias = self.bias(code).mean(0)
        return nn.functional.conv2d(image, weight[:, :, None, None].to(image.dtype), bias)


class EmbeddedBackbone(Backbone):
    """A plain pre-norm vision transformer (timm's blocks) over `BandLift` and a patch kernel."""

    def __init__(self, card: Card, inputs: Inputs) -> None:
        """Weights are drawn from torch's generator; the catalogue loads the trained ones."""
        super().__init__(card, inputs)
        self.dims, self.strides, self.patch = (DIM,) * DEPTH, (PATCH,) * DEPTH, PATCH
        self.lift = BandLift(LIFT)
        self.embed = nn.Conv2d(LIFT, DIM, PATCH, stride=PATCH)
        self.blocks = nn.ModuleList(Block(DIM, HEADS, qkv_bias=True) for _ in range(DEPTH))
        self.norm = nn.LayerNorm(DIM, eps=1e-6)
        # Else the positions, whose size is about 0.7, would drown the image at the start.
        nn.init.normal_(self.embed.weight, std=1.5 * (LIFT * PATCH**2) ** -0.5)

    def tokens(self, image: Tensor, wavelengths: Tensor) -> Tensor:
        """Patch embeddings [B, dim, H/patch, W/patch] without positions."""
        return self.embed(  # type: ignore[no-any-return]
            nn.functional.gelu(self.lift(image, wavelengths))
        )

    def forward(self, image: Tensor, depths: Sequence[int]) -> list[Tensor]:
        """Feature maps [B, dim, H/patch, W/patch]; see `Backbone.forward`."""
        self.check(image, depths)
        maps = self.tokens(image, self.wavelengths)
        rows, columns = maps.shape[-2:]
        grid = positions(rows, columns, maps.shape[1]).to(maps)
        tokens = maps.flatten(2).transpose(1, 2) + grid
        found: dict[int, Tensor] = {}
        for number, block in enumerate(self.blocks[: max(depths)], start=1):
            tokens = block(tokens)
            if number in depths:
                output = self.norm(tokens) if number == self.depth else tokens
                found[number] = output.transpose(1, 2).unflatten(2, (rows, columns))
        return [found[depth] for depth in depths]


def positions(rows: int, columns: int, dim: int, first: tuple[int, int] = (0, 0)) -> Tensor:
    """Sine-cosine codes [rows * columns, dim] of a grid of tokens whose corner is `first`."""
    along_y = _sinusoids(torch.arange(rows) + first[0], dim // 2)
    along_x = _sinusoids(torch.arange(columns) + first[1], dim // 2)
    grid = torch.cat(
        [
            along_y[:, None, :].expand(rows, columns, -1),
            along_x[None, :, :].expand(rows, columns, -1),
        ],
        dim=-1,
    )
    return grid.flatten(0, 1)


def _sinusoids(steps: Tensor, dim: int) -> Tensor:
    """Codes [N, dim] of positions [N], wavelengths from 2 pi to 1000 * 2 pi tokens."""
    rates = 1000.0 ** (-torch.arange(dim // 2) / (dim // 2))
    angles = steps[:, None].float() * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def _fourier(wavelengths: Tensor) -> Tensor:
    """Features [C, 2 * FREQUENCIES + 1] of wavelengths [C] in nm.

    The logarithm gives the visible, where bands lie closest, as much room as the infrared. The
    finest sinusoid turns once in about 5 % of the wavelength: enough to part red from red edge.
    """
    place = torch.log(wavelengths.clamp(200.0, 20000.0) / 1000.0)
    rates = torch.logspace(0, math.log10(20.0), FREQUENCIES, device=place.device)
    angles = place[:, None] * rates * 2 * math.pi
    return torch.cat([place[:, None], angles.sin(), angles.cos()], dim=1)
