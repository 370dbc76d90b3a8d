"""TerraMind: equal to TerraTorch's, and what it does with modalities, bands and checkpoints."""

from __future__ import annotations

import pytest
import torch
from tilth_engine.backbones import catalogue
from tilth_engine.backbones.base import Backbone
from tilth_engine.backbones.inputs import Inputs
from tilth_engine.backbones.terramind import TerraMindBackbone, positions
from torch import nn

from .oracle_files import Golden, golden

IDS = ["terramind-tiny", "terramind-small", "terramind-base", "terramind-large"]
# Where the card's groups begin.
L2A, L1C, RGB, GRD, RTC, DEM = 0, 12, 25, 28, 30, 32


@pytest.fixture(scope="module", params=["terramind_plain", "terramind_gated"])
def peer(request) -> Golden:
    return golden(request.param)


@pytest.fixture(scope="module")
def plain() -> Golden:
    return golden("terramind_plain")


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


@pytest.mark.parametrize("case", ["native", "level-1c", "radar-elevation", "other-size", "subset"])
def test_features_equal_the_peers(peer, case):
    assert peer.difference(case) <= 1e-5


def test_the_golden_cases_are_those_tested(peer):
    assert len(peer.cases) == 5
    assert peer.cases["subset"]["bands"] == [L2A + 7, L2A + 1, L2A + 10, GRD + 1]
    assert peer.cases["radar-elevation"]["bands"] == [RTC, RTC + 1, DEM]


def test_only_the_modalities_that_are_there_are_built(plain):
    network = TerraMindBackbone(plain.card, inputs(plain, [DEM, GRD]))
    assert list(network.modalities) == ["S1GRD", "DEM"]
    assert network.places == {"S1GRD": [1], "DEM": [0]}
    names = [name for name in network.state_dict() if name.startswith("modalities.")]
    assert sorted(names) == [
        f"modalities.{group}.{part}"
        for group in ("DEM", "S1GRD")
        for part in ("code", "embed.weight")
    ]


def test_the_order_of_an_images_bands_is_of_no_account(plain):
    bands = [L2A + 1, L2A + 2, L2A + 3, GRD, GRD + 1]
    picture, order = image(5), [3, 1, 4, 0, 2]
    first = maps(plain.filled(inputs(plain, bands)), picture)
    turned = plain.filled(inputs(plain, [bands[i] for i in order]))
    torch.testing.assert_close(maps(turned, picture[:, order]), first, atol=1e-5, rtol=1e-5)
    mixed = maps(plain.filled(inputs(plain, bands)), picture[:, order])
    assert float((mixed - first).abs().max()) > 0.1


def test_a_missing_band_is_as_one_at_its_mean_but_a_missing_modality_is_not(plain):
    picture = image(5)
    bands = [L2A + 1, L2A + 2, L2A + 3, GRD, GRD + 1]
    dark = picture.clone()
    dark[:, 1] = 0
    whole = plain.filled(inputs(plain, bands))
    part = plain.filled(inputs(plain, [bands[0], *bands[2:]]))
    torch.testing.assert_close(
        maps(part, picture[:, [0, 2, 3, 4]]), maps(whole, dark), atol=1e-5, rtol=1e-5
    )
    dark[:, 3:] = 0
    optical = plain.filled(inputs(plain, bands[:3]))
    assert float((maps(optical, dark[:, :3]) - maps(whole, dark)).abs().max()) > 0.01


def test_an_extra_band_joins_a_modality_that_is_there(plain):
    # 740.5 nm is B06 of S2L2A and of S2L1C; only the latter is there.
    network = TerraMindBackbone(plain.card, inputs(plain, [L1C + 4, 741.0]))
    assert network.places == {"S2L1C": [0, 1]}
    assert network.slices == [L1C + 4, L1C + 5]
    alone = TerraMindBackbone(plain.card, inputs(plain, [741.0]))
    assert list(alone.modalities) == ["S2L2A"]
    with pytest.raises(ValueError, match=r"band 2 of the image is none of TerraMind"):
        TerraMindBackbone(plain.card, inputs(plain, [GRD, 741.0]))


def test_bands_that_share_a_slice_share_its_weight(plain):
    kernel = plain.weights["encoder_embeddings.untok_sen2l2a@224.proj.weight"]
    network = plain.filled(inputs(plain, [L2A + 7, 845.0, L2A + 8]))
    patch = plain.card.patch
    slices = kernel.unflatten(1, (patch, patch, 12)).permute(3, 0, 1, 2)
    expected = torch.stack([slices[7] / 2, slices[7] / 2, slices[8]], 1)
    torch.testing.assert_close(network.modalities["S2L2A"].embed.weight.detach(), expected)


