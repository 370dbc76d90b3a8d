"""Mixed precision on a CPU: nearly the same numbers, whatever the CPU's kernels get wrong."""

from __future__ import annotations

import pytest
import torch
from tilth_engine.backbones import catalogue
from tilth_engine.backbones.inputs import Inputs
from tilth_engine.model.decoders.linear import LinearDecoder
from tilth_engine.precise import PreciseConv2d, make_precise
from torch import nn

OPTICAL = (450, 2300)


def inputs_of(card) -> Inputs:
    """Up to six optical bands of a card."""
    places = [
        place
        for place, band in enumerate(card.bands)
        if band.wavelength_nm and OPTICAL[0] < band.wavelength_nm < OPTICAL[1]
    ][:6]
    if not places:
        return Inputs((490.0, 560.0, 665.0, 842.0))
    return Inputs(tuple(card.bands[place].wavelength_nm for place in places), tuple(places))


def mixed():
    return torch.autocast("cpu", torch.bfloat16)


@pytest.mark.parametrize(
    "backbone_id",
    ["embedded", "prithvi-2-tiny-tl", "terramind-tiny", "galileo-nano", "presto", "unet-random",
     "timm:vit_tiny_patch16_224"],
)  # fmt: skip
def test_a_backbone_in_mixed_precision_is_nearly_the_same(backbone_id):
    inputs = inputs_of(catalogue.card_of(backbone_id))
    backbone = catalogue.build(backbone_id, inputs, random_weights=True)
    side = 2 * backbone.patch if backbone.patch > 8 else 32
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(2, len(inputs.wavelengths), side, side, generator=generator)
    depths = [1, backbone.depth]
    with torch.no_grad():
        exact = backbone(image, depths)
        with mixed():
            rounded = backbone(image, depths)
    for first, second in zip(exact, rounded, strict=True):
        assert float((first - second.float()).norm() / first.norm()) < 0.03


@pytest.mark.parametrize("bands", [3, 4, 6, 10, 12, 16])
def test_patch_embeddings_are_exact(bands):
    layer = nn.Sequential(nn.Conv2d(bands, 64, 16, stride=16), nn.Conv2d(64, 8, 1))
    image = torch.randn(2, bands, 64, 64, generator=torch.Generator().manual_seed(0))
    expected = layer[0](image)
    make_precise(layer)
    assert isinstance(layer[0], PreciseConv2d) and type(layer[1]) is nn.Conv2d
    with mixed():
        torch.testing.assert_close(layer[0](image), expected)


@pytest.mark.parametrize("classes", [4, 6, 8, 12])
def test_the_linear_decoder_learns_as_in_float32(classes):
    generator = torch.Generator().manual_seed(0)
    decoder = LinearDecoder(64, 16, classes)
    maps = torch.randn(2, 64, 4, 4, generator=generator, requires_grad=True)
    weights = torch.randn(2, classes, 64, 64, generator=generator)

    def gradient():
        image = torch.zeros(2, 3, 64, 64)
        return torch.autograd.grad((decoder(image, [maps]).float() * weights).sum(), maps)[0]

    expected = gradient()
    with mixed():
        found = gradient()
    assert float((found - expected).norm() / expected.norm()) < 0.02
