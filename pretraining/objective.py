"""What pre-training asks of the backbone: to fill in what is hidden, and to name what it sees.

Masked autoencoding (He et al. 2022, arXiv 2111.06377) with a decoder that is told a wavelength and
predicts that band, shown or not. The land-cover truth of the generated scenes is a second task.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from covers import CLASSES
from engine import register
from pool import Batch
from timm.models.vision_transformer import Block
from torch import Tensor, nn

register()
from tilth_engine.backbones.embedded.network import (  # noqa: E402
    CODE,
    DIM,
    PATCH,
    EmbeddedBackbone,
    WavelengthCode,
    positions,
)

WIDTH = 128
PIXELS = PATCH * PATCH


@dataclass(frozen=True)
class Weights:
    """How much each part of the loss counts."""

    hidden: float = 1.0
    seen: float = 0.3
    classes: float = 1.0


class Decoder(nn.Module):
    """Predicts any band's pixels at every token."""

    def __init__(self) -> None:
        """Two narrow blocks, then a head made from wavelengths."""
        super().__init__()
        self.enter = nn.Linear(DIM, WIDTH)
        self.hidden = nn.Parameter(torch.randn(WIDTH) * 0.02)
        self.blocks = nn.Sequential(*(Block(WIDTH, 4, qkv_bias=True) for _ in range(2)))
        self.norm = nn.LayerNorm(WIDTH)
        self.code = WavelengthCode()
        self.head = nn.Linear(CODE, (WIDTH + 1) * PIXELS)

    def forward(self, tokens: Tensor, kept: Tensor, grid: Tensor, asked: Tensor) -> Tensor:
        """Pixels [B, T, N, 16] of the bands asked [T] in nm.

        tokens: [B, K, dim] of the kept places [B, K] among N; grid: positions [N, WIDTH].
        """
        count, total = len(tokens), len(grid)
        every = self.hidden.expand(count, total, WIDTH).to(tokens.dtype)
        index = kept[:, :, None].expand(-1, -1, WIDTH)
        every = every.scatter(1, index, self.enter(tokens).to(every.dtype))
        features = self.norm(self.blocks(every + grid.to(every)))
        head = self.head(self.code(asked)).unflatten(1, (WIDTH + 1, PIXELS))
        head = head.to(features.dtype)
        pixels = torch.einsum("bnd,tdp->btnp", features, head[:, :WIDTH] / WIDTH**0.5)
        offsets: Tensor = head[None, :, WIDTH:, :]
        return pixels + offsets


class Objective(nn.Module):
    """The backbone with all that only pre-training needs."""

    def __init__(self, backbone: EmbeddedBackbone, weights: Weights) -> None:
        """Take the backbone to train."""
        super().__init__()
        self.backbone, self.weights = backbone, weights
        self.decoder = Decoder()
        self.classes = nn.Linear(DIM, len(CLASSES) * PIXELS)

    def forward(self, batch: Batch, keep: float, corner: tuple[int, int]) -> dict[str, Tensor]:
        """Losses by name, "total" among them.

        keep: share of the tokens that is shown; corner: the first token's place, varied so that
        images larger than the crops of pre-training find no unknown positions.
        """
        image = torch.from_numpy(batch.image)
        wavelengths = torch.from_numpy(batch.wavelengths)
        side = image.shape[-1] // PATCH
        maps = self.backbone.tokens(image, wavelengths)
        every = maps.flatten(2).transpose(1, 2) + positions(side, side, DIM, corner).to(maps)
        kept = _choose(len(image), side * side, keep)
        tokens = every.gather(1, kept[:, :, None].expand(-1, -1, DIM))
        for block in self.backbone.blocks:
            tokens = block(tokens)
        tokens = self.backbone.norm(tokens)
        pixels = self.decoder(
            tokens,
            kept,
            positions(side, side, WIDTH, corner),
            torch.from_numpy(batch.target_wavelengths),
        )
        logits = self.classes(tokens).unflatten(2, (PIXELS, len(CLASSES)))
        return self._losses(batch, kept, pixels, logits)

    def _losses(
        self, batch: Batch, kept: Tensor, pixels: Tensor, logits: Tensor
    ) -> dict[str, Tensor]:
        """Compare pixels [B, T, N, 16] and logits [B, K, 16, classes] with the truth."""
        target = _patches(torch.from_numpy(batch.target))
        error = nn.functional.smooth_l1_loss(pixels.float(), target, reduction="none").mean((1, 3))
        seen = torch.zeros(error.shape).scatter(1, kept, 1.0)
        hidden = 1 - seen
        losses = {
            "hidden": (error * hidden).sum() / hidden.sum().clamp(min=1),
            "seen": (error * seen).sum() / seen.sum(),
        }
        truth = _patches(torch.from_numpy(batch.classes)[:, None])[:, 0]
        shown = truth.gather(1, kept[:, :, None].expand(-1, -1, PIXELS))
        losses["classes"] = nn.functional.cross_entropy(
            logits.float().flatten(0, -2), shown.flatten(), label_smoothing=0.05
        )
        losses["total"] = (
            self.weights.hidden * losses["hidden"]
            + self.weights.seen * losses["seen"]
            + self.weights.classes * losses["classes"]
        )
        return losses


def _choose(count: int, total: int, keep: float) -> Tensor:
    """For each of `count` images, places [count, K] of the tokens to keep, without repetition."""
    return torch.rand(count, total).argsort(1)[:, : max(1, round(total * keep))]


def _patches(image: Tensor) -> Tensor:
    """[B, C, H, W] -> [B, C, tokens, PIXELS]."""
    count, bands, height, width = image.shape
    rows, columns = height // PATCH, width // PATCH
    cut = image.reshape(count, bands, rows, PATCH, columns, PATCH).transpose(3, 4)
    return cut.reshape(count, bands, rows * columns, PIXELS)


def shares(rng: np.random.Generator) -> float:
    """The share of tokens to show in a step: mostly 25 to 50 %, at times all of them.

    A few values only: each new shape costs a CPU the making of new kernels.
    """
    return float(rng.choice((0.25, 0.375, 0.5, 1.0), p=(0.25, 0.25, 0.3, 0.2)))
