"""DOFA: equal to torchgeo's, and what it does with bands, sizes and checkpoints."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tilth_engine.backbones import catalogue, patches
from tilth_engine.backbones.base import Backbone
from tilth_engine.backbones.dofa import DofaBackbone, usual_positions
from tilth_engine.backbones.inputs import Inputs
from tilth_engine.backbones.matching import match_bands
from tilth_engine.data.bands import Band
from torch import nn

from .oracle_files import Golden, golden

IDS = ["dofa-base", "dofa-large"]
RED, BLUE, NIR, VV = 0, 2, 6, 9


@pytest.fixture(scope="module")
def peer() -> Golden:
    return golden("dofa_tiny")


def image(bands: int, rows: int = 16, columns: int = 16) -> torch.Tensor:
    return torch.randn(1, bands, rows, columns, generator=torch.Generator().manual_seed(bands))


def maps(network: Backbone, picture: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return torch.cat(network(picture, [1, 2]))


def inputs(*lengths, **more) -> Inputs:
    return Inputs(tuple(lengths), **more)


@pytest.mark.parametrize("case", ["sentinel2", "larger-oblong", "radar"])
def test_features_equal_the_peers(peer, case):
    assert peer.difference(case) <= 1e-5


def test_the_golden_cases_are_those_tested(peer):
    assert {name: case["bands"] for name, case in peer.cases.items()} == {
        "sentinel2": list(range(9)),
        "larger-oblong": [BLUE, 1, RED, NIR],
        "radar": [VV, VV + 1],
    }
    assert [case["size"] for case in peer.cases.values()] == [[16, 16], [16, 20], [12, 12]]


def test_equality_would_miss_no_change_of_a_tensor(peer):
    """Each published tensor that is used counts: a change of it shows."""
    used = [name for name in peer.weights if name.split(".")[0] not in ("mask_token", "projector")]
    for name in used:
        changed = {**peer.weights, name: peer.weights[name] * 1.1 + 0.01}
        assert replace(peer, weights=changed).difference("sentinel2") > 1e-5, name
    assert len(used) == 50


def test_what_the_encoder_does_not_use_is_dropped_and_named(peer):
    found = DofaBackbone.convert(peer.card, peer.weights)
    assert set(found.dropped) == {"mask_token", "projector.weight", "projector.bias"}
    mae = {"decoder_blocks.0.norm1.weight": torch.ones(1), "head.weight": torch.ones(1)}
    more = DofaBackbone.convert(peer.card, {**peer.weights, **mae}).dropped
    assert set(mae) <= set(more)
    assert not any("decoder" in name or "mask" in name for name in found.tensors)


def test_torchgeos_files_lack_the_final_norm_which_starts_neutral(peer):
    without = {k: v for k, v in peer.weights.items() if not k.startswith("norm.")}
    found = DofaBackbone.convert(peer.card, without)
    assert "norm.weight (not in the file: starts neutral)" in found.dropped
    assert "norm.bias (not in the file: starts neutral)" in found.dropped
    bare = replace(peer, weights=without).filled(inputs(665.0, 842.0))
    last = maps(bare, image(2))[1]
    torch.testing.assert_close(last.mean(0), torch.zeros_like(last[0]), atol=1e-5, rtol=0)
    spread = last.std(0, correction=0)
    torch.testing.assert_close(spread, torch.ones_like(spread), atol=1e-4, rtol=0)
    first = maps(peer.filled(inputs(665.0, 842.0)), image(2))[0]
    assert torch.equal(maps(bare, image(2))[0], first)


def test_a_prefix_is_no_matter(peer):
    prefixed = {f"model.{name}": tensor for name, tensor in peer.weights.items()}
    found, expected = (DofaBackbone.convert(peer.card, w) for w in (prefixed, peer.weights))
    assert set(found.tensors) == set(expected.tensors)
    assert all(torch.equal(found.tensors[name], t) for name, t in expected.tensors.items())


def test_a_foreign_checkpoint_is_refused_and_what_was_expected_is_named(peer):
    with pytest.raises(ValueError, match=r"DOFA large: .*shape.*expected \[1, 1, 1024\]"):
        DofaBackbone.convert(catalogue.card_of("dofa-large"), peer.weights)
    with pytest.raises(ValueError, match=r"DOFA base: .* is missing \(\d+ of \d+ tensors are\)"):
        DofaBackbone.convert(peer.card, {"conv1.weight": torch.zeros(3)})
    plain = {k: v for k, v in peer.weights.items() if not k.startswith("patch_embed.")}
    plain["patch_embed.proj.weight"] = torch.zeros(24, 3, 4, 4)
    with pytest.raises(ValueError, match=r"embed\.\w+(\.\w+)? .* is missing"):
        DofaBackbone.convert(peer.card, plain)


def test_a_band_is_known_by_its_wavelength_alone(peer):
    numbers = [RED, NIR, BLUE]
    lengths = [peer.card.bands[n].wavelength_nm for n in numbers]
    picture = image(3)
    named = maps(peer.filled(inputs(None, None, None, bands=tuple(numbers))), picture)
    torch.testing.assert_close(maps(peer.filled(inputs(*lengths)), picture), named)
    other = maps(peer.filled(inputs(lengths[1], lengths[0], lengths[2])), picture)
    assert float((other - named).abs().max()) > 0.01


def test_many_bands_in_any_order_go_in(peer):
    lengths = torch.linspace(420, 2450, 60).tolist()
    order = torch.randperm(60, generator=torch.Generator().manual_seed(0)).tolist()
    picture = image(60)
    first = maps(peer.filled(inputs(*lengths)), picture)
    turned = peer.filled(inputs(*(lengths[i] for i in order)))
    torch.testing.assert_close(maps(turned, picture[:, order]), first, atol=1e-4, rtol=1e-4)


def test_radar_has_the_stand_ins_that_the_models_were_trained_with():
    for name in IDS:
        card = catalogue.card_of(name)
        found = match_bands(card, [Band("VV"), Band("VH")])
        assert [card.bands[n].name for n in found.bands if n is not None] == ["vv", "vh"]
        small = replace(card, options={**card.options, "dim": 24, "depth": 1, "heads": 2})
        network = DofaBackbone(small, inputs(None, None, bands=found.bands))
        expected = patches.sinusoids(torch.tensor([5405.0, 5405.0]), 128)
        torch.testing.assert_close(network.embed.codes, expected, atol=1e-3, rtol=0)


def test_a_band_of_no_known_wavelength_is_refused(peer):
    with pytest.raises(ValueError, match=r"band 2 of the image has no wavelength.*vh and vv"):
        DofaBackbone(peer.card, inputs(665.0, None))
    with pytest.raises(ValueError, match="band 99 of the card"):
        DofaBackbone(peer.card, inputs(665.0, bands=(99,)))


def test_positions_are_stored_and_are_no_parameter(peer):
    network = peer.filled(inputs(665.0, 842.0))
    assert "pos_embed" in network.state_dict()
    assert "pos_embed" not in dict(network.named_parameters())
    torch.testing.assert_close(network.pos_embed, peer.weights["pos_embed"])
    fresh = usual_positions(4, 24)
    assert fresh.shape == (1, 17, 24)
    assert torch.unique(fresh[0], dim=0).shape[0] == 17


def test_depths_come_in_their_order_the_last_after_the_norm(peer):
    network = peer.filled(inputs(665.0, 842.0))
    with torch.inference_mode():
        late, early = network(image(2, 8, 24), [2, 1])
        assert early.shape == late.shape == (1, 24, 2, 6)
        assert torch.equal(network(image(2, 8, 24), [1])[0], early)
        plain = (late - network.norm.bias[:, None, None]) / network.norm.weight[:, None, None]
    torch.testing.assert_close(plain.mean(1), torch.zeros_like(plain.mean(1)), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("bands", "rows", "depths", "message"),
    [(3, 16, [1], "3 bands, expected 2"), (2, 18, [1], "18 x 16"), (2, 16, [3], "depths")],
)
def test_what_cannot_be_is_refused(peer, bands, rows, depths, message):
    network = peer.filled(inputs(665.0, 842.0))
    with pytest.raises(ValueError, match=message):
        network(image(bands, rows), depths)


def test_every_parameter_is_used(peer):
    network = peer.filled(inputs(665.0, 842.0)).requires_grad_(True)
    (last,) = network(image(2), [2])
    (last * image(24, 4, 4)).sum().backward()
    idle = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert idle == []


@pytest.mark.parametrize("name", IDS)
def test_cards_say_what_the_networks_are(name):
    card = catalogue.card_of(name)
    with torch.device("meta"):
        network = DofaBackbone(card, Inputs.all_of(card))
    assert sum(parameter.numel() for parameter in network.parameters()) == card.parameters
    assert len(network.blocks) == network.depth == card.options["depth"]
    for block in network.blocks:
        for target in card.lora_targets:
            assert isinstance(block.get_submodule(target), nn.Linear)
    assert card.any_bands and not card.time_location and card.several_dates == 1
