"""Galileo: equal to the published network, and what it does with bands, dates and sizes.

The golden files come from benchmarks/oracle/galileo.py.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from tilth_engine.backbones import catalogue
from tilth_engine.backbones.dated import month_codes
from tilth_engine.backbones.galileo import (
    GROUPS,
    GalileoBackbone,
    grid_codes,
    resized,
    sinusoids,
    windows,
)
from tilth_engine.backbones.inputs import Inputs

GOLDEN = Path(__file__).parent / "golden"
CARD = catalogue.card_of("galileo-nano")
SMALL = replace(CARD, options={"dim": 32, "depth": 2, "heads": 4})
S2 = tuple(range(2, 12))


def golden(name: str):
    """The cases, options and tensors of a golden file."""
    with safe_open(GOLDEN / f"{name}.safetensors", "pt") as file:
        metadata = file.metadata()
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    return json.loads(metadata["cases"]), json.loads(metadata["options"]), tensors


def built(bands=S2, card=SMALL, **options) -> GalileoBackbone:
    """A small network of random weights for these bands of the card."""
    torch.manual_seed(0)
    backbone = GalileoBackbone(card, Inputs((None,) * len(bands), tuple(bands), **options))
    return backbone.eval().requires_grad_(False)


def picture(bands: int, rows: int = 8, columns: int = 8) -> torch.Tensor:
    return torch.randn(1, bands, rows, columns, generator=torch.Generator().manual_seed(bands))


@pytest.mark.parametrize("case", golden("galileo")[0])
def test_small_network_equals_the_published_one(case):
    cases, options, tensors = golden("galileo")
    told = cases[case]
    card = replace(CARD, options=options, patch=told["patch"])
    published = {
        name.removeprefix("published/"): tensor.float()
        for name, tensor in tensors.items()
        if name.startswith("published/")
    }
    backbone = GalileoBackbone(card, Inputs.from_dict(told["inputs"])).eval()
    backbone.fill(GalileoBackbone.convert(card, published).tensors)
    with torch.inference_mode():
        found = backbone(tensors[f"image/{case}"], [1, 2])
    for depth, each in enumerate(found, 1):
        wanted = tensors[f"map/{case}/{depth}"]
        assert float((each - wanted).abs().max() / wanted.abs().max()) < 1e-4


def _real(folder: Path) -> dict[str, torch.Tensor]:
    path = folder / "galileo_nano" / "encoder.pt"
    return torch.load(path, map_location="cpu", weights_only=True)


@pytest.mark.parametrize("case", golden("galileo-nano")[0])
def test_real_weights_give_the_published_maps(case, weights):
    cases, _, tensors = golden("galileo-nano")
    card = replace(CARD, patch=cases[case]["patch"])
    backbone = GalileoBackbone(card, Inputs.from_dict(cases[case]["inputs"])).eval()
    backbone.fill(GalileoBackbone.convert(card, _real(weights)).tensors)
    with torch.inference_mode():
        found = backbone(tensors[f"image/{case}"], [1, 2, 3, 4])
    for depth, each in enumerate(found, 1):
        wanted = tensors[f"map/{case}/{depth}"]
        assert float((each - wanted).abs().max() / wanted.abs().max()) < 1e-4


def test_the_codes_in_the_real_file_are_those_computed(weights):
    published = _real(weights)
    torch.testing.assert_close(published["pos_embed"], sinusoids(torch.arange(24), 32))
    own = month_codes(torch.arange(12), 32)
    torch.testing.assert_close(published["month_embed.weight"], own, atol=1e-6, rtol=0)


def test_conversion_says_what_it_leaves_out(weights):
    dropped = " ".join(GalileoBackbone.convert(CARD, _real(weights)).dropped)
    for part in ("pos_embed", "month_embed", "space_embed", "time_embed", "static_embed"):
        assert part in dropped
    assert "blocks" not in dropped and "space_time" not in dropped


def test_another_models_checkpoint_is_refused(weights):
    published = _real(weights)
    with pytest.raises(ValueError, match="Galileo tiny"):
        GalileoBackbone.convert(catalogue.card_of("galileo-tiny"), published)
    shallow = replace(CARD, options={**CARD.options, "depth": 3})
    with pytest.raises(ValueError, match="more than 3 blocks"):
        GalileoBackbone.convert(shallow, published)
    without = {name: t for name, t in published.items() if "S2_SWIR" not in name}
    with pytest.raises(ValueError, match="S2_SWIR"):
        GalileoBackbone.convert(CARD, without)
    with pytest.raises(ValueError, match="missing"):
        GalileoBackbone.convert(CARD, {"x": torch.zeros(1)})


@pytest.mark.parametrize("name", ["galileo-nano", "galileo-tiny", "galileo-base"])
def test_cards_tell_the_size_and_the_layers_for_lora(name):
    card = catalogue.card_of(name)
    with torch.device("meta"):
        backbone = GalileoBackbone(card, Inputs.all_of(card))
    assert sum(parameter.numel() for parameter in backbone.parameters()) == card.parameters
    assert len(backbone.blocks) == backbone.depth == len(backbone.strides)
    for block in backbone.blocks:
        for target in card.lora_targets:
            assert isinstance(block.get_submodule(target), torch.nn.Linear)
    assert list(dict.fromkeys(band.group for band in card.bands)) == list(GROUPS)


def test_maps_have_the_size_of_the_image_in_patches():
    backbone = built()
    late, early = backbone(picture(10, 12, 20), [2, 1])
    assert late.shape == early.shape == (1, 32, 3, 5)
    assert float((late - early).abs().mean()) > 0.01
    with pytest.raises(ValueError, match="no multiple of patch 4"):
        backbone(picture(10, 10, 20), [1])
    with pytest.raises(ValueError, match="expected 10"):
        backbone(picture(9), [1])


def test_only_what_is_there_is_built_and_unknown_bands_change_nothing():
    backbone = built((8, 9))
    assert set(backbone.embed) == {"S2_NIR_10m", "S2_NIR_20m"}
    image = picture(2)
    (plain,) = backbone(image, [2])
    wider = built((8, 9, None))
    wider.load_state_dict(backbone.state_dict())
    (same,) = wider(torch.cat([image, torch.ones(1, 1, 8, 8)], 1), [2])
    torch.testing.assert_close(plain, same)


def test_the_order_of_bands_is_of_no_account():
    image = picture(10)
    (first,) = built()(image, [2])
    (second,) = built(S2[::-1])(image.flip(1), [2])
    torch.testing.assert_close(first, second)


def test_month_place_and_resolution_are_used():
    image, place = picture(10), (-111.5, 40.3)

    def feature(**options):
        return built(**options)(image, [2])[0]

    plain = feature()
    told = {"time_location": True}
    torch.testing.assert_close(plain, feature(dates=("2023-07-20",), **told))
    torch.testing.assert_close(plain, feature(dates=("2023-01-20",)))
    torch.testing.assert_close(plain, feature(resolution_m=20.0, zoom=2.0))
    torch.testing.assert_close(plain, feature(location=place))
    for options in (
        {"dates": ("2023-01-20",), **told},
        {"resolution_m": 20.0},
        {"location": place, **told},
    ):
        assert float((plain - feature(**options)).abs().mean()) > 1e-3


def test_the_same_weights_serve_whether_or_not_the_place_is_known():
    here = {"time_location": True}
    assert set(built(**here).state_dict()) == set(built(location=(7.0, 47.0), **here).state_dict())


def test_positions_of_an_oblong_image_are_part_of_a_squares():
    square = grid_codes(6, 6, 2.0, 8).unflatten(0, (6, 6))
    oblong = grid_codes(3, 6, 2.0, 8).unflatten(0, (3, 6))
    torch.testing.assert_close(oblong, square[:3])
    assert not torch.allclose(square, square.transpose(0, 1))


def test_a_smaller_kernel_answers_alike():
    generator = torch.Generator().manual_seed(1)
    kernel = torch.randn(3, 2, 8, 8, generator=generator)
    assert resized(kernel, 8) is kernel
    patch = torch.randn(1, 2, 16, 16, generator=generator)
    # To a larger patch the answer is exactly the same: nothing is lost when it is enlarged.
    larger = torch.nn.functional.interpolate(
        patch[..., :8, :8], (12, 12), mode="bicubic", antialias=True
    )
    torch.testing.assert_close(
        torch.einsum("dchw,bchw->bd", resized(kernel, 12), larger),
        torch.einsum("dchw,bchw->bd", kernel, patch[..., :8, :8]),
        atol=1e-3,
        rtol=1e-3,
    )


@pytest.mark.parametrize("count", [1, 12, 13, 16, 24, 25, 32])
def test_windows_cover_every_patch_once(count):
    parts = windows(count)
    assert [place for start, stop in parts for place in range(start, stop)] == list(range(count))
    assert max(stop - start for start, stop in parts) <= 12
    assert min(stop - start for start, stop in parts) >= min(count, 6)


def test_a_large_image_is_seen_in_windows():
    backbone, image = built(), picture(10, 56, 100)
    whole = backbone(image, [1, 2])
    assert whole[1].shape == (1, 32, 14, 25)
    # 14 rows are cut after 7, 25 columns after 8 and 16.
    alone = backbone(image[..., 28:, 32:64], [1, 2])
    for one, other in zip(whole, alone, strict=True):
        torch.testing.assert_close(one[..., 7:, 8:16], other)
