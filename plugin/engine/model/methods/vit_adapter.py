"""ViT-Adapter: a convolutional branch beside a frozen vision transformer.

Source: Chen et al. 2022 (arXiv 2205.08534). Other than there, pixels are normalised by their own
channels instead of by the batch: no seams, and no dependence on the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...backbones.base import Backbone
from ...errors import TilthError
from ..layers import ChannelNorm, resize_to
from .deformable import DeformableAttention, Size, centres
from .prompts import check_blocks

GROUPS = 4
WIDTH = 64  # channels of the branch at a quarter of the resolution
POINTS = 4
MAX_PREFIX = 16  # class and register tokens before those of the image
NO_GRID = ("galileo", "presto")  # a token for each group of bands and date of a patch, or pixel
# The maps that serve where fewer than all are wanted: the fine ones, which the branch is for.
_PICKS = {1: [1], 2: [1, 3], 3: [1, 2, 3], 4: [1, 2, 3, 4]}


class SpatialPrior(nn.Module):
    """Convolutions from the image to maps at a 4th, 8th, 16th and 32nd of its resolution."""

    def __init__(self, bands: int, dim: int) -> None:
        super().__init__()
        w = WIDTH
        self.stem = nn.Sequential(
            *_conv(bands, w, 2), *_conv(w, w, 1), *_conv(w, w, 1), nn.MaxPool2d(3, 2, padding=1)
        )
        self.down = nn.ModuleList(
            nn.Sequential(*_conv(a, b, 2)) for a, b in ((w, 2 * w), (2 * w, 4 * w), (4 * w, 4 * w))
        )
        self.project = nn.ModuleList(nn.Conv2d(c, dim, 1) for c in (w, 2 * w, 4 * w, 4 * w))

    def forward(self, image: Tensor) -> list[Tensor]:
        """[B, bands, H, W] to four maps [B, dim, h, w]."""
        maps = [self.stem(image)]
        for down in self.down:
            maps.append(down(maps[-1]))
        return [project(x) for project, x in zip(self.project, maps, strict=True)]


class Injector(nn.Module):
    """What the branch knows, added to the transformer's tokens; nothing at first."""

    def __init__(self, dim: int, heads: int, ratio: float) -> None:
        super().__init__()
        self.query, self.memory = nn.LayerNorm(dim, eps=1e-6), nn.LayerNorm(dim, eps=1e-6)
        self.attend = DeformableAttention(dim, 3, heads, POINTS, ratio)
        self.gamma = nn.Parameter(torch.zeros(dim))

    def forward(self, tokens: Tensor, size: Size, branch: Tensor, sizes: Sequence[Size]) -> Tensor:
        """tokens [B, h * w, dim]; branch [B, sum of the levels' pixels, dim]."""
        places = centres(size, tokens)
        found = self.attend(self.query(tokens), places, self.memory(branch), sizes)
        return tokens + self.gamma * found


