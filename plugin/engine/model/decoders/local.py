"""A branch on each pixel and the squares around it, with features that are not learnt."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from .neighbourhood import feature_count, features
from .token_opinion import TokenOpinion

# Sides of the squares, in pixels.
SIDES = (3, 5, 9)
WIDTH = 96
# No standardised feature is as large.
FARTHEST = 60_000.0


class LocalBranch(nn.Module):
    """A small network on a pixel's bands, their mean and spread in squares around it, and on what a
    linear discriminant makes of the backbone's tokens.

    It learns what the usual classifiers say, that discriminant among them (training/teacher.py).
    """

    mean: Tensor
    spread: Tensor
    lowest: Tensor
    highest: Tensor

    def __init__(self, bands: int, classes: int, dim: int = 0) -> None:
        """`dim` is the width of the tokens; 0 where there are none."""
        super().__init__()
        self.tokens = TokenOpinion(dim, classes) if dim else None
        self.local = feature_count(bands, SIDES)
        count = self.local + classes * bool(dim)
        self.register_buffer("mean", torch.zeros(count))
        self.register_buffer("spread", torch.ones(count))
        self.register_buffer("lowest", torch.full((count,), -FARTHEST))
        self.register_buffer("highest", torch.full((count,), FARTHEST))
        self.layers = nn.Sequential(
            nn.Conv2d(count, WIDTH, 1),
            nn.GELU(),
            nn.Conv2d(WIDTH, WIDTH, 1),
            nn.GELU(),
            nn.Conv2d(WIDTH, classes, 1),
        )

    def forward(self, image: Tensor, tokens: Tensor | None = None) -> Tensor:
        """image (B, bands, H, W), tokens (B, dim, h, w). Returns logits (B, classes, H, W)."""
        with torch.autocast(image.device.type, enabled=False):
            values = features(image.float(), SIDES)
            if self.tokens is not None and tokens is not None:
                values = torch.cat([values, self.tokens(tokens.float(), image)], 1)
        return self.judge(values)

    def judge(self, values: Tensor) -> Tensor:
        """Logits (B, classes, H, W) of features (B, F, H, W), the tokens' chances among them."""
        shape = (1, -1, 1, 1)
        held = values.clamp(self.lowest.view(shape), self.highest.view(shape))
        return self.layers((held - self.mean.view(shape)) / self.spread.view(shape))  # type: ignore[no-any-return]

    def with_opinion(self, values: Tensor) -> Tensor:
        """Features (N, F) whose tokens, the last of them, are replaced by what is made of them."""
        if self.tokens is None:
            return values
        device = self.tokens.low.device
        with torch.no_grad():
            tokens = values[:, self.local :].T[None, :, :, None].to(device)
            chances = self.tokens(tokens, tokens)[0, :, :, 0].T.to(values)
        return torch.cat([values[:, : self.local], chances], 1)

    def look_at(self, values: Tensor) -> None:
        """Take mean and spread of features (N, F) as those to be expected, and their ranges as what
        is known: beyond it a forest says what it says at the edge, where a network would guess."""
        # In half precision, as the file holds them, so that the score is that of the file.
        self.mean.copy_(values.mean(0).half())
        self.spread.copy_(values.std(0).clamp(min=0.01).half())
        self.lowest.copy_(values.amin(0).half().clamp(-FARTHEST, FARTHEST))
        self.highest.copy_(values.amax(0).half().clamp(-FARTHEST, FARTHEST))

    def makes_sense(self) -> bool:
        """Whether features have a spread and lie in ranges: a stranger's file may not say so."""
        return bool((self.spread > 0).all() and (self.lowest <= self.highest).all())

    def _load_from_state_dict(self, state: dict[str, Tensor], prefix: str, *rest: Any) -> None:
        """Adapters of before know no ranges."""
        for name in ("lowest", "highest"):
            state.setdefault(prefix + name, getattr(self, name))
        super()._load_from_state_dict(state, prefix, *rest)
