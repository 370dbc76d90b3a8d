"""The ViT-Adapter's branch, and deformable attention against its definition written out."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from tilth_engine.backbones import catalogue
from tilth_engine.backbones.inputs import Inputs
from tilth_engine.errors import TilthError
from tilth_engine.model.methods import adapt
from tilth_engine.model.methods.deformable import DeformableAttention, centres
from tilth_engine.model.methods.method import Method
from tilth_engine.model.methods.vit_adapter import AdaptedViT
from torch.utils.checkpoint import checkpoint

from .tiny import tiny


def bilinear(pixels, x, y):
    """The value at x and y, in pixels, of [h, w, width]; zero outside."""
    total = torch.zeros(pixels.shape[-1])
    left, top = math.floor(x - 0.5), math.floor(y - 0.5)
    for column in (left, left + 1):
        for row in (top, top + 1):
            if 0 <= column < pixels.shape[1] and 0 <= row < pixels.shape[0]:
                share = (1 - abs(x - 0.5 - column)) * (1 - abs(y - 0.5 - row))
                total += share * pixels[row, column]
    return total


def test_deformable_attention_is_what_its_paper_says():
    """Equation 3 of arXiv 2010.04159, one query, head, level and point after another."""
    torch.manual_seed(0)
    heads, points, sizes = 2, 3, [(4, 6), (2, 3)]
    attend = DeformableAttention(8, 2, heads, points, 0.5)
    for parameter in attend.parameters():
        torch.nn.init.normal_(parameter, std=0.7)
    query, places = torch.randn(2, 5, 8), torch.rand(5, 2)
    memory = torch.randn(2, 4 * 6 + 2 * 3, 8)

    with torch.no_grad():
        found = attend(query, places, memory, sizes)
        values = attend.value(memory)
        expected = torch.zeros(2, 5, 4)
        for b in range(2):
            for q in range(5):
                offset = attend.offset(query[b, q]).view(heads, 2, points, 2)
                weight = attend.weight(query[b, q]).view(heads, -1).softmax(-1)
                weight = weight.view(heads, 2, points)
                for head in range(heads):
                    part = slice(2 * head, 2 * head + 2)
                    for level, (height, width) in enumerate(sizes):
                        start = 0 if level == 0 else 24
                        pixels = values[b, start : start + height * width, part]
                        pixels = pixels.view(height, width, 2)
                        for point in range(points):
                            x = places[q, 0] * width + offset[head, level, point, 0]
                            y = places[q, 1] * height + offset[head, level, point, 1]
                            value = bilinear(pixels, float(x), float(y))
                            expected[b, q, part] += weight[head, level, point] * value
        expected = attend.output(expected)

    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_places_are_the_pixels_centres():
    places = centres((2, 4), torch.zeros(1))

    assert places[0].tolist() == [0.125, 0.25]
    assert places[3].tolist() == [0.875, 0.25]
    assert places[4].tolist() == [0.125, 0.75]


def adapted(seed=0, **options) -> AdaptedViT:
    network = adapt.apply(tiny(**options), Method("vit-adapter"), seed)
    assert isinstance(network, AdaptedViT)
    return network.eval()


@pytest.mark.parametrize(("height", "width", "patch"), [(64, 64, 16), (32, 96, 4), (56, 70, 14)])
def test_maps_of_four_scales_at_any_size(height, width, patch):
    network = adapted(patch=patch)
    image = torch.randn(2, 3, height, width)

    maps = network(image, [1, 2, 3, 4])

    for found, stride in zip(maps, network.strides, strict=True):
        expected = (2, 32, math.ceil(height / stride), math.ceil(width / stride))
        assert tuple(found.shape) == expected
        assert bool(torch.isfinite(found).all())
    again = network(image, [3, 1])
    assert torch.equal(again[0], maps[2]) and torch.equal(again[1], maps[0])


def test_at_first_the_transformer_sees_what_it_always_saw_and_later_more():
    network, plain = adapted(), tiny()
    image = torch.randn(1, 3, 32, 32)

    seen = []
    network.backbone.register_forward_hook(lambda _, inputs, maps: seen.append(maps[-1]))
    with torch.no_grad():
        network(image, [1])
        assert torch.equal(seen[0], plain(image, [4])[0])
        for injector in network.injectors:
            injector.gamma += 1
        network(image, [1])
    assert (seen[1] - seen[0]).abs().max() > 1e-2


def test_a_prefix_of_tokens_stays_out_of_it():
    """Injection goes to the image's tokens: class and register tokens come out of it unchanged."""
    network = adapted(prefix=3)
    for injector in network.injectors:
        torch.nn.init.ones_(injector.gamma)
    seen = []
    network.backbone.blocks[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))

    with torch.no_grad():
        network(torch.randn(1, 3, 32, 32), [1])

    assert torch.equal(seen[0][0, :3], network.backbone.prefix)


def test_gradients_reach_all_of_it_also_with_checkpointing():
    """A block that is computed again in the backward pass gives the same gradients."""
    gradients = []
    image = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    for again in (False, True):
        network = adapted(seed=3)
        for injector in network.injectors:
            torch.nn.init.ones_(injector.gamma)
        for extractor in [*network.injectors, *network.extractors]:
            torch.nn.init.normal_(
                extractor.attend.offset.weight,
                std=0.1,
                generator=torch.Generator().manual_seed(1),
            )
        if again:
            for block in network.backbone.blocks:
                inner = block.forward
                block.forward = lambda x, inner=inner: checkpoint(inner, x, use_reentrant=False)
        sum(x.square().mean() * n for n, x in enumerate(network(image, [1, 2, 3, 4]), 1)).backward()
        gradients.append({n: p.grad for n, p in network.named_parameters() if p.requires_grad})

    for name, gradient in gradients[0].items():
        assert gradient is not None and bool(gradient.abs().max() > 0), name
        torch.testing.assert_close(gradients[1][name], gradient, atol=1e-6, rtol=1e-4)


def test_tokens_that_are_no_grid_and_several_dates_are_refused():
    network = adapted(prefix=17)
    with pytest.raises(TilthError, match="not one for each patch"):
        network(torch.randn(1, 3, 32, 32), [1])

    series = tiny()
    series.inputs = dataclasses.replace(series.inputs, frames=(0, 1, 1))
    with pytest.raises(TilthError, match="one date"):
        adapt.apply(series, Method("vit-adapter"))
    with pytest.raises(TilthError, match="four blocks"):
        adapt.apply(tiny(depth=2), Method("vit-adapter"))


def test_several_grids_are_refused_also_where_a_chip_is_small():
    """TerraMind's tokens of two sensors; 64 pixels are 16 tokens of each."""
    card = catalogue.card_of("terramind-tiny")
    names = [f"{band.group} {band.name}" for band in card.bands]

    def network(*wanted):
        places = tuple(names.index(name) for name in wanted)
        inputs = Inputs(tuple(card.bands[place].wavelength_nm for place in places), places)
        return catalogue.build(card.id, inputs, random_weights=True)

    one = adapt.apply(network("S2L2A B02", "S2L2A B03"), Method("vit-adapter"))
    assert len(one(torch.randn(1, 2, 64, 64), [1])) == 1
    with pytest.raises(TilthError, match="not one for each patch"):
        adapt.apply(network("S2L2A B02", "S1GRD VV"), Method("vit-adapter"))
