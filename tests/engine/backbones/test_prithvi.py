"""Prithvi: equal to TerraTorch's, and what it does with bands, dates, places and checkpoints."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tilth_engine.backbones import catalogue
from tilth_engine.backbones.base import Backbone
from tilth_engine.backbones.inputs import Inputs
from tilth_engine.backbones.prithvi import PrithviBackbone, positions
from torch import nn

from .oracle_files import Golden, golden

IDS = [
    "prithvi-1-100m",
    "prithvi-2-tiny-tl",
    "prithvi-2-100m-tl",
    "prithvi-2-300m",
    "prithvi-2-300m-tl",
    "prithvi-2-600m",
    "prithvi-2-600m-tl",
]
NIR = 3


@pytest.fixture(scope="module")
def peer() -> Golden:
    return golden("prithvi_tl")


def image(bands: int, rows: int = 16, columns: int = 16) -> torch.Tensor:
    return torch.randn(1, bands, rows, columns, generator=torch.Generator().manual_seed(bands))


def maps(network: Backbone, picture: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return torch.cat(network(picture, [1, 2]))


def inputs(peer: Golden, bands, **more) -> Inputs:
    """Inputs of some of the card's bands; a wavelength instead of a number is a band of no card."""
    own = peer.card.bands
    lengths = [own[b].wavelength_nm if isinstance(b, int) else b for b in bands]
    return Inputs(tuple(lengths), tuple(b if isinstance(b, int) else None for b in bands), **more)


@pytest.mark.parametrize(
    "case",
    ["native", "other-size", "subset", "dates", "time-location", "dates-time-location"],
)
def test_features_equal_the_peers(peer, case):
    assert peer.difference(case) <= 1e-5


def test_the_golden_cases_are_those_tested(peer):
    assert len(peer.cases) == 6
    assert peer.cases["subset"]["bands"] == [3, 0, 5]
    assert max(peer.cases["dates-time-location"]["frames"]) == 2


def test_the_first_models_names_without_prefixes_are_the_same_tensors(peer):
    plain = replace(peer.card, options={**peer.card.options, "coordinates": False})
    first = {
        name.removeprefix("encoder.").removeprefix("decoder."): tensor
        for name, tensor in peer.weights.items()
        if "temporal" not in name and "location" not in name
    }
    second = {
        name: tensor
        for name, tensor in peer.weights.items()
        if "temporal" not in name and "location" not in name
    }
    one, two = (PrithviBackbone.convert(plain, weights) for weights in (first, second))
    assert set(one.tensors) == set(two.tensors)
    assert all(torch.equal(one.tensors[name], two.tensors[name]) for name in two.tensors)


def test_what_the_encoder_does_not_use_is_dropped_and_named(peer):
    found = PrithviBackbone.convert(peer.card, peer.weights)
    assert "decoder.mask_token" in found.dropped
    assert "encoder.pos_embed" in found.dropped
    assert any(text.startswith("decoder.decoder_embed.* (2 tensors)") for text in found.dropped)
    assert not any("decoder" in name or "mask" in name for name in found.tensors)
    weights = {**peer.weights, "optimizer.step": torch.zeros(1)}
    assert "optimizer.step" in PrithviBackbone.convert(peer.card, weights).dropped


def test_time_and_place_of_a_tl_file_are_left_by_a_model_without(peer):
    plain = replace(peer.card, options={**peer.card.options, "coordinates": False})
    found = PrithviBackbone.convert(plain, peer.weights)
    assert {"time_scale", "location_scale"} <= set(found.dropped)


def test_a_foreign_checkpoint_is_refused_and_what_was_expected_is_named(peer):
    with pytest.raises(ValueError, match=r"Prithvi-EO 2\.0 300M: .*shape.*expected \[1, 1, 1024\]"):
        PrithviBackbone.convert(catalogue.card_of("prithvi-2-300m"), peer.weights)
    with pytest.raises(ValueError, match=r"cls_token.* is missing \(\d+ of \d+ tensors are\)"):
        PrithviBackbone.convert(peer.card, {"conv1.weight": torch.zeros(3)})
    shorter = {k: v for k, v in peer.weights.items() if k != "encoder.blocks.1.mlp.fc2.bias"}
    with pytest.raises(ValueError, match=r"blocks\.1\.mlp\.fc2\.bias \[16\] is missing \(1 of"):
        PrithviBackbone.convert(peer.card, shorter)


