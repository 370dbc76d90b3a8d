"""The embedded backbone: any bands, any size, the layers that adapters need."""

from __future__ import annotations

import math

import pytest
import torch
from tilth_engine.backbones.catalogue import build
from tilth_engine.backbones.embedded.network import positions
from tilth_engine.backbones.inputs import Inputs
from torch import nn


def built(wavelengths, **options):
    """The backbone for bands of these wavelengths, NaN where unknown."""
    lengths = [None if math.isnan(w) else float(w) for w in wavelengths]
    return build("embedded", Inputs(tuple(lengths)), **options)


def features(image, wavelengths, depths=(8,)):
    return built(wavelengths)(image, depths)


def _image(bands: int, height: int = 16, width: int = 24) -> torch.Tensor:
    return torch.randn(1, bands, height, width, generator=torch.Generator().manual_seed(bands))


@pytest.mark.parametrize("bands", [1, 3, 4, 10, 13, 120])
def test_any_number_of_bands_gives_finite_features_of_one_size(bands):
    wavelengths = torch.linspace(420, 2400, bands)
    backbone = built(wavelengths)
    (last,) = backbone(_image(bands), [backbone.depth])
    assert last.shape == (1, backbone.dims[-1], 4, 6)
    assert torch.isfinite(last).all()
    assert 0.1 < float(last.std()) < 10


def test_the_order_of_bands_is_of_no_account():
    image, wavelengths = _image(6), torch.tensor([490.0, 560, 665, 842, 1610, 2190])
    turned = torch.tensor([3, 0, 5, 1, 4, 2])
    (first,) = features(image, wavelengths)
    (second,) = features(image[:, turned], wavelengths[turned])
    torch.testing.assert_close(first, second, atol=1e-3, rtol=1e-3)


def test_wavelengths_are_used():
    image = _image(2)
    (red_nir,) = features(image, torch.tensor([665.0, 842.0]))
    (nir_red,) = features(image, torch.tensor([842.0, 665.0]))
    assert float((red_nir - nir_red).abs().mean()) > 0.01


def test_two_bands_without_wavelengths_are_told_apart():
    image, unknown = _image(2), torch.full((2,), math.nan)
    (first,) = features(image, unknown)
    (second,) = features(image.flip(1), unknown)
    assert torch.isfinite(first).all()
    assert float((first - second).abs().mean()) > 0.01


def test_known_and_unknown_wavelengths_mix():
    (last,) = features(_image(11), torch.tensor([500.0] * 2 + [math.nan] * 9))
    assert torch.isfinite(last).all()


def test_asked_depths_come_in_their_order():
    image, wavelengths = _image(3), torch.tensor([480.0, 560.0, 660.0])
    backbone = built(wavelengths)
    late, early = backbone(image, [8, 2])
    (early_alone,) = backbone(image, [2])
    torch.testing.assert_close(early, early_alone)
    assert float((late - early).abs().mean()) > 0.01
    # The last map comes after the final norm, an affine layer norm over the channels.
    plain = (late - backbone.norm.bias[None, :, None, None]) / backbone.norm.weight[
        None, :, None, None
    ]
    torch.testing.assert_close(plain.mean(1), torch.zeros_like(plain.mean(1)), atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("height", "width", "bands", "wavelengths", "depths"),
    [
        (15, 16, 3, 3, [8]),
        (16, 18, 3, 3, [8]),
        (0, 16, 3, 3, [8]),
        (16, 16, 3, 4, [8]),
        (16, 16, 3, 3, [9]),
        (16, 16, 3, 3, [0]),
        (16, 16, 3, 3, []),
    ],
)
def test_what_cannot_be_is_refused(height, width, bands, wavelengths, depths):
    backbone = built(torch.linspace(500, 900, wavelengths))
    with pytest.raises(ValueError, match=r"pixels|bands|depths"):
        backbone(torch.zeros(1, bands, height, width), depths)


def test_adapter_targets_are_linear_layers_of_every_block():
    backbone = built([500.0])
    assert len(backbone.blocks) == backbone.depth
    for block in backbone.blocks:
        for name in backbone.card.lora_targets:
            assert isinstance(block.get_submodule(name), nn.Linear)


def test_every_parameter_is_used():
    backbone = built([500.0, *[math.nan] * 8], random_weights=True).requires_grad_(True)
    (last,) = backbone(_image(9), [8])
    # A plain sum would not do: after a layer norm its gradient is nought.
    (last * _image(192, 4, 6).reshape(1, 192, 4, 6)).sum().backward()
    idle = [
        name
        for name, parameter in backbone.named_parameters()
        if parameter.grad is None or not parameter.grad.abs().sum() > 0
    ]
    assert idle == []


def test_positions_of_a_larger_grid_begin_with_those_of_a_smaller():
    small, large = positions(3, 4, 32), positions(5, 6, 32)
    torch.testing.assert_close(large.unflatten(0, (5, 6))[:3, :4].flatten(0, 1), small)
    torch.testing.assert_close(
        positions(2, 2, 32, (3, 4)), large.unflatten(0, (5, 6))[3:5, 4:6].flatten(0, 1)
    )
    assert torch.unique(large, dim=0).shape[0] == 30