def test_what_the_encoder_does_not_use_is_dropped_and_named(peer):
    found = TerraMindBackbone.convert(peer.card, peer.weights)
    assert {
        "decoder.* (2 tensors)",
        "mask_token",
        "decoder_proj_context.weight",
        "encoder_embeddings.tok_lulc@224.* (2 tensors)",
        "encoder_embeddings.untok_sen2l2a@224.pos_emb",
        "encoder.* (4 tensors)",  # the norms' biases, which are zero
        "encoder_norm.bias",
    } <= set(found.dropped)


def test_a_norm_with_a_bias_is_refused(peer):
    weights = {**peer.weights, "encoder.1.norm2.bias": torch.ones(16)}
    with pytest.raises(ValueError, match=r"TerraMind 1\.0 .*encoder\.1\.norm2\.bias is not zero"):
        TerraMindBackbone.convert(peer.card, weights)


def test_a_foreign_checkpoint_is_refused_and_what_was_expected_is_named(plain):
    with pytest.raises(ValueError, match=r"TerraMind 1\.0 tiny: .*shape.*expected \[192"):
        TerraMindBackbone.convert(catalogue.card_of("terramind-tiny"), plain.weights)
    gated = golden("terramind_gated")
    with pytest.raises(ValueError, match=r"fc1_g\.weight has shape \[64, 16\], expected"):
        TerraMindBackbone.convert(gated.card, plain.weights)
    with pytest.raises(ValueError, match=r"qkv\.bias \[48\] is missing \(\d+ of \d+ tensors are\)"):
        TerraMindBackbone.convert(plain.card, gated.weights)
    less = {name: t for name, t in plain.weights.items() if "untok_dem" not in name}
    with pytest.raises(ValueError, match=r"modalities\.DEM\..* is missing \(2 of"):
        TerraMindBackbone.convert(plain.card, less)


def test_more_than_one_date_is_refused(plain):
    with pytest.raises(ValueError, match="2 dates, but it takes one"):
        TerraMindBackbone(plain.card, inputs(plain, [0, 0], frames=(0, 1)))


@pytest.mark.parametrize(
    ("bands", "rows", "depths", "message"),
    [(3, 16, [1], "3 bands, expected 2"), (2, 18, [1], "18 x 16"), (2, 16, [3], "depths")],
)
def test_what_cannot_be_is_refused(plain, bands, rows, depths, message):
    network = plain.filled(inputs(plain, [GRD, GRD + 1]))
    with pytest.raises(ValueError, match=message):
        network(image(bands, rows), depths)


def test_every_parameter_is_used(peer):
    network = peer.filled(Inputs.all_of(peer.card)).requires_grad_(True)
    (last,) = network(image(33), [2])
    (last * image(16, 4, 4)).sum().backward()
    idle = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert idle == []


def test_positions_tell_every_place_apart_and_rows_come_first():
    codes = positions(4, 16)[0]
    assert torch.unique(codes.flatten(1), dim=1).shape[1] == 16
    assert torch.equal(codes[:8, 2, 0], codes[:8, 2, 3])
    assert torch.equal(codes[8:, 0, 2], codes[8:, 3, 2])


@pytest.mark.parametrize("name", IDS)
def test_cards_say_what_the_networks_are(name):
    card = catalogue.card_of(name)
    with torch.device("meta"):
        network = TerraMindBackbone(card, Inputs.all_of(card))
    assert sum(parameter.numel() for parameter in network.parameters()) == card.parameters
    assert len(network.blocks) == network.depth == card.options["depth"]
    for block in network.blocks:
        linear = {n for n, layer in block.named_modules() if isinstance(layer, nn.Linear)}
        assert linear == set(card.lora_targets)
    if card.options["gated"]:
        width = {"terramind-base": 2048, "terramind-large": 2730}[name]
        assert network.blocks[0].get_submodule("mlp.fc2").in_features == width


def test_the_cards_bands_are_grouped_by_modality():
    for name in IDS:
        groups: dict[str, list[str]] = {}
        for band in catalogue.card_of(name).bands:
            groups.setdefault(band.group, []).append(band.name)
        counts = {group: len(names) for group, names in groups.items()}
        assert counts == {"S2L2A": 12, "S2L1C": 13, "RGB": 3, "S1GRD": 2, "S1RTC": 2, "DEM": 1}
        assert "B10" in groups["S2L1C"] and "B10" not in groups["S2L2A"]
        assert groups["S2L2A"][7:9] == ["B08", "B8A"]
        assert groups["RGB"] == ["B04", "B03", "B02"]
