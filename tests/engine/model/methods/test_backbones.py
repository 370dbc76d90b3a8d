"""The methods on the architectures there are: sizes as published, and what doesn't go is told."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from tilth_engine.backbones import catalogue
from tilth_engine.backbones.inputs import Inputs
from tilth_engine.backbones.timm_models import TimmBackbone
from tilth_engine.errors import TilthError
from tilth_engine.model.methods import adapt
from tilth_engine.model.methods.method import Method

FUSED = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")
PAPER = ("q", "v", "fc1", "fc2")
ARCHITECTURES = catalogue.ARCHITECTURES
CARDS = {i: card for i, card in catalogue.cards().items() if card.architecture in ARCHITECTURES}
# One of each kind.
TRANSFORMERS = (
    "embedded", "prithvi-1-100m", "clay-1", "terramind-tiny", "terramind-base", "dofa-base",
    "galileo-nano", "presto", "ssl4eo-s12-vit-s", "dinov3-sat-large",
)  # fmt: skip


def on_meta(backbone_id):
    card = CARDS[backbone_id]
    with torch.device("meta"):
        backbone = ARCHITECTURES[card.architecture](card, Inputs.all_of(card))
    return backbone.requires_grad_(False)


def of_timm(name, targets=FUSED, **arguments):
    """A small network of timm as a backbone for three bands."""
    card = dataclasses.replace(
        CARDS["ssl4eo-s12-vit-s"],
        id=f"timm:{name}",
        lora_targets=tuple(targets),
        options={"timm": name, "arguments": arguments},
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        backbone = TimmBackbone(card, Inputs((665.0, 560.0, 490.0), (3, 2, 1)))
    return backbone.requires_grad_(False).eval()


def image(side, count=2):
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("backbone_id", "millions"),
    [
        ("prithvi-2-tiny-tl", 0.52),
        ("prithvi-2-100m-tl", 2.06),
        ("prithvi-2-300m", 5.51),
        ("prithvi-2-600m", 9.18),
    ],
)
def test_lora_has_the_papers_number_of_parameters(backbone_id, millions):
    """Rank 16 (arXiv 2504.17397). Fused, q, k and v share an A: r (d + 3d), as two of r (d + d)."""
    split = adapt.apply(on_meta(backbone_id), Method(targets=PAPER))
    fused = adapt.apply(on_meta(backbone_id), Method(targets=("qkv", "fc1", "fc2")))

    assert round(adapt.trainable_parameters(split) / 1e6, 2) == millions
    assert adapt.trainable_parameters(fused) == adapt.trainable_parameters(split)


@pytest.mark.parametrize("backbone_id", TRANSFORMERS)
def test_the_papers_targets_are_found_in_every_transformer(backbone_id):
    backbone = on_meta(backbone_id)

    model = adapt.apply(backbone, Method(targets=PAPER))

    names = adapt.trainable_names(model)
    for part in ("attn.qkv.q", "attn.qkv.v", "mlp.fc1", "mlp.fc2"):
        found = [n for n in names if f".{part}" in n and ".lora_A." in n]
        assert len(found) >= backbone.depth, part
    assert not any(".qkv.k." in name for name in names)


def moves(backbone, side, targets=()):
    """The adapted layers that learn nothing: those that the network doesn't really call."""
    method = adapt.resolved(Method(rank=2, alpha=2, targets=targets), backbone)
    model = adapt.apply(backbone, method)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    model(image(side), [backbone.depth])[0].square().sum().backward()
    learning = [(n, p.grad) for n, p in model.named_parameters() if p.requires_grad]
    return [n for n, grad in learning if grad is None or not grad.any()]


@pytest.mark.parametrize("targets", [(), PAPER])
@pytest.mark.parametrize(
    ("name", "side"),
    [
        ("vit_tiny_patch16_224", 32),
        ("vit_small_patch16_dinov3", 32),
        # Timm's attention multiplies with the weight of qkv itself here, unless it is told not to.
        ("vit_small_patch16_dinov3_qkvb", 32),
        ("eva02_tiny_patch14_224", 28),
    ],
)
def test_no_adapted_layer_is_passed_by(name, side, targets):
    assert not moves(of_timm(name, depth=2, dynamic_img_size=True), side, targets)


