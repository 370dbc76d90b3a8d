"""Prompt tuning does what its paper says, and refuses what it can't do."""

from __future__ import annotations

import pytest
import torch
from tilth_engine.errors import TilthError
from tilth_engine.model.methods import adapt
from tilth_engine.model.methods.method import Method
from torch import nn

from .tiny import tiny

IMAGE = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def by_hand(network, prompts, image):
    """VPT-deep written out: each block sees its own prompts, whose outputs are thrown away."""
    maps = network.embed(image)
    tokens = maps.flatten(2).transpose(1, 2)
    prefix = network.prefix.expand(len(image), -1, -1)
    for block, own in zip(network.blocks, prompts, strict=True):
        count = prefix.shape[1]
        # The paper's order: class token, prompts, image.
        whole = torch.cat([prefix, own.expand(len(image), -1, -1), tokens], 1)
        whole = block(whole)
        prefix, tokens = whole[:, :count], whole[:, count + len(own) :]
    return network.norm(tokens).transpose(1, 2).unflatten(2, maps.shape[-2:])


@pytest.mark.parametrize("prefix", [0, 1, 5])
def test_every_block_sees_its_own_prompts(prefix):
    method = Method("vpt", dropout=0.1, prompts=7)
    network = adapt.apply(tiny(prefix=prefix), method).eval()
    prompts = list(adapt.stored(network, method).values())
    plain = tiny(prefix=prefix)

    with torch.no_grad():
        found, expected = network(IMAGE, [4])[0], by_hand(plain, prompts, IMAGE)
        without = plain(IMAGE, [4])[0]

    assert [tuple(p.shape) for p in prompts] == [(7, 32)] * 4
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert (found - without).abs().max() > 1e-3


def test_prompts_drop_out_while_training_only():
    network = adapt.apply(tiny(), Method("vpt", dropout=0.5, prompts=7))

    with torch.no_grad():
        training = [network.train()(IMAGE, [4])[0] for _ in range(2)]
        mapping = [network.eval()(IMAGE, [4])[0] for _ in range(2)]

    assert not torch.equal(*training)
    assert torch.equal(*mapping)


@pytest.mark.parametrize("name", ["vpt", "vit-adapter"])
def test_a_network_without_plain_blocks_is_refused(name):
    network = tiny()
    network.blocks = nn.ModuleList(nn.Conv2d(32, 32, 3) for _ in range(4))

    with pytest.raises(TilthError, match=f"method {name}: .*choose lora"):
        adapt.apply(network, Method(name))
