"""A tiny vision transformer as a backbone: four of timm's blocks, made on the spot."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from tilth_engine.backbones import catalogue
from tilth_engine.backbones.base import Backbone
from tilth_engine.backbones.inputs import Inputs
from timm.models.vision_transformer import Block
from torch import Tensor, nn

FUSED = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")


class Tiny(Backbone):
    """Patch 4, and `prefix` tokens before those of the image."""

    def __init__(self, targets=FUSED, dim=32, depth=4, heads=2, bands=3, patch=4, prefix=1):
        card = dataclasses.replace(
            catalogue.card_of("embedded"), id="tiny", lora_targets=tuple(targets)
        )
        super().__init__(card, Inputs((500.0,) * bands))
        self.dims, self.strides, self.patch = (dim,) * depth, (patch,) * depth, patch
        self.embed = nn.Conv2d(bands, dim, patch, stride=patch)
        self.prefix = nn.Parameter(torch.randn(prefix, dim))
        self.blocks = nn.ModuleList(Block(dim, heads, qkv_bias=True) for _ in range(depth))
        self.norm = nn.LayerNorm(dim)

    def forward(self, image: Tensor, depths: Sequence[int]) -> list[Tensor]:
        self.check(image, depths)
        maps = self.embed(image)
        tokens = maps.flatten(2).transpose(1, 2)
        tokens = torch.cat([self.prefix.expand(len(image), -1, -1), tokens], 1)
        found = {}
        for number, block in enumerate(self.blocks[: max(depths)], start=1):
            tokens = block(tokens)
            output = self.norm(tokens) if number == self.depth else tokens
            found[number] = output[:, len(self.prefix) :].transpose(1, 2)
        return [found[depth].unflatten(2, maps.shape[-2:]) for depth in depths]


def tiny(seed: int = 0, **options) -> Tiny:
    """The same weights for the same seed, frozen."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Tiny(**options).requires_grad_(False).eval()
