"""What training changes, and what it must not."""

from __future__ import annotations

import pytest
import torch
from tilth_engine.backbones.inputs import Inputs
from tilth_engine.errors import TilthError
from tilth_engine.model.decoders.factory import DecoderSettings
from tilth_engine.model.decoders.slim import SlimDecoder
from tilth_engine.model.methods.adapt import stored, trainable_names
from tilth_engine.model.methods.method import Method
from tilth_engine.model.segmenter import build
from tilth_engine.training.losses import class_weights
from torch.nn import functional

LENGTHS = (485.0, 560.0, 660.0, 840.0)


def segmenter(name, decoder="slim", lengths=LENGTHS, classes=3, seed=0):
    method = Method(name, rank=4, alpha=4)
    settings = DecoderSettings(decoder, 8)
    return build("embedded", method, settings, Inputs(tuple(lengths)), classes, seed=seed)


def changed_by_a_step(network):
    """The names of the parameters that two optimizer steps change."""
    before = {name: value.detach().clone() for name, value in network.named_parameters()}
    wanted = [value for value in network.parameters() if value.requires_grad]
    optimizer = torch.optim.AdamW(wanted, lr=1e-2)
    generator = torch.Generator().manual_seed(0)
    for _ in range(2):
        image = torch.randn(2, 4, 32, 32, generator=generator)
        target = torch.randint(0, 3, (2, 32, 32), generator=generator)
        functional.cross_entropy(network.train()(image), target).backward()
        optimizer.step()
    return {n for n, value in network.named_parameters() if not torch.equal(value, before[n])}


@pytest.mark.parametrize("decoder", ["slim", "linear"])
@pytest.mark.parametrize("method", ["lora", "frozen", "full"])
def test_exactly_what_the_method_says_learns(method, decoder):
    network, _ = segmenter(method, decoder)
    names = [name for name, _ in network.named_parameters()]
    expected = {
        name
        for name in names
        if name.startswith("decoder.") or method == "full" or (method == "lora" and "lora_" in name)
    }
    # A band without a wavelength is not among these.
    unused = {name for name in names if name.endswith("code.unknown")}

    changed = changed_by_a_step(network)

    assert set(trainable_names(network)) == expected
    assert expected - unused <= changed <= expected
    assert any("lora_A" in name for name in changed) == (method == "lora")
    assert any("lora_B" in name for name in changed) == (method == "lora")


def test_lora_sits_on_every_block_and_layer_that_the_card_names():
    network, method = segmenter("lora")

    targets = network.backbone.base_model.model.card.lora_targets
    assert method.targets == tuple(targets)
    found = [name for name in trainable_names(network) if "lora_A" in name]
    assert len(found) == len(targets) * network.backbone.base_model.model.depth


def test_a_fresh_adapter_changes_nothing_of_the_backbone():
    image = torch.randn(1, 4, 32, 32)
    adapted, plain = segmenter("lora")[0].backbone, segmenter("frozen")[0].backbone

    with torch.no_grad():
        assert torch.equal(adapted(image, [8])[0], plain(image, [8])[0])


def test_stored_tensors_own_their_memory():
    for name in ("lora", "full", "frozen"):
        network, method = segmenter(name)
        for tensor in stored(network.backbone, method).values():
            assert tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()


def test_the_seed_decides_the_start():
    first, again, other = (segmenter("lora", seed=seed)[0].state_dict() for seed in (1, 1, 2))

    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize("bands", [1, 3, 4, 13, 60])
@pytest.mark.parametrize("decoder", ["slim", "linear"])
def test_any_number_of_bands_classes_and_sizes(bands, decoder):
    lengths = [None] + [400.0 + 30 * band for band in range(bands - 1)]
    for classes, size in ((2, 32), (40, 64)):
        network, _ = segmenter("lora", decoder, lengths, classes)
        logits = network.eval()(torch.randn(1, bands, size, size))
        assert logits.shape == (1, classes, size, size)
        assert bool(torch.isfinite(logits).all())


def test_an_unknown_backbone_or_target_is_told():
    with pytest.raises(TilthError, match="imaginary"):
        build("imaginary", Method(), DecoderSettings(), Inputs(LENGTHS), 2)
    with pytest.raises(TilthError, match="targets"):
        build("embedded", Method(targets=("norm",)), DecoderSettings(), Inputs(LENGTHS), 2)


def test_loss_weights_bring_back_the_shares_that_were_drawn():
    drawn, seen = {1: 900, 2: 100}, {1: 50, 2: 50}

    kept = class_weights(drawn, seen, 3, balance=0.0)
    equal = class_weights(drawn, seen, 3, balance=1.0)

    assert kept[0] / kept[1] == pytest.approx(9)
    assert equal[0] == pytest.approx(equal[1])
    assert kept[2] == 0, "a class that is never seen has no weight"
    assert 50 * kept[0] + 50 * kept[1] == pytest.approx(100), "the mean over seen pixels is 1"


def test_the_surroundings_count_half_of_the_pixel():
    decoder = SlimDecoder(bands=3, dims=[], classes=4).eval()
    image = torch.randn(1, 3, 16, 16)

    logits = decoder(image, [])

    labels, classic = decoder.spectral(image), decoder.distilled(image)
    expected = 0.2 * labels.log_softmax(1) + 0.8 * classic.log_softmax(1)
    expected = expected + decoder.surroundings(image, []) / 2
    torch.testing.assert_close(logits, expected)


def test_the_spectral_branch_sees_single_pixels():
    decoder = SlimDecoder(bands=3, dims=[], classes=4).eval()
    image = torch.randn(1, 3, 16, 16)
    changed = image.clone()
    changed[..., 5, 6] += 3

    moved = (decoder.spectral(changed) != decoder.spectral(image)).any(1)[0]

    assert moved.sum() == 1 and moved[5, 6]
