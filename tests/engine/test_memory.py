"""Memory that runs out: less at a time, and a clear word where nothing helps."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch
from tilth_engine.errors import OutOfMemoryError
from tilth_engine.memory import Portion, ran_out, told_clearly

CPU = torch.device("cpu")


def holding(most):
    """Work that fits where it is of at most this size; it tells the sizes that were tried."""
    tried = []

    def work(size):
        tried.append(size)
        if size > most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return f"done with {size}"

    return work, tried


def test_it_is_halved_until_it_fits_and_stays_so():
    heard = []
    portion = Portion(13, heard.append)
    work, tried = holding(3)

    assert portion.run(work) == "done with 3"
    assert portion.run(work) == "done with 3"
    assert tried == [13, 6, 3, 3]
    assert heard == [6, 3]


def test_one_that_does_not_fit_is_an_error():
    with pytest.raises(torch.OutOfMemoryError):
        Portion(4).run(holding(0)[0])


def test_other_errors_are_not_about_memory():
    def work(size):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    portion = Portion(4)
    with pytest.raises(RuntimeError, match="shapes"):
        portion.run(work)
    assert portion.size == 4


def test_nothing_of_a_failed_attempt_is_held_when_the_next_starts():
    alive = []

    def work(size):
        assert not any(reference() is not None for reference in alive), "the first still lives"
        large = torch.zeros(1000)
        alive.append(weakref.ref(large))
        if size > 1:
            raise torch.OutOfMemoryError("out of memory")

    gc.disable()
    try:
        Portion(2).run(work)
    finally:
        gc.enable()
    assert len(alive) == 2


def test_what_this_machines_allocator_says_is_understood():
    with pytest.raises((RuntimeError, MemoryError)) as caught:
        torch.empty(2**60, dtype=torch.uint8)

    assert ran_out(caught.value)
    assert not ran_out(RuntimeError("no"))
    assert not ran_out(ValueError("out of memory"))


def test_people_are_told_what_to_do():
    with (
        pytest.raises(OutOfMemoryError, match=r"^device cpu: .* this map; choose less$"),
        told_clearly(CPU, "this map", "choose less"),
    ):
        torch.empty(2**60, dtype=torch.uint8)
    with pytest.raises(RuntimeError, match="else"), told_clearly(CPU, "this map", "choose less"):
        raise RuntimeError("something else")
