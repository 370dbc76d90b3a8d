"""Doing with the memory that a device has: what does not fit is halved."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterator
from typing import TypeVar

import torch

from .errors import OutOfMemoryError

T = TypeVar("T")
# What PyTorch says where memory runs out and it has no error of its own for it (CPU, Apple GPUs).
_PHRASES = ("out of memory", "can't allocate memory", "not enough memory")


def ran_out(error: BaseException) -> bool:
    """Whether an error says that a device's memory did not hold the work."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(p in str(error).lower() for p in _PHRASES)


@contextlib.contextmanager
def told_clearly(device: torch.device, work: str, remedy: str) -> Iterator[None]:
    """Within the ``with`` block, memory that runs out is an OutOfMemoryError for people."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not ran_out(error):
            raise
        raise OutOfMemoryError(
            f"device {device}: its memory is too small for {work}; {remedy}"
        ) from error


class Portion:
    """How many chips a device takes at a time: fewer from the moment that its memory runs out."""

    def __init__(self, size: int, told: Callable[[int], None] = lambda size: None) -> None:
        """``told`` hears the new size whenever it shrinks."""
        self.size = size
        self._told = told

    def run(self, work: Callable[[int], T]) -> T:
        """What ``work(size)`` returns; with half the size, and again, where memory runs out.

        ``work`` must be able to start anew. Raises PyTorch's own error where one chip is too much.
        """
        while True:
            try:
                return work(self.size)
            except (RuntimeError, MemoryError) as error:
                if self.size <= 1 or not ran_out(error):
                    raise
            # Out of the except block, where the error no longer holds on to the failed attempt.
            release()
            self.shrink(self.size // 2)

    def shrink(self, size: int) -> None:
        """Take so many from now on, and say so."""
        self.size = size
        self._told(size)


def release() -> None:
    """Give back what nobody uses any more."""
    gc.collect(1)  # what has just failed is young
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
