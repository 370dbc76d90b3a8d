"""Convolutions that a CPU computes in float32, even within mixed precision.

oneDNN, which PyTorch uses on CPUs with AMX, gives wrong sums for bfloat16 convolutions with few
channels and kernels of 4 pixels and more (seen with PyTorch 2.15: a relative error above 1 for a
patch embedding of 6 bands and 16 x 16 pixels). Those are the patch embeddings, which cost little.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn

SAFE_KERNEL = 3


@contextlib.contextmanager
def float32_on_cpu(image: Tensor) -> Iterator[None]:
    """No mixed precision inside the ``with`` block where the tensor lies on a CPU."""
    enabled = image.device.type != "cpu" and torch.is_autocast_enabled(image.device.type)
    with torch.autocast(image.device.type, enabled=enabled):
        yield


class PreciseConv2d(nn.Conv2d):
    """`nn.Conv2d`, in float32 on a CPU."""

    def forward(self, input: Tensor) -> Tensor:
        """As `nn.Conv2d`."""
        if input.device.type != "cpu":
            return super().forward(input)
        bias = None if self.bias is None else self.bias.float()
        with float32_on_cpu(input):
            return self._conv_forward(input.float(), self.weight.float(), bias)


def make_precise(module: nn.Module) -> None:
    """Turn a network's convolutions with large kernels into `PreciseConv2d`, in place."""
    for part in module.modules():
        if type(part) is nn.Conv2d and max(part.kernel_size) > SAFE_KERNEL:
            part.__class__ = PreciseConv2d