def test_the_order_of_an_images_bands_is_of_no_account(peer):
    picture, order = image(6), [4, 1, 5, 0, 3, 2]
    first = maps(peer.filled(inputs(peer, range(6))), picture)
    second = maps(peer.filled(inputs(peer, order)), picture[:, order])
    torch.testing.assert_close(first, second, atol=1e-5, rtol=1e-5)
    mixed = maps(peer.filled(inputs(peer, range(6))), picture[:, order])
    assert float((mixed - first).abs().max()) > 0.1


def test_a_missing_band_is_as_one_at_its_mean(peer):
    picture = image(6)
    part = maps(peer.filled(inputs(peer, [5, 0, NIR])), picture[:, [5, 0, NIR]])
    picture[:, [1, 2, 4]] = 0
    whole = maps(peer.filled(inputs(peer, range(6))), picture)
    torch.testing.assert_close(part, whole, atol=1e-5, rtol=1e-5)


def test_an_extra_band_takes_the_nearest_slice_and_shares_its_weight(peer):
    network = peer.filled(inputs(peer, [0, NIR, 832.8, 704.1]))
    assert isinstance(network, PrithviBackbone)
    kernel = PrithviBackbone.convert(peer.card, peer.weights).tensors["embed.weight"]
    # Red (664.6 nm) is nearest to 704.1 nm; the narrow NIR to 832.8 nm.
    assert network.places == [[0, 3, 1, 2]]
    expected = torch.stack([kernel[:, 0], kernel[:, 2], kernel[:, 3] / 2, kernel[:, 3] / 2], 1)
    torch.testing.assert_close(network.embed.weight.detach(), expected)
    picture = image(4)
    picture[:, 2] = picture[:, 1]
    alone = peer.filled(inputs(peer, [0, NIR, 2]))
    torch.testing.assert_close(
        maps(network, picture), maps(alone, picture[:, [0, 1, 3]]), atol=1e-5, rtol=1e-5
    )


def test_a_band_of_no_known_wavelength_is_refused(peer):
    with pytest.raises(ValueError, match=r"band 2 of the image is none of Prithvi"):
        PrithviBackbone(peer.card, inputs(peer, [0, None]))
    with pytest.raises(ValueError, match="band 6 of the card, which has 6"):
        PrithviBackbone(peer.card, Inputs((None,), (6,)))


def test_bands_of_several_dates_may_come_in_any_order(peer):
    picture = image(6)
    bands, frames = [0, 1, 2, 0, 1, 2], [0, 0, 0, 1, 1, 1]
    network = peer.filled(inputs(peer, bands, frames=tuple(frames)))
    plain = maps(network, picture)
    assert plain.shape[1] == 2 * 16 == network.dims[0]
    order = [3, 2, 0, 5, 1, 4]
    turned = inputs(peer, [bands[i] for i in order], frames=tuple(frames[i] for i in order))
    torch.testing.assert_close(maps(peer.filled(turned), picture[:, order]), plain)
    swapped = maps(network, picture[:, [3, 4, 5, 0, 1, 2]])
    assert float((swapped - plain).abs().max()) > 0.1


def test_dates_with_other_bands_are_refused(peer):
    with pytest.raises(ValueError, match="date 2 has other bands"):
        PrithviBackbone(peer.card, inputs(peer, [0, 1, 0, 2], frames=(0, 0, 1, 1)))


def test_time_and_place_enter_only_when_told(peer):
    place = {"dates": ("2024-07-01",), "location": (9.0, 50.0)}
    picture = image(6)
    plain = maps(peer.filled(inputs(peer, range(6))), picture)
    untold = maps(peer.filled(inputs(peer, range(6), **place)), picture)
    assert torch.equal(plain, untold)
    told = maps(peer.filled(inputs(peer, range(6), time_location=True, **place)), picture)
    time = inputs(peer, range(6), dates=place["dates"], time_location=True)
    where = inputs(peer, range(6), location=place["location"], time_location=True)
    found = [plain, told, maps(peer.filled(time), picture), maps(peer.filled(where), picture)]
    for number, one in enumerate(found):
        assert all(float((one - other).abs().max()) > 1e-3 for other in found[:number])
    unknown = inputs(peer, range(6), dates=("",), time_location=True)
    assert torch.equal(maps(peer.filled(unknown), picture), plain)


