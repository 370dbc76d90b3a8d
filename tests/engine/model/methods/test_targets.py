"""Targets by what a layer does, and a fused q, k and v taken apart."""

from __future__ import annotations

import pytest
import torch
from tilth_engine.errors import TilthError
from tilth_engine.model.methods import adapt
from tilth_engine.model.methods.method import Method
from tilth_engine.model.methods.targets import Split, fuse, resolved, role, split
from torch import nn

from .tiny import FUSED, tiny

CLAY = ("0.to_qkv", "0.to_out", "1.net.1", "1.net.3")
GALILEO = ("attn.q", "attn.k", "attn.v", "attn.proj", "mlp.fc1", "mlp.fc2")
GATED = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc3", "mlp.fc2")


def image(seed=0):
    return torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(seed))


def perturb(model, seed=1):
    """Give what learns other values than those that change nothing."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += 0.1 * torch.randn(parameter.shape, generator=generator)


@pytest.mark.parametrize(
    ("known", "asked", "expected"),
    [
        (FUSED, (), FUSED),
        (FUSED, ("qkv", "fc1"), ("attn.qkv", "mlp.fc1")),
        (FUSED, ("mlp.fc2", "attn.proj"), ("mlp.fc2", "attn.proj")),
        (FUSED, ("q", "v", "fc1", "fc2"), ("attn.qkv.q", "attn.qkv.v", "mlp.fc1", "mlp.fc2")),
        (FUSED, ("attn.qkv.k",), ("attn.qkv.k",)),
        (FUSED, ("q", "qkv"), ("attn.qkv",)),
        (GALILEO, ("q", "v"), ("attn.q", "attn.v")),
        (GALILEO, ("qkv",), ("attn.q", "attn.k", "attn.v")),
        (GATED, ("fc1", "fc2"), ("mlp.fc1", "mlp.fc3", "mlp.fc2")),
        (CLAY, ("v", "proj"), ("0.to_qkv.v", "0.to_out")),
        (CLAY, ("1.net.1",), ("1.net.1",)),
    ],
)
def test_what_a_layer_does_finds_it_whatever_it_is_called(known, asked, expected):
    network = tiny(targets=known)

    found = resolved(Method(targets=asked), network)

    assert found.targets == expected
    assert resolved(found, network) == found


def test_ia3_scales_keys_values_and_what_enters_fc2():
    assert resolved(Method("ia3"), tiny()).targets == ("attn.qkv", "mlp.fc2")
    found = resolved(Method("ia3"), tiny(targets=GALILEO))
    assert found.targets == ("attn.k", "attn.v", "mlp.fc2")


@pytest.mark.parametrize("odd", ["norm1", "kv", "attn.qkv.x", "attn", "blocks.0.attn.qkv", "k.q"])
def test_a_target_that_is_none_is_told_with_those_there_are(odd):
    with pytest.raises(TilthError, match=r"targets: .* choose from qkv, proj, fc1, fc2"):
        resolved(Method(targets=(odd,)), tiny())


def test_numbers_in_a_name_say_nothing():
    assert role("attn.to_out.0") == "proj"
    assert role("0") == role("") == ""


def test_a_split_layer_gives_what_the_fused_one_gave():
    whole, taken_apart = tiny(), tiny()

    split(taken_apart, ("attn.qkv.v",))

    layer = taken_apart.blocks[0].attn.qkv
    assert isinstance(layer, Split)
    assert [name for name, _ in layer.named_children()] == ["q", "k", "v"]
    x = torch.randn(2, 5, 32)
    torch.testing.assert_close(layer(x), whole.blocks[0].attn.qkv(x))
    for part in layer.children():
        assert part.weight.untyped_storage().nbytes() == 32 * 32 * 4

    fuse(taken_apart)

    assert isinstance(taken_apart.blocks[0].attn.qkv, nn.Linear)
    for name, value in taken_apart.state_dict().items():
        assert torch.equal(value, whole.state_dict()[name])


def test_only_the_parts_that_are_asked_for_are_adapted():
    method = resolved(Method(rank=4, alpha=4, targets=("q", "v")), tiny())
    model = adapt.apply(tiny(), method)
    plain = tiny()
    assert {name.split(".lora")[0].rpartition(".")[2] for name in adapt.trainable_names(model)} == {
        "q",
        "v",
    }
    with torch.no_grad():
        torch.testing.assert_close(model(image(), [4])[0], plain(image(), [4])[0])

    perturb(model)
    block = model.base_model.model.blocks[0].attn.qkv
    x = torch.randn(2, 5, 32)
    with torch.no_grad():
        parts = (block(x) - plain.blocks[0].attn.qkv(x)).chunk(3, dim=-1)
    assert [bool(part.abs().max() > 1e-3) for part in parts] == [True, False, True]


@pytest.mark.parametrize("name", ["lora", "dora", "pissa", "loha", "vera", "oft"])
def test_parts_come_back_and_merge_into_the_fused_layer(name):
    method = resolved(Method(name, rank=4, alpha=4, targets=("q", "v", "fc1", "fc2")), tiny())
    model = adapt.apply(tiny(), method).eval()
    perturb(model)
    tensors = adapt.stored(model, method)
    with torch.no_grad():
        expected = model(image(), [2, 4])

    plain = Method.from_dict(method.to_dict()).as_stored()
    again = adapt.apply(tiny(), plain, seed=9).eval()
    adapt.restore(again, plain, tensors)
    merged = adapt.merged(again, plain)

    assert {n for n, _ in merged.named_parameters()} == {n for n, _ in tiny().named_parameters()}
    with torch.no_grad():
        for mine, theirs in zip(merged(image(), [2, 4]), expected, strict=True):
            torch.testing.assert_close(mine, theirs, atol=1e-4, rtol=1e-4)
