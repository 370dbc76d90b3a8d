"""The exponential moving average of the trained weights (Polyak averaging)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn


class Average:
    """Follows the trainable parameters of a module; ``decay`` warms up with the steps taken."""

    def __init__(self, module: nn.Module, decay: float = 0.98) -> None:
        self.decay = decay
        self.steps = 0
        self.values = {
            name: parameter.detach().clone()
            for name, parameter in module.named_parameters()
            if parameter.requires_grad
        }

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Take one step of the module in."""
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        current = dict(module.named_parameters())
        for name, value in self.values.items():
            value.lerp_(current[name].detach(), 1 - decay)

    @contextlib.contextmanager
    def applied(self, module: nn.Module) -> Iterator[None]:
        """The module with the averaged weights inside the ``with`` block, its own after it."""
        own = put(module, self.values)
        try:
            yield
        finally:
            put(module, own)


@torch.no_grad()
def put(module: nn.Module, values: dict[str, Tensor]) -> dict[str, Tensor]:
    """Copy values into the named parameters; returns what was there before."""
    current = dict(module.named_parameters())
    before = {name: current[name].detach().clone() for name in values}
    for name, value in values.items():
        current[name].copy_(value)
    return before
