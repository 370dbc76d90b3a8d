"""Presto: equal to the published network, and a map from a stack of dates from end to end.

The golden files come from benchmarks/oracle/presto.py.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from tilth_engine.backbones import catalogue, presto
from tilth_engine.backbones.dated import month_codes
from tilth_engine.backbones.inputs import Inputs
from tilth_engine.backbones.presto import PrestoBackbone, step_codes
from tilth_engine.model.methods.method import Method
from tilth_engine.model.segmenter import DecoderSettings, build

GOLDEN = Path(__file__).parent / "golden"
CARD = catalogue.card_of("presto")
SMALL = replace(CARD, options={"dim": 32, "depth": 2, "heads": 4})
S2 = tuple(range(2, 12))


def golden(name: str):
    """The cases, options and tensors of a golden file."""
    with safe_open(GOLDEN / f"{name}.safetensors", "pt") as file:
        metadata = file.metadata()
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    return json.loads(metadata["cases"]), json.loads(metadata["options"]), tensors


def built(bands=S2, card=SMALL, **options) -> PrestoBackbone:
    """A small network of random weights for these bands of the card."""
    torch.manual_seed(0)
    return PrestoBackbone(card, Inputs((None,) * len(bands), tuple(bands), **options)).eval()


def picture(bands: int, rows: int = 4, columns: int = 5) -> torch.Tensor:
    return torch.randn(2, bands, rows, columns, generator=torch.Generator().manual_seed(bands))


@pytest.mark.parametrize("case", golden("presto")[0])
def test_small_network_equals_the_published_one(case):
    cases, options, tensors = golden("presto")
    card = replace(CARD, options=options)
    published = {
        name.removeprefix("published/"): tensor.float()
        for name, tensor in tensors.items()
        if name.startswith("published/")
    }
    backbone = PrestoBackbone(card, Inputs.from_dict(cases[case])).eval()
    backbone.fill(PrestoBackbone.convert(card, published).tensors)
    with torch.inference_mode():
        (found,) = backbone(tensors[f"image/{case}"], [2])
    wanted = tensors[f"map/{case}"]
    assert float((found - wanted).abs().max() / wanted.abs().max()) < 1e-4


def _real(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "presto" / "default_model.pt", map_location="cpu", weights_only=True)


def test_real_weights_give_the_published_maps(weights):
    cases, _, tensors = golden("presto-real")
    backbone = PrestoBackbone(CARD, Inputs.from_dict(cases["year"])).eval()
    backbone.fill(PrestoBackbone.convert(CARD, _real(weights)).tensors)
    with torch.inference_mode():
        (found,) = backbone(tensors["image/year"], [2])
    wanted = tensors["map/year"]
    assert float((found - wanted).abs().max() / wanted.abs().max()) < 1e-4


def test_the_codes_in_the_real_file_are_those_computed(weights):
    published = _real(weights)
    codes = step_codes(24, 64)
    torch.testing.assert_close(published["encoder.pos_embed"][0], codes, atol=1e-6, rtol=1e-5)
    own = month_codes(torch.arange(12), 32)
    torch.testing.assert_close(published["encoder.month_embed.weight"], own, atol=1e-6, rtol=0)


def test_another_models_checkpoint_is_refused(weights):
    published = _real(weights)
    shallow = replace(CARD, options={**CARD.options, "depth": 1})
    with pytest.raises(ValueError, match="more than 1 blocks"):
        PrestoBackbone.convert(shallow, published)
    with pytest.raises(ValueError, match="shape"):
        PrestoBackbone.convert(SMALL, published)
    with pytest.raises(ValueError, match="missing"):
        PrestoBackbone.convert(CARD, {"encoder.norm.weight": torch.ones(128)})
    assert any("decoder" in name for name in PrestoBackbone.convert(CARD, published).dropped)


def test_the_card_tells_the_size_and_the_layers_for_lora():
    with torch.device("meta"):
        backbone = PrestoBackbone(CARD, Inputs.all_of(CARD))
    assert sum(parameter.numel() for parameter in backbone.parameters()) == CARD.parameters
    for block in backbone.blocks:
        for target in CARD.lora_targets:
            assert isinstance(block.get_submodule(target), torch.nn.Linear)


def test_a_pixel_knows_nothing_of_its_neighbours():
    backbone, image = built(), picture(10)
    (whole,) = backbone(image, [2])
    assert whole.shape == (2, 32, 4, 5)
    (alone,) = backbone(image[:1, :, 1:2, 3:4], [2])
    torch.testing.assert_close(alone[0, :, 0, 0], whole[0, :, 1, 3])


def test_parts_give_what_the_whole_gives(monkeypatch):
    backbone, image = built(), picture(10)
    plain = backbone(image, [2, 1])
    monkeypatch.setattr(presto, "PART", 40)
    with torch.inference_mode():
        parts = backbone(image, [2, 1])
    for one, other in zip(plain, parts, strict=True):
        torch.testing.assert_close(one, other)


def test_gradients_are_the_same_though_values_are_computed_again():
    backbone, image = built(), picture(10)
    weight = backbone.blocks[0].attn.qkv.weight
    backbone(image, [2])[0].square().mean().backward()
    found, weight.grad = weight.grad, None
    values = (backbone.bands(image) + backbone.shift) / backbone.divisor
    pixels = values.permute(0, 3, 4, 1, 2).flatten(0, 2)
    backbone._series(pixels, (2,)).square().mean().backward()
    assert float(found.abs().max()) > 0
    torch.testing.assert_close(found, weight.grad)


def test_lora_and_the_linear_decoder_learn_at_every_pixel():
    inputs = Inputs((None,) * 4, (4, 8) * 2, (0, 0, 1, 1), ("2023-04-01", "2023-08-01"))
    settings = DecoderSettings("linear", image_branch=False)
    segmenter, _ = build("presto", Method("lora", 2, 2), settings, inputs, 3, random_backbone=True)
    logits = segmenter(picture(4, 4, 8))
    assert logits.shape == (2, 3, 4, 8)
    logits.square().sum().backward()
    trained = [name for name, p in segmenter.named_parameters() if p.grad is not None]
    for layer in CARD.lora_targets:
        assert sum(f"{layer}.lora_B" in name for name in trained) == 2


def test_dates_months_and_place_are_used():
    image = picture(20)
    frames = (0,) * 10 + (1,) * 10

    def feature(**options):
        return built(S2 * 2, frames=frames, **options)(image, [2])[0]

    plain = feature(dates=("2023-04-01", "2023-08-01"))
    torch.testing.assert_close(plain, feature(dates=("2022-04-30", "2022-08-30")))
    for options in (
        {"dates": ("2023-08-01", "2023-04-01")},
        {"dates": ("2023-04-01", "2023-08-01"), "location": (7.0, 47.0), "time_location": True},
        {},
    ):
        assert float((plain - feature(**options)).abs().mean()) > 1e-3
