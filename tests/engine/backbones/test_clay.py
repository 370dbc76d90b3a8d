"""Clay: equal to TerraTorch's and the authors', and what it does with bands and metadata."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from tilth_engine.backbones import catalogue, checkpoint
from tilth_engine.backbones.base import Backbone
from tilth_engine.backbones.clay import (
    ClayBackbone,
    location_code,
    place_codes,
    time_code,
    wave_codes,
)
from tilth_engine.backbones.inputs import Inputs
from tilth_engine.backbones.matching import match_bands
from tilth_engine.data.bands import Band
from torch import nn

from .oracle_files import Golden, golden

IDS = ["clay-1", "clay-1.5"]
RED, NIR, NAIP = 2, 6, 16


@pytest.fixture(scope="module", params=["clay_v1", "clay_v15"])
def peer(request) -> Golden:
    return golden(request.param)


@pytest.fixture(scope="module")
def tiny() -> Golden:
    return golden("clay_v15")


def image(bands: int, rows: int = 16, columns: int = 16) -> torch.Tensor:
    return torch.randn(1, bands, rows, columns, generator=torch.Generator().manual_seed(bands))


def maps(network: Backbone, picture: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return torch.cat(network(picture, [1, 2]))


def inputs(*lengths, **more) -> Inputs:
    return Inputs(tuple(lengths), **more)


@pytest.mark.parametrize("case", ["sentinel2", "radar", "naip-told"])
def test_features_equal_the_peers(peer, case):
    assert peer.difference(case) <= 1e-5


def test_the_golden_cases_are_those_tested(peer):
    assert {name: case["bands"] for name, case in peer.cases.items()} == {
        "sentinel2": list(range(10)),
        "radar": [len(peer.card.bands) - 2, len(peer.card.bands) - 1],
        "naip-told": [NAIP, NAIP + 1, NAIP + 2, NAIP + 3],
    }
    told = peer.cases["naip-told"]
    assert told["time_location"] and told["resolution_m"] == 1.0 and told["batch"] == 2


def test_equality_would_miss_no_change_of_a_tensor(tiny):
    """Each published tensor of the encoder counts: a change of it shows."""
    names = [name for name in tiny.weights if name.startswith("model.encoder.")]
    for name in names:
        changed = {**tiny.weights, name: tiny.weights[name] * 1.1 + 0.01}
        assert replace(tiny, weights=changed).difference("sentinel2") > 1e-5, name
    assert len(names) == 45


def test_the_decoder_and_the_projection_are_dropped_and_named(peer):
    found = ClayBackbone.convert(peer.card, peer.weights)
    assert set(found.dropped) == {"model.decoder.mask_patch", "model.proj.weight"}
    teacher = {
        "model.teacher.blocks.0.norm1.weight": torch.ones(2),
        "model.teacher.blocks.0.norm1.bias": torch.ones(2),
    }
    more = ClayBackbone.convert(peer.card, {**peer.weights, **teacher}).dropped
    assert "model.teacher.* (2 tensors)" in more
    assert not any("decoder" in name or "teacher" in name for name in found.tensors)


def test_a_lightning_checkpoint_is_read_and_converted(peer, tmp_path):
    path = tmp_path / "clay.ckpt"
    torch.save({"epoch": 3, "state_dict": peer.weights, "hyper_parameters": {"lr": 1.0}}, path)
    read = checkpoint.read(path, 10_000_000)
    found = ClayBackbone.convert(peer.card, read.tensors)
    expected = ClayBackbone.convert(peer.card, peer.weights)
    assert {"epoch", "hyper_parameters"} <= set(read.others)
    assert all(torch.equal(found.tensors[name], t) for name, t in expected.tensors.items())


@pytest.mark.parametrize("prefix", ["", "encoder.", "model.encoder.", "state_dict.model.encoder."])
def test_the_encoder_alone_with_or_without_prefixes_is_the_same(tiny, prefix):
    start = "model.encoder."
    bare = {
        prefix + name.removeprefix(start): tensor
        for name, tensor in tiny.weights.items()
        if name.startswith(start)
    }
    found, expected = (ClayBackbone.convert(tiny.card, w) for w in (bare, tiny.weights))
    assert found.dropped == []
    assert set(found.tensors) == set(expected.tensors)
    assert all(torch.equal(found.tensors[name], t) for name, t in expected.tensors.items())


def test_a_foreign_checkpoint_is_refused_and_what_was_expected_is_named(tiny):
    with pytest.raises(ValueError, match=r"Clay v1\.5: .*shape.*expected \[1, 1, 1024\]"):
        ClayBackbone.convert(catalogue.card_of("clay-1.5"), tiny.weights)
    with pytest.raises(ValueError, match=r"cls_token.* is missing \(\d+ of \d+ tensors are\)"):
        ClayBackbone.convert(tiny.card, {"model.backbone.conv1.weight": torch.zeros(3)})
    shorter = {k: v for k, v in tiny.weights.items() if not k.endswith("1.1.net.3.bias")}
    with pytest.raises(ValueError, match=r"blocks\.1\.mlp\.fc2\.bias \[24\] is missing \(1 of"):
        ClayBackbone.convert(tiny.card, shorter)


def test_a_band_is_known_by_its_wavelength_alone(tiny):
    card = tiny.card
    numbers = [RED, NIR, 0]
    lengths = [card.bands[n].wavelength_nm for n in numbers]
    picture = image(3)
    named = maps(tiny.filled(inputs(None, None, None, bands=tuple(numbers))), picture)
    free = maps(tiny.filled(inputs(*lengths)), picture)
    torch.testing.assert_close(free, named)
    other = maps(tiny.filled(inputs(lengths[1], lengths[0], lengths[2])), picture)
    assert float((other - named).abs().max()) > 0.01


def test_the_order_of_an_images_bands_is_of_no_account(tiny):
    lengths, order = [493.0, 665.0, 842.0, 1240.0, 2190.0], [3, 1, 4, 0, 2]
    picture = image(5)
    first = maps(tiny.filled(inputs(*lengths)), picture)
    turned = tiny.filled(inputs(*(lengths[i] for i in order)))
    torch.testing.assert_close(maps(turned, picture[:, order]), first, atol=1e-5, rtol=1e-5)


def test_radar_has_the_stand_ins_that_the_models_were_trained_with():
    for name in IDS:
        card = catalogue.card_of(name)
        vv = next(n for n, band in enumerate(card.bands) if band.name == "vv")
        network = ClayBackbone(replace(card, options=SMALL), inputs(None, None, bands=(vv, vv + 1)))
        torch.testing.assert_close(network.embed.codes, wave_codes(torch.tensor([3.5, 4.0]), 16))


def test_radar_found_by_the_matching_is_built(tiny):
    bands = [Band("VV"), Band("VH"), Band("B4", 664.6)]
    found = match_bands(tiny.card, bands)
    names = [tiny.card.bands[n].name for n in found.bands if n is not None]
    assert names == ["vv", "vh", "red"] and found.left_out == ()
    network = tiny.filled(inputs(None, None, 664.6, bands=found.bands))
    assert torch.isfinite(maps(network, image(3))).all()


def test_a_band_of_no_known_wavelength_is_refused(tiny):
    with pytest.raises(ValueError, match=r"band 2 of the image has no wavelength.*vh and vv"):
        ClayBackbone(tiny.card, inputs(665.0, None))
    with pytest.raises(ValueError, match="band 99 of the card"):
        ClayBackbone(tiny.card, inputs(665.0, bands=(99,)))


def test_the_size_of_a_pixel_enters_after_the_zoom(tiny):
    picture = image(2)

    def at(resolution, zoom=1.0):
        return maps(tiny.filled(inputs(665.0, 842.0, resolution_m=resolution, zoom=zoom)), picture)

    torch.testing.assert_close(at(None), at(10.0))
    torch.testing.assert_close(at(20.0, 2.0), at(10.0))
    assert float((at(0.5) - at(10.0)).abs().max()) > 0.01


def test_time_and_place_enter_only_when_told(tiny):
    dates, place = ("2024-08-15T10:56:00",), (-111.5, 40.3)
    picture = image(2)

    def at(**more):
        return maps(tiny.filled(inputs(665.0, 842.0, **more)), picture)

    plain = at()
    assert torch.equal(at(dates=dates, location=place), plain)
    assert torch.equal(at(time_location=True), plain)
    told = [
        at(time_location=True, **more)
        for more in (
            {"dates": dates},
            {"dates": ("2024-08-15",)},
            {"location": place},
            {"dates": dates, "location": place},
        )
    ]
    found = [plain, *told]
    for number, one in enumerate(found):
        assert all(float((one - other).abs().max()) > 1e-4 for other in found[:number])


def test_the_codes_of_time_and_place_are_turns():
    # 26 of 52 weeks and 6 of 24 hours: half a turn and a quarter.
    torch.testing.assert_close(
        torch.tensor(time_code(["2024-06-26 06:20"])), torch.tensor([0.0, -1.0, 1.0, 0.0])
    )
    assert time_code(["2024-06-26"])[2:] == [0.0, 0.0]
    assert time_code([]) == time_code([""]) == time_code(["2024-06-26"] * 2) == [0.0] * 4
    half = math.sqrt(0.5)
    torch.testing.assert_close(
        torch.tensor(location_code((-90.0, 45.0))), torch.tensor([half, half, -1.0, 0.0])
    )
    assert location_code(None) == [0.0] * 4
    with pytest.raises(ValueError, match="not like 2025-06-30"):
        time_code(["July"])


def test_positions_tell_columns_from_rows():
    codes = place_codes(3, 5, 16, 10.0)
    assert codes.shape == (16, 3, 5)
    assert torch.equal(codes[:8, 0], codes[:8, 2]) and torch.equal(codes[8:, :, 0], codes[8:, :, 4])
    assert torch.unique(codes.flatten(1), dim=1).shape[1] == 15


def test_depths_come_in_their_order_the_last_after_the_norm_on_an_oblong(tiny):
    network = tiny.filled(inputs(665.0, 842.0))
    picture = image(2, 8, 20)
    with torch.inference_mode():
        late, early = network(picture, [2, 1])
        assert early.shape == late.shape == (1, 24, 2, 5)
        assert torch.equal(network(picture, [1])[0], early)
        plain = (late - network.norm.bias[:, None, None]) / network.norm.weight[:, None, None]
    torch.testing.assert_close(plain.mean(1), torch.zeros_like(plain.mean(1)), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("bands", "rows", "depths", "message"),
    [(3, 16, [1], "3 bands, expected 2"), (2, 18, [1], "18 x 16"), (2, 16, [3], "depths")],
)
def test_what_cannot_be_is_refused(tiny, bands, rows, depths, message):
    network = tiny.filled(inputs(665.0, 842.0))
    with pytest.raises(ValueError, match=message):
        network(image(bands, rows), depths)


def test_every_parameter_is_used(tiny):
    network = tiny.filled(inputs(665.0, 842.0)).requires_grad_(True)
    (last,) = network(image(2), [2])
    (last * image(24, 4, 4)).sum().backward()
    idle = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert idle == []


@pytest.mark.parametrize("name", IDS)
def test_cards_say_what_the_networks_are(name):
    card = catalogue.card_of(name)
    with torch.device("meta"):
        network = ClayBackbone(card, Inputs.all_of(card))
    assert sum(parameter.numel() for parameter in network.parameters()) == card.parameters
    assert len(network.blocks) == network.depth == card.options["depth"]
    for block in network.blocks:
        for target in card.lora_targets:
            assert isinstance(block.get_submodule(target), nn.Linear)
        assert block.attn.qkv.bias is None and block.attn.proj.bias is None
        assert block.attn.head_dim == 64
    assert len(card.bands) == len(card.mean) == len(card.std)
    assert card.any_bands and card.time_location and card.several_dates == 1


SMALL = {
    **{"dim": 24, "depth": 1, "heads": 4, "gsd": 10.0, "stand_ins": {"vv": 3.5, "vh": 4.0}},
    **{"wave_dim": 16, "wave_tokens": 4, "wave_hidden": 24},
}
