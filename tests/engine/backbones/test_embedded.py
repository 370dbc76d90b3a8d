"""The embedded backbone: any bands, any size, the layers that adapters need."""

from __future__ import annotations

import math

import pytest
import torch
from tilth_engine.backbones.catalogue import build
from tilth_engine.backbones.embedded.network import positions
from torch import nn


@pytest.fixture(scope="module")
def backbone():
    return build("embedded")


def _image(bands: int, height: int = 16, width: int = 24) -> torch.Tensor:
    return torch.randn(1, bands, height, width, generator=torch.Generator().manual_seed(bands))


@pytest.mark.parametrize("bands", [1, 3, 4, 10, 13, 120])
def test_any_number_of_bands_gives_finite_features_of_one_size(backbone, bands):
    wavelengths = torch.linspace(420, 2400, bands)
    (last,) = backbone(_image(bands), wavelengths, [backbone.depth])
    assert last.shape == (1, backbone.dim, 4, 6)
    assert torch.isfinite(last).all()
    assert 0.1 < float(last.std()) < 10


def test_the_order_of_bands_is_of_no_account(backbone):
    image, wavelengths = _image(6), torch.tensor([490.0, 560, 665, 842, 1610, 2190])
    turned = torch.tensor([3, 0, 5, 1, 4, 2])
    (first,) = backbone(image, wavelengths, [8])
    (second,) = backbone(image[:, turned], wavelengths[turned], [8])
    torch.testing.assert_close(first, second, atol=1e-3, rtol=1e-3)


def test_wavelengths_are_used(backbone):
    image = _image(2)
    (red_nir,) = backbone(image, torch.tensor([665.0, 842.0]), [8])
    (nir_red,) = backbone(image, torch.tensor([842.0, 665.0]), [8])
    assert float((red_nir - nir_red).abs().mean()) > 0.01


def test_two_bands_without_wavelengths_are_told_apart(backbone):
    image, unknown = _image(2), torch.full((2,), math.nan)
    (first,) = backbone(image, unknown, [8])
    (second,) = backbone(image.flip(1), unknown, [8])
    assert torch.isfinite(first).all()
    assert float((first - second).abs().mean()) > 0.01


def test_known_and_unknown_wavelengths_mix(backbone):
    (last,) = backbone(_image(11), torch.tensor([500.0] * 2 + [math.nan] * 9), [8])
    assert torch.isfinite(last).all()


def test_asked_depths_come_in_their_order(backbone):
    image, wavelengths = _image(3), torch.tensor([480.0, 560.0, 660.0])
    late, early = backbone(image, wavelengths, [8, 2])
    (early_alone,) = backbone(image, wavelengths, [2])
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
def test_what_cannot_be_is_refused(backbone, height, width, bands, wavelengths, depths):
    with pytest.raises(ValueError, match=r"pixels|wavelengths|depths"):
        backbone(
            torch.zeros(1, bands, height, width), torch.linspace(500, 900, wavelengths), depths
        )


def test_adapter_targets_are_linear_layers_of_every_block(backbone):
    assert len(backbone.blocks) == backbone.depth
    for block in backbone.blocks:
        for name in backbone.card.lora_targets:
            assert isinstance(block.get_submodule(name), nn.Linear)


def test_every_parameter_is_used():
    backbone = build("embedded", random_weights=True).requires_grad_(True)
    wavelengths = torch.tensor([500.0, *[math.nan] * 8])
    (last,) = backbone(_image(9), wavelengths, [8])
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
