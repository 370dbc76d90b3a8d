"""The engine's own attention beside PyTorch's: time of each, by turns, in bfloat16 on this CPU.

    .venv/bin/python benchmarks/attention.py [--threads 1]

Shapes are images, heads, tokens and numbers a head; the best of ten rounds counts. Whether the
engine uses its own on this CPU is said at the end (plugin/engine/attention.py).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import harness  # noqa: F401  (the engine's own path)
import torch
from tilth_engine.attention import Attention, quick_attention
from torch import Tensor
from torch.nn import functional

# The default on chips of several sizes; Prithvi tiny, 100M and 300M; Presto.
SHAPES = (
    (8, 3, 256, 64), (8, 3, 576, 64), (8, 3, 784, 64), (1, 3, 576, 64),
    (8, 3, 49, 64), (8, 12, 49, 64), (8, 12, 197, 64), (8, 16, 257, 64), (512, 8, 30, 16),
)  # fmt: skip
ROUNDS = 10


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=1)
    torch.set_num_threads(parser.parse_args().threads)
    print("| shape | forward, own / PyTorch's | with backward |\n| --- | --- | --- |")
    for shape in SHAPES:
        batch, heads, tokens, size = shape
        parts = torch.randn(batch, tokens, 3, heads, size).bfloat16().permute(2, 0, 3, 1, 4)
        own, theirs = Attention.apply, functional.scaled_dot_product_attention
        with torch.no_grad():
            forward = ratio(lambda f, parts=parts: f(*parts), own, theirs)
        both = ratio(lambda f, parts=parts: learn(f, parts), own, theirs)
        print(f"| {' x '.join(map(str, shape))} | {forward} | {both} |", flush=True)
    used = type(quick_attention(torch.device("cpu"))).__name__ != "nullcontext"
    print(f"\non this CPU the engine uses {'its own' if used else 'that of PyTorch'}")


def learn(function: Callable[..., Tensor], parts: Tensor) -> None:
    """Compute values and gradients."""
    leaves = [part.detach().requires_grad_() for part in parts]
    function(*leaves).sum().backward()


def ratio(run: Callable[..., object], own: object, theirs: object) -> str:
    """The times of two functions, and the one by the other."""
    best = {own: float("inf"), theirs: float("inf")}
    for _ in range(ROUNDS):
        for function in best:
            started = time.perf_counter()
            run(function)
            best[function] = min(best[function], time.perf_counter() - started)
    first, second = (1e3 * best[function] for function in (own, theirs))
    return f"{first:.1f} / {second:.1f} ms = {first / second:.2f}"


if __name__ == "__main__":
    main()
