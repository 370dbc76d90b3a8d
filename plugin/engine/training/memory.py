"""Training in little memory: small frozen weights, blocks computed twice, as many chips as fit."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from ..attention import again
from ..backbones.base import Backbone
from ..devices import fast_bfloat16
from ..memory import ran_out, release
from ..model.frozen import compress

# The share of the free memory that a training plans with: fragments and other programs take some.
SHARE = 0.85
# What to do where all of this does not help.
REMEDY = (
    "choose checkpointing, frozen weights in 8 or 4 bits, a smaller backbone or the CPU, or close "
    "other programs that use the device"
)
# Precisions that a map is not made with.
COARSE = ("int8", "nf4")


def precision_of(wanted: str, device: torch.device) -> str:
    """What the frozen weights are stored in. "auto" is bfloat16 where that is what the device
    computes in anyway, so that nothing is lost, and float32 elsewhere."""
    if wanted != "auto":
        return wanted
    return "bfloat16" if fast_bfloat16(device) else "float32"


def prepare(
    backbone: nn.Module | None, precision: str, checkpointing: bool, device: torch.device
) -> int:
    """Make an adapted backbone ready to be trained in little memory; it is changed in place.

    Below the first block that learns, nothing is kept for the backward pass in any case: no weight
    there asks for it. Returns how many weights are stored smaller than they were.
    """
    inner = inner_backbone(backbone)
    if inner is None:
        return 0
    if checkpointing:
        for block in inner.blocks:
            compute_twice(block)
    kind = precision_of(precision, device)
    return 0 if kind == "float32" else compress(inner.blocks, kind)


def inner_backbone(network: nn.Module | None) -> Backbone | None:
    """The backbone within what a method has wrapped around it."""
    modules = () if network is None else network.modules()
    return next((module for module in modules if isinstance(module, Backbone)), None)


def compute_twice(block: nn.Module) -> None:
    """Keep a block's inputs alone, and compute the block anew in the backward pass.

    Chen et al. 2016 (arXiv 1604.06174).
    """
    plain = block.forward

    @functools.wraps(plain)
    def forward(*inputs: Any, **options: Any) -> Any:
        if not torch.is_grad_enabled():
            return plain(*inputs, **options)
        contexts = functools.partial(again, inputs[0].device)
        return checkpoint(plain, *inputs, use_reentrant=False, context_fn=contexts, **options)

    block.forward = forward  # type: ignore[method-assign]


def fitting(batch: int, peak: Callable[[int], int], free: int) -> int:
    """The chips at a time, a batch or the half of it and so on, whose step fits into memory.

    ``peak(chips)`` are the bytes that a step with so many takes at its height, ``free`` those that
    there are. One and two chips tell what each further one takes.
    """
    try:
        one, two = peak(1), peak(2)
    except RuntimeError as error:
        if not ran_out(error):
            raise
        release()
        return 1
    room = 1 + (SHARE * free - one) / max(two - one, 1)
    while batch > 1 and batch > room:
        batch //= 2
    return batch


def chips_that_fit(batch: int, step: Callable[[int], None], device: torch.device) -> int:
    """How many of a batch's chips a CUDA device takes at a time; the batch on other devices.

    ``step(chips)`` computes a step's gradients.
    """
    if device.type != "cuda" or batch == 1:
        return batch

    def peak(chips: int) -> int:
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        step(chips)
        return torch.cuda.max_memory_allocated(device) - before

    step(1)  # what is loaded and chosen once counts as taken
    release()
    return fitting(batch, peak, torch.cuda.mem_get_info(device)[0])