def test_a_model_that_cannot_be_told_time_and_place_ignores_them(peer):
    plain = replace(peer.card, options={**peer.card.options, "coordinates": False})
    told = inputs(peer, [0], dates=("2024-07-01",), location=(9.0, 50.0), time_location=True)
    network = PrithviBackbone(plain, told)
    assert network.time is None and network.location is None
    assert "time_scale" not in network.state_dict()


def test_a_date_that_is_none_is_refused(peer):
    told = inputs(peer, [0], dates=("July",), time_location=True)
    with pytest.raises(ValueError, match="not like 2025-06-30"):
        PrithviBackbone(peer.card, told)


@pytest.mark.parametrize(
    ("bands", "rows", "depths", "message"),
    [(5, 16, [1], "5 bands, expected 6"), (6, 18, [1], "18 x 16"), (6, 16, [3], "depths")],
)
def test_what_cannot_be_is_refused(peer, bands, rows, depths, message):
    network = peer.filled(inputs(peer, range(6)))
    with pytest.raises(ValueError, match=message):
        network(image(bands, rows), depths)


def test_depths_come_in_their_order_and_the_last_after_the_norm(peer):
    network = peer.filled(inputs(peer, range(6)))
    with torch.inference_mode():
        late, early = network(image(6), [2, 1])
        assert torch.equal(network(image(6), [1])[0], early)
        weight, bias = network.norm.weight[:, None, None], network.norm.bias[:, None, None]
        plain = (late - bias) / weight
    torch.testing.assert_close(plain.mean(1), torch.zeros_like(plain.mean(1)), atol=1e-4, rtol=0)


def test_every_parameter_is_used(peer):
    told = inputs(peer, range(6), dates=("2024-07-01",), location=(9.0, 50.0), time_location=True)
    network = peer.filled(told).requires_grad_(True)
    (last,) = network(image(6), [2])
    (last * image(16, 4, 4)).sum().backward()
    idle = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert idle == []


def test_positions_tell_every_place_and_date_apart():
    codes = positions(3, 4, 32).permute(0, 2, 3, 1).flatten(0, 2)
    assert torch.unique(codes, dim=0).shape[0] == 48
    assert float(codes.abs().max()) <= 1


@pytest.mark.parametrize("name", IDS)
def test_cards_say_what_the_networks_are(name):
    card = catalogue.card_of(name)
    with torch.device("meta"):
        network = PrithviBackbone(card, Inputs.all_of(card))
    assert sum(parameter.numel() for parameter in network.parameters()) == card.parameters
    assert card.time_location == card.options["coordinates"] == name.endswith("-tl")
    assert len(network.blocks) == network.depth == card.options["depth"]
    for block in network.blocks:
        for target in card.lora_targets:
            assert isinstance(block.get_submodule(target), nn.Linear)
    assert network.patch == (14 if "600m" in name else 16)


def test_the_bands_are_named_as_sentinel_2_has_them():
    # The published configuration says B02..B07, which are Landsat's names of the same wavelengths.
    for name in IDS:
        card = catalogue.card_of(name)
        named = {band.name: band.wavelength_nm for band in card.bands}
        assert list(named) == ["B02", "B03", "B04", "B8A", "B11", "B12"]
        assert list(named.values()) == [492.4, 559.8, 664.6, 864.7, 1613.7, 2202.4]
        assert (card.mean[0], card.std[0]) == ((775, 1282) if "-1-" in name else (1087, 2248))


@pytest.mark.parametrize(
    ("name", "millions"),
    [
        ("prithvi-2-tiny-tl", 0.52),
        ("prithvi-2-100m-tl", 2.06),
        ("prithvi-2-300m", 5.51),
        ("prithvi-2-600m", 9.18),
    ],
)
def test_lora_of_rank_16_trains_as_many_parameters_as_published(name, millions):
    card = catalogue.card_of(name)
    with torch.device("meta"):
        network = PrithviBackbone(card, Inputs.all_of(card))
    rank, split, fused = 16, 0, 0
    for block in network.blocks:
        qkv, fc1, fc2 = (block.get_submodule(t) for t in ("attn.qkv", "mlp.fc1", "mlp.fc2"))
        mlp = sum(rank * (layer.in_features + layer.out_features) for layer in (fc1, fc2))
        split += mlp + 2 * rank * (qkv.in_features + qkv.out_features // 3)
        fused += mlp + rank * (qkv.in_features + qkv.out_features)
    assert round(split / 1e6, 2) == millions
    # Two matrices of dim x dim have as many as one of dim x 3 dim: 2 (1 + 1) = 1 + 3.
    assert fused == split
