"""The own attention: PyTorch's values and gradients, in parts or whole, and where it steps in."""

from __future__ import annotations

import functools

import pytest
import torch
from tilth_engine import attention
from tilth_engine.attention import Attention, again, quick_attention
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

CPU = torch.device("cpu")
Z4 = {"avx512_bf16": True}


def tensors(batch: int = 5, heads: int = 3, count: int = 20, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    shape = (3, batch, heads, count, 8)
    return [
        part.to(dtype).requires_grad_() for part in torch.randn(shape, generator=generator).unbind()
    ]


def gradients(function, parts):
    output = function(*parts)
    wanted = torch.randn(output.shape, generator=torch.Generator().manual_seed(1)).to(output)
    return [output, *torch.autograd.grad(output, parts, wanted)]


@pytest.mark.parametrize("at_a_time", [1, 2 * 3 * 20 * 20, 1 << 20])
def test_values_and_gradients_are_pytorchs(monkeypatch, at_a_time):
    monkeypatch.setattr(attention, "AT_A_TIME", at_a_time)
    parts = tensors()

    own = gradients(Attention.apply, parts)
    theirs = gradients(functional.scaled_dot_product_attention, parts)

    for ours, expected in zip(own, theirs, strict=True):
        assert torch.allclose(ours, expected, atol=1e-12)


def test_as_many_keys_as_they_are():
    query, _, _ = tensors(count=7)
    _, key, value = tensors()
    expected = functional.scaled_dot_product_attention(query, key, value)

    assert torch.allclose(Attention.apply(query, key, value), expected, atol=1e-12)


@pytest.mark.parametrize(
    ("known", "steps_in"),
    [(Z4, True), ({**Z4, "amx_bf16": True}, False), ({"avx2": True}, False), ({}, False)],
)
def test_it_steps_in_on_cpus_with_bfloat16_and_no_tiles(monkeypatch, known, steps_in):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: known)

    assert stepped_in(tensors(dtype=torch.bfloat16)) == steps_in


def test_it_leaves_other_numbers_and_options_alone(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: Z4)
    half = tensors(dtype=torch.bfloat16)

    assert stepped_in(half, dropout_p=0.0, attn_mask=None)
    assert not stepped_in(half, is_causal=True)
    assert not stepped_in(half, scale=0.5)
    assert not stepped_in(tensors(dtype=torch.float32))
    assert not stepped_in(half, device=torch.device("meta"))


def stepped_in(parts, device=CPU, **options) -> bool:
    with quick_attention(device):
        output = functional.scaled_dot_product_attention(*parts, **options)
    return "AttentionBackward" in type(output.grad_fn).__name__


def test_a_block_that_is_computed_twice_keeps_the_same_tensors(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: Z4)
    parts = tensors(dtype=torch.bfloat16)
    contexts = functools.partial(again, CPU)

    def block(*inputs):
        return functional.scaled_dot_product_attention(*inputs)

    def twice(*inputs):
        with quick_attention(CPU):
            return checkpoint(block, *inputs, use_reentrant=False, context_fn=contexts)

    found = gradients(twice, parts)

    for ours, expected in zip(found, gradients(Attention.apply, parts), strict=True):
        assert torch.equal(ours, expected)
