"""Frozen weights in few bits: close to the whole ones, small, and learnt around."""

from __future__ import annotations

import pytest
import torch
from tilth_engine.model.frozen import FrozenLinear, compress, normal_levels
from torch import nn

# What each may differ by, as a share of the output's size, and its bytes for a weight.
KINDS = {"bfloat16": (0.004, 2), "float16": (5e-4, 2), "int8": (0.01, 1.03), "nf4": (0.11, 0.54)}


def layer(inputs=192, outputs=256, bias=True):
    torch.manual_seed(0)
    return nn.Linear(inputs, outputs, bias).requires_grad_(False)


def error(found, expected):
    return float(((found - expected).norm() / expected.norm()).detach())


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_it_computes_what_the_layer_does_and_passes_the_gradient(kind, bias):
    whole = layer(bias=bias)
    small = FrozenLinear(whole, kind)
    outputs, gradients = [], []
    for network in (whole, small):
        x = torch.randn(2, 7, 192, generator=torch.Generator().manual_seed(1), requires_grad=True)
        y = network(x)
        y.square().sum().backward()
        outputs.append(y.detach())
        gradients.append(x.grad)

    limit = KINDS[kind][0]
    assert 0 < error(outputs[1], outputs[0]) < limit
    assert 0 < error(gradients[1], gradients[0]) < 2 * limit
    assert error(small.weight, whole.weight) < limit


@pytest.mark.parametrize("kind", KINDS)
def test_the_gradient_is_that_of_the_stored_weight(kind):
    small = FrozenLinear(layer(8, 6).double(), kind)
    x = torch.randn(3, 8, dtype=torch.double, requires_grad=True)

    assert torch.autograd.gradcheck(small, x)


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_small_and_the_backward_pass_keeps_no_whole_weight(kind):
    whole = layer(bias=False)
    small = FrozenLinear(whole, kind)
    kept = []
    x = torch.randn(5, 192, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        small(x)

    stored = sum(part.nbytes for name, part in small.named_buffers() if name != "table")
    assert stored <= KINDS[kind][1] * whole.weight.numel()
    assert not kept
    assert not small.state_dict(), "no file ever has it"


def test_its_sixteen_levels_are_the_published_ones():
    published = [
        -1.0, -0.69619280, -0.52507305, -0.39491749, -0.28444138, -0.18477343, -0.09105004, 0.0,
        0.07958030, 0.16093020, 0.24611230, 0.33791524, 0.44070983, 0.56261700, 0.72295684, 1.0,
    ]  # fmt: skip
    assert normal_levels() == pytest.approx(published, abs=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_odd_shapes_and_empty_rows_survive(kind):
    whole = layer(7, 5)
    whole.weight.data[2] = 0
    small = FrozenLinear(whole, kind)

    assert small.weight.shape == (5, 7)
    assert bool((small.weight[2] == 0).all())
    assert error(small.weight, whole.weight) < KINDS[kind][0] * 2


@pytest.mark.parametrize("kind", ["bfloat16", "int8"])
def test_under_autocast_it_computes_in_autocasts_type(kind):
    small = FrozenLinear(layer(), kind)
    x = torch.randn(4, 192, requires_grad=True)

    with torch.autocast("cpu", torch.bfloat16):
        y = small(x)
    y.float().sum().backward()

    assert y.dtype == torch.bfloat16
    assert x.grad.dtype == torch.float32
    assert error(y.float(), small(x)) < 0.01


def test_only_frozen_plain_linear_layers_are_stored_small():
    network = nn.ModuleDict(
        {
            "frozen": layer(8, 8),
            "trained": nn.Linear(8, 8),
            "convolution": nn.Conv2d(3, 3, 1).requires_grad_(False),
            "attention": nn.MultiheadAttention(8, 2).requires_grad_(False),
            "bias": layer(8, 8),
        }
    )
    network["bias"].bias.requires_grad_(True)
    bias = network["bias"].bias

    assert compress(network, "int8") == 2 * 64
    kinds = [name for name, m in network.named_modules() if isinstance(m, FrozenLinear)]
    assert kinds == ["frozen", "bias"]
    network["bias"](torch.randn(2, 8)).sum().backward()
    assert network["bias"].bias is bias and bool((bias.grad == 2).all())
