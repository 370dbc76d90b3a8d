"""Frozen weights in few bits: half precision, 8 bits, or 4 bits (QLoRA).

In plain PyTorch, so that it runs on any device and needs no further package. A weight is made
whole each time that it is needed, in the backward pass too, and never kept whole in between.
"""

from __future__ import annotations

import functools
from statistics import NormalDist
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

HALVES = {"bfloat16": torch.bfloat16, "float16": torch.float16}
# Weights that share a scale.
BLOCK = 64


def compress(blocks: nn.Module, kind: str) -> int:
    """Store the frozen linear layers' weights as ``kind`` says; returns how many weights that are.

    Nearly all of a transformer's weights are in its blocks' linear layers. What stays as it is:
    weights that are trained, biases, norms, convolutions.
    """
    count = 0
    for parent in list(blocks.modules()):
        for name, child in list(parent.named_children()):
            # Subclasses have ideas of their own of what to do with their weights.
            if type(child) is nn.Linear and not child.weight.requires_grad:
                count += child.weight.numel()
                setattr(parent, name, FrozenLinear(child, kind))
    return count


class FrozenLinear(nn.Module):
    """A linear layer whose weight is stored in few bits and does not learn; its bias may."""

    def __init__(self, linear: nn.Linear, kind: str) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.kind = kind
        self.bias = linear.bias
        for name, tensor in _pack(linear.weight.detach(), kind).items():
            self.register_buffer(name, tensor, persistent=False)

    @property
    def weight(self) -> Tensor:
        """The weight made whole, float32 [out, in]: for those who look at it."""
        return self.whole(torch.float32)

    def whole(self, dtype: torch.dtype) -> Tensor:
        """The weight made whole in a type [out, in]."""
        return _unpack(self, self.kind, (self.out_features, self.in_features), dtype)

    def forward(self, x: Tensor) -> Tensor:
        """x (..., in). Returns (..., out), in autocast's type where there is one, else in x's."""
        device = x.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype
        x = x.to(dtype)
        bias = None if self.bias is None else self.bias.to(dtype)
        if HALVES.get(self.kind) == dtype:
            return F.linear(x, self.whole(dtype), bias)
        y: Tensor = _Product.apply(x, self)  # type: ignore[no-untyped-call]
        return y if bias is None else y + bias


class _Product(torch.autograd.Function):
    """x @ weight.T, which keeps neither x nor the whole weight for the backward pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: FrozenLinear) -> Tensor:
        ctx.layer = layer
        return F.linear(x, layer.whole(x.dtype))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        return gradient @ ctx.layer.whole(gradient.dtype), None


def _pack(weight: Tensor, kind: str) -> dict[str, Tensor]:
    """The tensors that a weight [out, in] is stored as."""
    if kind in HALVES:
        return {"packed": weight.to(HALVES[kind])}
    if kind == "int8":
        scale = weight.abs().amax(1, keepdim=True).clamp(min=1e-12) / 127
        return {"packed": (weight / scale).round().to(torch.int8), "scale": scale}
    # Dettmers et al. 2023 (arXiv 2305.14314): 16 levels at quantiles of a normal distribution,
    # scaled by the largest of each block of weights. Two levels' numbers share a byte.
    flat = weight.flatten()
    flat = F.pad(flat, (0, -len(flat) % BLOCK)).view(-1, BLOCK)
    scale = flat.abs().amax(1, keepdim=True).clamp(min=1e-12).to(torch.bfloat16)
    levels = torch.tensor(normal_levels(), device=weight.device)
    # For reading: one look-up a byte gives its two levels.
    table = torch.stack([levels.repeat_interleave(16), levels.repeat(16)], 1)
    numbers = torch.bucketize(flat / scale, (levels[1:] + levels[:-1]) / 2).to(torch.uint8)
    pairs = numbers.view(-1, 2)
    return {"packed": pairs[:, 0] * 16 + pairs[:, 1], "scale": scale, "table": table}


def _unpack(layer: Any, kind: str, shape: tuple[int, int], dtype: torch.dtype) -> Tensor:
    """A weight of a shape from the tensors that it is stored as."""
    if kind in HALVES:
        return layer.packed.to(dtype)  # type: ignore[no-any-return]
    if kind == "int8":
        return layer.packed.to(dtype) * layer.scale.to(dtype)  # type: ignore[no-any-return]
    flat = layer.table.to(dtype)[layer.packed.int()].view(-1, BLOCK) * layer.scale.to(dtype)
    return flat.flatten()[: shape[0] * shape[1]].view(shape)


@functools.cache
def normal_levels() -> list[float]:
    """The 16 levels of NF4, from -1 to 1: 7 negative ones, zero, 8 positive ones."""
    outermost = (1 - 1 / 30 + 1 - 1 / 32) / 2
    quantile = NormalDist().inv_cdf

    def half(count: int) -> list[float]:
        step = (outermost - 0.5) / count
        return [quantile(0.5 + step * number) for number in range(1, count + 1)]

    negative, positive = half(7), half(8)
    largest = positive[-1]
    levels = [*(-value for value in reversed(negative)), 0.0, *positive]
    return [value / largest for value in levels]