@pytest.mark.parametrize("name", ["lora", "loha", "ia3"])
def test_convolutions_are_adapted_come_back_and_merge(name):
    method = Method(name, rank=2, alpha=2)
    first = of_timm("resnet18", ("conv1", "conv2"))
    method = adapt.resolved(method, first)
    model = adapt.apply(first, method).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        without = of_timm("resnet18")(image(64), [2, 4])
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
        expected = model(image(64), [2, 4])

        again = adapt.apply(of_timm("resnet18", ("conv1", "conv2")), method, seed=7).eval()
        adapt.restore(again, method, adapt.stored(model, method))
        restored = again(image(64), [2, 4])
        merged = adapt.merged(again, method)(image(64), [2, 4])

    for ours, back, plain, changed in zip(expected, restored, without, merged, strict=True):
        assert torch.equal(ours, back)
        torch.testing.assert_close(ours, changed, atol=1e-3, rtol=1e-3)
        assert (ours - plain).abs().max() > 1e-3


@pytest.mark.parametrize("name", ["vpt", "vit-adapter", "pissa", "vera", "oft", "gralora"])
def test_what_a_cnn_cannot_have_is_told(name):
    with pytest.raises(TilthError, match=f"method {name}: .*resnet18.*choose"):
        adapt.apply(of_timm("resnet18", ("conv1", "conv2")), Method(name))


@pytest.mark.parametrize("name", ["vpt", "vit-adapter"])
def test_positions_inside_the_attention_are_told(name):
    with pytest.raises(TilthError, match=f"method {name}: .*dinov3.*choose lora"):
        adapt.apply(of_timm("vit_small_patch16_dinov3", depth=2), Method(name))


def test_prompts_and_branch_enter_a_network_of_timm():
    plain = of_timm("vit_tiny_patch16_224", depth=4, dynamic_img_size=True)
    with torch.no_grad():
        expected = plain(image(64), [2, 4])
    prompted = adapt.apply(
        of_timm("vit_tiny_patch16_224", depth=4, dynamic_img_size=True), Method("vpt", prompts=3)
    )
    branched = adapt.apply(
        of_timm("vit_tiny_patch16_224", depth=4, dynamic_img_size=True), Method("vit-adapter")
    )

    found = prompted.eval()(image(64), [2, 4])
    sum(x.square().mean() for x in found).backward()

    for ours, theirs in zip(found, expected, strict=True):
        assert ours.shape == theirs.shape and (ours - theirs).abs().max() > 1e-4
    names = adapt.trainable_names(prompted)
    assert len(names) == 4 and all(n.endswith(".prompts") for n in names)
    assert all(p.grad is not None for p in prompted.parameters() if p.requires_grad)
    assert [tuple(x.shape) for x in branched(image(64), [1, 4])] == [
        (2, 192, 16, 16),
        (2, 192, 2, 2),
    ]


def series_of(backbone_id, dates):
    """A backbone for so many dates of its first bands."""
    card = CARDS[backbone_id]
    chosen = [i for i, band in enumerate(card.bands) if band.name in ("B02", "B03", "B04", "Red")]
    chosen = (chosen or list(range(3)))[:3]
    inputs = Inputs(
        tuple(card.bands[i].wavelength_nm for i in chosen) * dates,
        tuple(chosen) * dates,
        tuple(date for date in range(dates) for _ in chosen),
    )
    return ARCHITECTURES[card.architecture](card, inputs).requires_grad_(False)


def test_prompts_go_with_several_dates_and_the_branch_does_not():
    model = adapt.apply(series_of("prithvi-2-tiny-tl", 2), Method("vpt", prompts=3))

    assert {tuple(v.shape) for v in adapt.stored(model, Method("vpt")).values()} == {(3, 192)}
    assert model(torch.randn(1, 6, 32, 32), [12])[0].shape == (1, 384, 2, 2)
    with pytest.raises(TilthError, match="one date"):
        adapt.apply(series_of("prithvi-2-tiny-tl", 2), Method("vit-adapter"))
    with pytest.raises(TilthError, match=r"galileo-nano.*not one for each patch"):
        adapt.apply(series_of("galileo-nano", 1), Method("vit-adapter"))


def test_a_network_without_biases_has_nothing_for_bitfit():
    with pytest.raises(TilthError, match=r"bitfit: .*terramind-base.* no biases"):
        adapt.apply(on_meta("terramind-base"), Method("bitfit"))