class Extractor(nn.Module):
    """What the transformer knows, added to the branch; then a small convolutional MLP."""

    def __init__(self, dim: int, heads: int, ratio: float) -> None:
        super().__init__()
        self.query, self.memory = nn.LayerNorm(dim, eps=1e-6), nn.LayerNorm(dim, eps=1e-6)
        self.attend = DeformableAttention(dim, 1, heads, POINTS, ratio)
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.fc1, self.fc2 = nn.Linear(dim, dim // 4), nn.Linear(dim // 4, dim)
        self.conv = nn.Conv2d(dim // 4, dim // 4, 3, padding=1, groups=dim // 4)

    def forward(self, branch: Tensor, sizes: Sequence[Size], tokens: Tensor, size: Size) -> Tensor:
        """The arguments as in `Injector`."""
        places = torch.cat([centres(level, branch) for level in sizes])
        branch = branch + self.attend(self.query(branch), places, self.memory(tokens), [size])
        levels = _maps(self.fc1(self.norm(branch)), sizes)
        mixed = torch.cat([self.conv(level).flatten(2) for level in levels], dim=2)
        return branch + self.fc2(F.gelu(mixed.transpose(1, 2)))  # type: ignore[no-any-return]


class AdaptedViT(nn.Module):
    """A frozen transformer and its branch, which looks like a CNN of four stages from outside.

    The blocks run in four groups. Before each, the branch is injected into the tokens; after each,
    it takes from them. `dims` and `strides` are those of the four maps.
    """

    def __init__(self, backbone: Backbone) -> None:
        """Weights are drawn from torch's generator; those of `backbone` are left as they are.

        Raises TilthError for a backbone that is no plain transformer with one grid of tokens.
        """
        super().__init__()
        check_blocks("vit-adapter", backbone)
        if backbone.inputs.frame_count > 1 or backbone.depth < GROUPS:
            raise TilthError(
                "method vit-adapter: it takes one date and a backbone of four blocks or more; "
                "choose lora"
            )
        # TerraMind has a grid for each sensor; a small chip's first would pass for a prefix.
        several = len(getattr(backbone, "modalities", ())) > 1
        if several or backbone.card.architecture in NO_GRID:
            raise _no_grid(backbone)
        dim = backbone.dims[0]
        self.backbone = backbone
        self.dims, self.strides, self.patch = (dim,) * 4, (4, 8, 16, 32), backbone.patch
        self.ends = [backbone.depth * (number + 1) // GROUPS for number in range(GROUPS)]
        heads = dim // 64 if dim % 64 == 0 else 1
        ratio = 0.5 if dim >= 768 else 1.0
        self.prior = SpatialPrior(len(backbone.inputs.wavelengths), dim)
        self.level = nn.Parameter(torch.randn(3, dim) * 0.02)
        self.injectors = nn.ModuleList(Injector(dim, heads, ratio) for _ in range(GROUPS))
        self.extractors = nn.ModuleList(Extractor(dim, heads, ratio) for _ in range(GROUPS + 2))
        self.up = nn.ConvTranspose2d(dim, dim, 2, stride=2)
        self._branches: list[Any] = [None] * (GROUPS + 1)
        self._sizes: list[Size] = []
        self._size: Size = (0, 0)
        for number, (start, end) in enumerate(zip([0, *self.ends], self.ends, strict=False)):
            backbone.blocks[start].register_forward_pre_hook(partial(self._inject, number))
            backbone.blocks[end - 1].register_forward_hook(partial(self._extract, number))

    @property
    def depth(self) -> int:
        """The number of maps."""
        return len(self.dims)

    @staticmethod
    def pick(count: int) -> list[int]:
        """Which of the maps (from 1) serve a decoder that wants so many."""
        return _PICKS[count]

    def forward(self, image: Tensor, depths: Sequence[int]) -> list[Tensor]:
        """Maps [B, dim, h, w] of an image [B, C, H, W]: 1 to 4, a 4th to a 32nd of its resolution.

        Raises ValueError for a size that the backbone refuses, TilthError where its tokens are not
        the grid of the image's patches.
        """
        first, *rest = self.prior(image)
        self._sizes = [(x.shape[-2], x.shape[-1]) for x in rest]
        self._size = image.shape[-2] // self.patch, image.shape[-1] // self.patch
        flat = [x.flatten(2).transpose(1, 2) + e for x, e in zip(rest, self.level, strict=True)]
        self._branches[0] = torch.cat(flat, dim=1)
        features = self.backbone(image, self.ends)
        second, third, fourth = _maps(self._branches[-1], self._sizes)
        # What was kept for the hooks would hold the whole graph until the next image.
        if not torch.is_grad_enabled():
            self._branches = [None] * (GROUPS + 1)
        up = resize_to(self.up(second), first)
        maps = [first + up, second, third, fourth]
        found = []
        for depth in depths:
            x = maps[depth - 1]
            found.append(_normalised(x + resize_to(features[depth - 1], x)))
        return found

    def _inject(self, number: int, block: nn.Module, inputs: tuple[Tensor, ...]) -> Any:
        """Before a group's first block."""
        tokens, *others = inputs
        branch = self._branches[number]
        prefix = self._prefix(tokens)
        injected = self.injectors[number](tokens[:, prefix:], self._size, branch, self._sizes)
        return (torch.cat([tokens[:, :prefix], injected.to(tokens.dtype)], dim=1), *others)

    def _extract(self, number: int, block: nn.Module, inputs: Any, tokens: Tensor) -> None:
        """After a group's last block; twice more at the end."""
        image_tokens = tokens[:, self._prefix(tokens) :]
        branch = self._branches[number]
        which = [number] if number < GROUPS - 1 else range(number, len(self.extractors))
        for extractor in (self.extractors[index] for index in which):
            branch = extractor(branch, self._sizes, image_tokens, self._size)
        self._branches[number + 1] = branch

    def _prefix(self, tokens: Tensor) -> int:
        """How many tokens come before those of the image."""
        prefix = tokens.shape[1] - self._size[0] * self._size[1]
        if not 0 <= prefix <= MAX_PREFIX:
            raise _no_grid(self.backbone)
        return prefix


def _no_grid(backbone: Backbone) -> TilthError:
    return TilthError(
        f"method vit-adapter: the tokens of backbone {backbone.card.id!r} are not one for each "
        "patch of the image; choose lora"
    )


def _normalised(x: Tensor) -> Tensor:
    """Each pixel's channels [B, dim, h, w] with mean 0 and deviation 1."""
    return F.layer_norm(x.permute(0, 2, 3, 1), x.shape[1:2]).permute(0, 3, 1, 2)


def _conv(inputs: int, outputs: int, stride: int) -> tuple[nn.Module, ...]:
    return (
        nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False),
        ChannelNorm(outputs),
        nn.ReLU(),
    )


def _maps(tokens: Tensor, sizes: Sequence[Size]) -> list[Tensor]:
    """Tokens [B, N, dim] of several levels as maps [B, dim, h, w]."""
    levels = tokens.split([height * width for height, width in sizes], dim=1)
    return [
        level.transpose(1, 2).unflatten(2, size) for level, size in zip(levels, sizes, strict=True)
    ]
