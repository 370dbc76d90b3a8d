"""Attention on CPUs that multiply in bfloat16, of which PyTorch's own makes no use there."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

Context = contextlib.AbstractContextManager[Any]

# Weights of attention that are computed at a time: what a core's cache holds.
AT_A_TIME = 1 << 20


def quick_attention(device: torch.device) -> Context:
    """Within it, attention on a device is computed in the quickest way that gives the same.

    That is another than PyTorch's on CPUs with AVX512-BF16 and without AMX, for tensors in bfloat16
    (benchmarks/attention.py).
    """
    known = torch.cpu.get_capabilities() if device.type == "cpu" else {}
    if known.get("avx512_bf16", False) and not known.get("amx_bf16", False):
        return _Quick()
    return contextlib.nullcontext()


def again(device: torch.device) -> tuple[Context, Context]:
    """The ``context_fn`` of `torch.utils.checkpoint` for what is computed in `quick_attention`.

    The first pass is in one already; the second has to keep the same tensors.
    """
    return contextlib.nullcontext(), quick_attention(device)


class _Quick(TorchFunctionMode):
    """Takes the place of PyTorch's attention without a mask, dropout or other options."""

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        options = kwargs or {}
        if function is F.scaled_dot_product_attention and _suits(args, options):
            return Attention.apply(*args)  # type: ignore[no-untyped-call]
        return function(*args, **options)


def _suits(args: tuple[Any, ...], options: dict[str, Any]) -> bool:
    return (
        len(args) == 3
        and not any(options.values())
        and all(part.dtype == torch.bfloat16 and part.ndim == 4 for part in args)
    )


class Attention(torch.autograd.Function):
    """Scaled dot-product attention (Vaswani et al. 2017, arXiv 1706.03762).

    The weights are computed for some images at a time, and anew in the backward pass, so that
    nothing as large as they is kept (Dao et al. 2022, arXiv 2205.14135).
    """

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """query (B, heads, N, d), key and value (B, heads, M, d). Returns (B, heads, N, d)."""
        parts = [_weights(q, k) @ v for q, k, v in zip(*_parts(query, key, value), strict=True)]
        output = torch.cat(parts)
        ctx.save_for_backward(query, key, value, output)
        return output

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]
        """The gradients of query, key and value."""
        query, key, value, output = ctx.saved_tensors
        scale = query.shape[-1] ** -0.5
        found = []
        for q, k, v, o, g in zip(*_parts(query, key, value, output, gradient), strict=True):
            weights = _weights(q, k)
            mean = (g * o).sum(-1, keepdim=True)
            scores = (g @ v.transpose(-2, -1)).sub_(mean).mul_(weights).mul_(scale)
            found.append((scores @ k, scores.transpose(-2, -1) @ q, weights.transpose(-2, -1) @ g))
        return tuple(torch.cat(parts) for parts in zip(*found, strict=True))


def _weights(query: Tensor, key: Tensor) -> Tensor:
    return ((query * query.shape[-1] ** -0.5) @ key.transpose(-2, -1)).softmax(-1)


def _parts(query: Tensor, key: Tensor, *others: Tensor) -> list[tuple[Tensor, ...]]:
    """The tensors, split alike along the batch."""
    size = max(AT_A_TIME // (query.shape[1] * query.shape[2] * key.shape[2]), 1)
    return [part.split(size) for part in (query, key, *others)]
