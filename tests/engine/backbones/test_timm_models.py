"""Timm's models as backbones: equal to their peers, any bands and sizes, cards on the fly."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors import safe_open
from tilth_engine.backbones import catalogue, timm_cards
from tilth_engine.backbones.card import Card
from tilth_engine.backbones.inputs import Inputs
from tilth_engine.backbones.timm_models import TimmBackbone
from tilth_engine.errors import TilthError

GOLDEN = sorted((Path(__file__).parent / "golden").glob("timm-*.safetensors"))
LISTED = [card for card in catalogue.cards().values() if card.architecture == "timm"]


def golden(path: Path) -> tuple[Card, dict[str, torch.Tensor], list[dict], dict[str, torch.Tensor]]:
    """The tiny card, the published weights, the cases and their tensors (made by the oracle)."""
    with safe_open(path, framework="pt") as file:
        facts = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    whole = catalogue.card_of(facts["card_id"]).to_dict()
    card = Card.from_dict({**whole, **json.loads(facts["card"])})
    weights = {k.removeprefix("weights/"): v for k, v in tensors.items() if k.startswith("weights")}
    return card, weights, json.loads(facts["cases"]), tensors


def filled(card: Card, weights: dict[str, torch.Tensor], inputs: Inputs) -> TimmBackbone:
    backbone = TimmBackbone(card, inputs)
    backbone.fill(TimmBackbone.convert(card, weights).tensors)
    return backbone.eval().requires_grad_(False)


def picked(card: Card, bands: list[int | None], lengths: list[float] | None = None) -> Inputs:
    found = [lengths[i] if b is None and lengths else card.bands[b or 0].wavelength_nm
             for i, b in enumerate(bands)]  # fmt: skip
    return Inputs(tuple(found), tuple(bands))


def image_of(bands: int, height: int = 32, width: int = 32) -> torch.Tensor:
    return torch.randn(2, bands, height, width, generator=torch.Generator().manual_seed(7))


VIT = golden(next(path for path in GOLDEN if "vit" in path.name))
RESNET = golden(next(path for path in GOLDEN if "resnet" in path.name))


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_features_equal_those_of_the_peer(path):
    card, weights, cases, tensors = golden(path)
    assert {case["name"] for case in cases} == {"native", "other-size", "subset"}
    for case in cases:
        backbone = filled(card, weights, picked(card, case["bands"]))
        with torch.inference_mode():
            maps = backbone(tensors[f"{case['name']}/image"], case["depths"])
        for depth, found in zip(case["depths"], maps, strict=True):
            expected = tensors[f"{case['name']}/map.{depth}"]
            assert found.shape == expected.shape
            assert float((found - expected).abs().max() / expected.abs().max()) <= 1e-4


@pytest.mark.parametrize("card", LISTED, ids=lambda card: card.id)
def test_listed_cards_say_what_the_network_is(card):
    with torch.device("meta"):
        backbone = TimmBackbone(card, Inputs.all_of(card))
    assert card.parameters == sum(parameter.numel() for parameter in backbone.parameters())
    assert card.patch == backbone.patch
    assert card.lora_targets == timm_cards.adaptable(backbone)
    assert len(backbone.blocks) == backbone.depth == len(backbone.strides)
    # Each target is a layer within every block, as adapters find it by the end of its name.
    for block in backbone.blocks:
        names = [f".{name}" for name, _ in block.named_modules()]
        assert all(any(n.endswith(f".{t}") for n in names) for t in card.lora_targets)


def test_what_the_listed_models_are():
    widths = {}
    for card in LISTED:
        with torch.device("meta"):
            backbone = TimmBackbone(card, Inputs.all_of(card))
        widths[card.id] = (backbone.depth, backbone.dims[-1], backbone.strides[0], backbone.patch)
    assert widths == {
        "ssl4eo-s12-vit-s": (12, 384, 16, 16),
        "decur-resnet50": (4, 2048, 4, 32),
        "dinov3-sat-large": (24, 1024, 16, 16),
        "unet-random": (4, 2048, 4, 32),
    }


def test_bands_may_come_in_any_order():
    card, weights, _, _ = VIT
    image, turned = image_of(4), [2, 0, 3, 1]
    (first,) = filled(card, weights, picked(card, [0, 1, 2, 3]))(image, [2])
    (second,) = filled(card, weights, picked(card, turned))(image[:, turned], [2])
    torch.testing.assert_close(first, second, atol=1e-5, rtol=1e-4)


def test_an_extra_band_shares_the_weights_of_the_nearest_wavelength():
    card, weights, _, _ = VIT
    # 700 nm is nearest to B4 (index 2): given the same values, it changes nothing.
    inputs = picked(card, [0, 1, 2, 3, None], [0, 0, 0, 0, 700.0])
    image = image_of(4)
    (plain,) = filled(card, weights, picked(card, [0, 1, 2, 3]))(image, [1])
    (more,) = filled(card, weights, inputs)(torch.cat([image, image[:, 2:3]], 1), [1])
    torch.testing.assert_close(plain, more, atol=1e-5, rtol=1e-4)
    (other,) = filled(card, weights, inputs)(torch.cat([image, image[:, 3:4]], 1), [1])
    assert float((plain - other).detach().abs().max()) > 0.1


def test_a_band_that_is_nowhere_is_refused():
    card, weights, _, _ = VIT
    with pytest.raises(ValueError, match="band 2"):
        filled(card, weights, Inputs((560.0, None), (1, None)))


def test_the_last_map_is_normed_and_depths_come_in_their_order():
    card, weights, _, _ = VIT
    neutral = {"norm.weight": torch.ones(24), "norm.bias": torch.zeros(24)}
    backbone = filled(card, {**weights, **neutral}, picked(card, [0, 1, 2, 3]))
    last, first = backbone(image_of(4), [2, 1])
    assert float(last.mean(1).abs().max()) < 1e-5
    assert float(first.mean(1).abs().max()) > 1e-2
    torch.testing.assert_close(backbone(image_of(4), [1])[0], first)


def test_the_head_is_dropped_and_a_missing_norm_is_said():
    card, weights, _, _ = VIT
    converted = TimmBackbone.convert(card, weights)
    assert any("head" in name for name in converted.dropped)
    assert not any("head" in name for name in converted.tensors)
    bare = {name: tensor for name, tensor in weights.items() if not name.startswith("norm.")}
    converted = TimmBackbone.convert(card, bare)
    assert any("norm.weight" in name and "neutral" in name for name in converted.dropped)
    assert torch.equal(converted.tensors["network.norm.weight"], torch.ones(24))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"blocks.1.attn.qkv.weight": None}, "qkv"),
        ({"patch_embed.proj.weight": torch.zeros(24, 5, 8, 8)}, "shape"),
        ({"pos_embed": torch.zeros(1, 50, 24)}, "shape"),
    ],
)
def test_a_checkpoint_of_another_network_is_refused(change, message):
    card, weights, _, _ = VIT
    damaged = {k: v for k, v in {**weights, **change}.items() if v is not None}
    with pytest.raises(ValueError, match=message):
        TimmBackbone.convert(card, damaged)


def test_every_parameter_is_used():
    for card, weights, _, _ in (VIT, RESNET):
        backbone = filled(card, weights, picked(card, [0, 1, 2, 3])).requires_grad_(True)
        (last,) = backbone(image_of(4), [backbone.depth])
        # A plain sum would not do: after a layer norm its gradient is nought.
        (
            last * torch.randn(last.shape, generator=torch.Generator().manual_seed(1))
        ).sum().backward()
        idle = [n for n, p in backbone.named_parameters() if p.grad is None or not p.grad.any()]
        assert idle == []


def test_training_leaves_the_statistics_of_batch_normalisation_alone():
    card, weights, _, _ = RESNET
    backbone = filled(card, weights, picked(card, [0, 1, 2, 3]))
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    image = image_of(4, 64, 32)
    (quiet,) = backbone(image, [4])
    (trained,) = backbone.train()(image, [4])
    assert backbone.training
    assert torch.equal(quiet, trained)
    assert all(torch.equal(before[name], value) for name, value in backbone.state_dict().items())


def test_convolutions_take_lora():
    card, weights, _, _ = RESNET
    backbone = filled(card, weights, picked(card, [0, 1, 2, 3]))
    (plain,) = backbone(image_of(4), [4])
    adapted = get_peft_model(backbone, LoraConfig(r=2, target_modules=list(card.lora_targets)))
    (same,) = adapted(image_of(4), [4])
    torch.testing.assert_close(same, plain)
    trained = [name for name, p in adapted.named_parameters() if p.requires_grad]
    assert {name.split(".")[3] for name in trained} >= {"layer1", "layer2", "layer3", "layer4"}


@pytest.mark.parametrize(
    ("height", "width", "bands", "depths"),
    [(30, 32, 4, [1]), (32, 32, 3, [1]), (32, 32, 4, [3]), (32, 32, 4, [])],
)
def test_what_cannot_be_is_refused(height, width, bands, depths):
    backbone = TimmBackbone(VIT[0], picked(VIT[0], [0, 1, 2, 3]))
    with pytest.raises(ValueError, match=r"pixels|bands|depths"):
        backbone(torch.zeros(1, bands, height, width), depths)


@pytest.mark.parametrize(
    ("name", "tagged", "depth", "patch", "targets"),
    [
        ("test_vit", "test_vit.r160_in1k", 6, 16, ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")),
        ("test_resnet.r160_in1k", "test_resnet.r160_in1k", 4, 32, ("conv1", "conv2")),
        ("test_convnext", "test_convnext.r160_in1k", 4, 32, ("mlp.fc1", "mlp.fc2")),
    ],
)  # fmt: skip
def test_any_of_timms_names_gets_a_card(name, tagged, depth, patch, targets):
    card = catalogue.card_of(f"timm:{name}")
    assert card.id == f"timm:{tagged}"
    assert card.repository == f"timm/{tagged}"
    assert card.lora_targets == targets
    assert card.native_size % card.patch == 0
    with torch.device("meta"):
        backbone = TimmBackbone(card, Inputs.all_of(card))
    assert (backbone.depth, backbone.patch) == (depth, patch)
    assert card.parameters == sum(parameter.numel() for parameter in backbone.parameters())
    assert Card.from_dict(json.loads(json.dumps(card.to_dict()))) == card


def test_a_timm_model_runs_on_other_bands_and_sizes():
    # Red, near infrared and one that is no colour at all.
    inputs = Inputs((665.0, 842.0, 2200.0), (0, None, None))
    backbone = catalogue.build("timm:test_vit", inputs, random_weights=True)
    first, last = backbone(image_of(3, 48, 80), [1, backbone.depth])
    assert first.shape == last.shape == (2, backbone.dims[0], 3, 5)
    assert not any(parameter.requires_grad for parameter in backbone.parameters())


def test_licences_that_bind_are_told_from_those_that_do_not():
    assert not catalogue.card_of("timm:test_vit").binding
    binding = catalogue.card_of("timm:vit_small_patch16_dinov3")
    assert binding.binding
    assert "DINOv3" in binding.licence
    assert binding.licence_url.startswith("https://")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet55", "resnet50"),
        ("vit_base_patch16_224.imaginary", r"vit_base_patch16_224\.augreg"),
        ("hf-hub:someone/resnet50", "no model 'hf-hub:someone"),
        ("/etc/resnet50", "no model"),
        ("beit_base_patch16_224", "any size"),
        ("twins_svt_small", "whole layers"),
    ],
)
def test_names_that_will_not_do_are_refused_with_those_that_may(name, message):
    with pytest.raises(TilthError, match=message):
        catalogue.card_of(f"timm:{name}")


def test_the_random_network_needs_no_weights_and_takes_any_bands():
    card = catalogue.card_of("unet-random")
    inputs = Inputs((None, 560.0, 665.0))
    states = [catalogue.build(card.id, inputs, seed=seed).state_dict() for seed in (0, 0, 1)]
    name = "network.layer1.0.conv2.weight"
    assert torch.equal(states[0][name], states[1][name])
    assert not torch.equal(states[0][name], states[2][name])
    assert states[0]["network.conv1.weight"].shape[1] == 3
    # It keeps no statistics of batches, so that what is trained is all there is to store.
    assert not any("running" in name for name in states[0])


@pytest.mark.parametrize("name", ["vit_large_patch16_dinov3", "vit_large_patch16_dinov3_qkvb"])
def test_weights_from_satellite_pictures_are_told_as_such(name):
    listed = catalogue.card_of("dinov3-sat-large")
    made = catalogue.card_of(f"timm:{name}.sat493m")

    assert (made.summary, made.ground_resolution_m) == (listed.summary, listed.ground_resolution_m)
    assert (made.mean, made.std, made.units) == (listed.mean, listed.std, listed.units)
    other = catalogue.card_of("timm:vit_small_patch16_dinov3.lvd1689m")
    assert "not on satellite images" in other.summary
    assert other.ground_resolution_m == (0.05, 30.0)


def test_models_that_are_only_listed_say_so():
    listed = [card for card in catalogue.cards().values() if not card.architecture]
    assert sorted(card.id for card in listed) == [
        "olmoearth-base", "olmoearth-large", "olmoearth-nano", "olmoearth-tiny",
        "olmoearth11-base", "olmoearth11-nano", "olmoearth11-tiny",
        "olmoearth12-base", "olmoearth12-nano", "olmoearth12-small", "olmoearth12-tiny",
        "satmae-base", "satmae-large", "scalemae-large",
    ]  # fmt: skip
    for card in listed:
        assert card.binding
        word = "military" if card.id.startswith("olmoearth") else "not for commercial use"
        assert word in card.licence and "can't run it yet" in card.summary
        with pytest.raises(TilthError, match="can't run it yet"):
            catalogue.build(card.id, Inputs.all_of(card))
