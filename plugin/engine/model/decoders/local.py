"""A branch on each pixel and the squares around it, with features that are not learnt."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from .linear_opinion import LinearOpinion
from .neighbourhood import feature_count, features, squares

# Sides of the squares, in pixels.
SIDES = (3, 5, 9)
WIDTH = 96
# No standardised feature is as large.
FARTHEST = 60_000.0


class LocalBranch(nn.Module):
    """A small network on a pixel's bands, their mean and spread in squares around it, and on what
    linear discriminants make of these and of the backbone's tokens.

    It learns what the usual classifiers say, those discriminants among them (training/teacher.py).
    """

    mean: Tensor
    spread: Tensor
    lowest: Tensor
    highest: Tensor

    def __init__(self, bands: int, classes: int, dim: int = 0, discriminants: bool = True) -> None:
        """`dim` is the width of the tokens; 0 where there are none. Without `discriminants`, it
        sees none on the features, as adapters of before."""
        super().__init__()
        self.squares = squares(bands, SIDES) if discriminants else {}
        self.around = nn.ModuleList(
            LinearOpinion(len(columns), classes) for columns in self.squares.values()
        )
        self.tokens = LinearOpinion(dim, classes) if dim else None
        self.local = feature_count(bands, SIDES)
        count = self.local + classes * (len(self.around) + bool(dim))
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

    def opinions(self) -> dict[str, LinearOpinion]:
        """The discriminants on the squares around a pixel, by the names of these."""
        return dict(zip(self.squares, self.around, strict=True))  # type: ignore[arg-type]

    def forward(self, image: Tensor, tokens: Tensor | None = None) -> Tensor:
        """image (B, bands, H, W), tokens (B, dim, h, w). Returns logits (B, classes, H, W)."""
        with torch.autocast(image.device.type, enabled=False):
            values = self._told(features(image.float(), SIDES), tokens)
        return self.judge(values)

    def _told(self, values: Tensor, tokens: Tensor | None) -> Tensor:
        """Features (B, F, H, W), and after them what the discriminants make of them and of tokens
        (B, dim, h, w)."""
        parts = [values]
        for columns, opinion in zip(self.squares.values(), self.around, strict=True):
            seen = values if len(columns) == self.local else values[:, columns]
            parts.append(opinion(seen, values))
        if self.tokens is not None and tokens is not None:
            parts.append(self.tokens(tokens.float(), values))
        return torch.cat(parts, 1)

    def judge(self, values: Tensor) -> Tensor:
        """Logits (B, classes, H, W) of features (B, F, H, W) with the discriminants' chances."""
        shape = (1, -1, 1, 1)
        held = values.clamp(self.lowest.view(shape), self.highest.view(shape))
        return self.layers((held - self.mean.view(shape)) / self.spread.view(shape))  # type: ignore[no-any-return]

    def with_opinions(self, values: Tensor) -> Tensor:
        """Features (N, F), the last of them tokens where these are looked at, with what the
        discriminants make of them in the tokens' place."""
        device = self.mean.device
        maps = values.T[None, :, :, None].to(device)
        with torch.no_grad():
            told = self._told(maps[:, : self.local], maps[:, self.local :])
        return told[0, :, :, 0].T.to(values)

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
