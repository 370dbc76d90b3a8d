"""Training in little memory: the same training, whatever the memory makes of it."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
import torch
from tilth_engine.memory import Portion
from tilth_engine.model.decoders.factory import DecoderSettings, make
from tilth_engine.model.frozen import FrozenLinear
from tilth_engine.model.methods import adapt
from tilth_engine.model.methods.method import Method
from tilth_engine.model.segmenter import Segmenter
from tilth_engine.training import memory
from tilth_engine.training.aim import Aim, cover
from tilth_engine.training.loop import Loop, Settings
from tilth_engine.training.losses import weighted_loss
from tilth_engine.training.samples import Samples
from torch import nn

from ..model.methods.tiny import tiny

CPU = torch.device("cpu")
LORA = Method("lora", 4, 4)
UNITS = np.array([1, 2], np.int32)


@pytest.fixture(autouse=True)
def float32(monkeypatch):
    """Compute alike on every machine: where bfloat16 is fast, it rounds parts differently."""
    monkeypatch.setattr(
        "tilth_engine.training.loop.mixed_precision", lambda device: contextlib.nullcontext()
    )


def segmenter(method=LORA, decoder="linear", precision="float32", checkpointing=False, seed=0):
    """A tiny vision transformer, adapted and made ready, and a decoder that sees it alone."""
    backbone = adapt.apply(tiny(seed), method, seed)
    memory.prepare(backbone, precision, checkpointing, CPU)
    torch.manual_seed(seed)
    settings = DecoderSettings(decoder, 8, image_branch=decoder == "slim")
    count = {"slim": 2, "linear": 1}[decoder]
    return Segmenter(backbone, make(settings, 3, [32] * count, [4] * count, 2), [2, 4][-count:])


def world():
    """16 x 16 pixels: unit 1 of class 1 in the west, unit 2 of class 2 in the east, with gaps."""
    found, rng = Samples(16, 3), np.random.default_rng(9)
    sides = np.repeat([[1] * 8 + [2] * 8], 16, 0)
    sides[3:5] = 0

    def image(image, row, column, size):
        values = rng.normal(0, 1, (3, size, size)).astype(np.float32)
        values[:, :, :8] += 1
        return values, np.ones((size, size), bool)

    def labels(image, row, column, size):
        inside = row == column == 0
        return (sides * inside).astype(np.uint8), (sides * inside).astype(np.int32)

    found.fill([(0, 0, 0)], image, labels, lambda done, of: None)
    return found


def loop(network, told=lambda text: None, batch=6, epochs=2, held_out=True):
    samples = world()
    chips = cover(samples, UNITS, 16, 0) if held_out else []
    settings = Settings(epochs=epochs, steps=2, batch=batch, chip=16)
    return Loop(network, Aim(samples, UNITS, 16), chips, 2, CPU, settings, None, (), told)


def run(at):
    at.run(
        lambda confusion: float(np.trace(confusion) / confusion.sum()),
        lambda share: None,
        lambda progress: None,
    )
    return at


class Small(nn.Module):
    """A decoder on a device whose memory holds so many chips."""

    def __init__(self, decoder, most):
        super().__init__()
        self.decoder, self.most = decoder, most

    def forward(self, image, maps):
        if len(image) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return self.decoder(image, maps)


def batch_of(network, at, seed=0):
    rng = np.random.default_rng(seed)
    chips = [at.aim.draw(rng) for _ in range(6)]
    image = torch.from_numpy(np.stack([chip.image for chip in chips]))
    target = torch.from_numpy(np.stack([chip.classes for chip in chips])).long() - 1
    return image, target


def gradients(network, size):
    at = loop(network)
    image, target = batch_of(network, at)
    value = at._gradients(image, target, size)
    found = {n: p.grad for n, p in network.named_parameters() if p.grad is not None}
    return value, {name: gradient.clone() for name, gradient in found.items()}


def close(one, two, tolerance=1e-5):
    return one.keys() == two.keys() and all(
        torch.allclose(one[name], two[name], rtol=1e-3, atol=tolerance) for name in one
    )


# Batches in parts


@pytest.mark.parametrize("decoder, size", [("linear", 1), ("linear", 2), ("slim", 4)])
def test_a_batch_in_parts_is_the_same_batch(decoder, size):
    whole_loss, whole = gradients(segmenter(decoder=decoder).eval(), 6)
    loss, parts = gradients(segmenter(decoder=decoder).eval(), size)

    assert loss == pytest.approx(whole_loss, rel=1e-5)
    assert close(whole, parts)


def test_the_loss_of_a_batch_is_the_mean_over_its_labelled_pixels():
    network = segmenter().eval()
    at = loop(network)
    image, target = batch_of(network, at)
    losses = nn.functional.cross_entropy(
        network(image), target, ignore_index=-1, label_smoothing=0.1, reduction="none"
    )
    weights = at.weights[target.clamp(min=0)] * (target >= 0)
    expected = (losses * weights).sum() / weights.sum()

    assert at._gradients(image, target, 4) == pytest.approx(float(expected.detach()), rel=1e-5)


def test_smoothing_does_not_teach_a_rare_class_to_be_a_common_one():
    weights = torch.tensor([2.0, 0.02])
    logits = torch.zeros(1, 2, 1, 1, requires_grad=True)
    labels = torch.ones(1, 1, 1, dtype=torch.long)  # the rare one, surely
    for _ in range(500):
        (gradient,) = torch.autograd.grad(weighted_loss(logits, labels, weights), logits)
        logits = (logits - 50 * gradient).detach().requires_grad_()
    assert logits.softmax(1)[0, 1].item() == pytest.approx(0.95, abs=0.01)


def test_surroundings_learn_where_nobody_labelled_what_the_distilled_branch_says():
    network = segmenter(decoder="slim").eval()
    at = loop(network)
    image, target = batch_of(network, at)
    unknown = torch.full_like(target, -1)
    with torch.no_grad():
        opinion = network.decoder.distilled(image).softmax(1)
        logits = network.surroundings(image).log_softmax(1)

    found = at._gradients(image, unknown, 6)

    assert found == pytest.approx(float(-(opinion * logits).sum(1).mean()), rel=1e-4)
    assert network.decoder.head.weight.grad.abs().sum() > 0
    assert all(p.grad is None for p in network.decoder.distilled.parameters())


def test_memory_that_runs_out_halves_the_chips_not_the_batch():
    told = []
    network = segmenter()
    network.decoder = Small(network.decoder, 2)
    at = run(loop(network, told.append))
    other = segmenter()
    other.decoder = Small(other.decoder, 6)
    plain = run(loop(other))

    assert at.portion.size == 1, "6, 3 and then 1"
    assert [text.split(" of the 6 chips")[0].split()[-1] for text in told] == ["3", "1"]
    assert "same batch" in told[0]
    names = dict(plain.segmenter.named_parameters())
    for name, value in network.named_parameters():
        if value.requires_grad:
            assert torch.allclose(value, names[name], rtol=0.05, atol=1e-3), name


def test_held_out_chips_are_scored_in_parts_too():
    network = segmenter()
    at = loop(network)
    at.held_out = at.held_out[:1]
    whole = at.validate()
    network.decoder = Small(network.decoder, 1)
    at.portion = Portion(4)
    at.held_out = at.held_out * 3
    confusion, loss = at.validate()

    assert at.portion.size == 1
    assert bool((confusion == 3 * whole[0]).all())
    assert loss == pytest.approx(whole[1], rel=1e-4)


def test_a_single_chip_that_does_not_fit_ends_the_run():
    network = segmenter()
    network.decoder = Small(network.decoder, 0)

    with pytest.raises(torch.OutOfMemoryError):
        run(loop(network))


@pytest.mark.parametrize(
    "batch, base, each, free, expected",
    [
        (16, 100, 10, 1000, 16),
        (16, 0, 100, 1000, 8),
        (16, 100, 300, 1000, 2),
        (16, 900, 1, 10, 1),
    ],
)
def test_the_chips_that_fit_follow_from_two_small_steps(batch, base, each, free, expected):
    assert memory.fitting(batch, lambda chips: base + each * chips, free) == expected


def test_two_chips_that_do_not_fit_leave_one():
    def peak(chips):
        if chips > 1:
            raise torch.OutOfMemoryError("out of memory")
        return 10

    assert memory.fitting(16, peak, 1000) == 1


def test_a_cpu_takes_the_batch_untried():
    at = loop(segmenter(), told=pytest.fail)
    at.fit_batch()
    assert at.portion.size == 6


# What is kept for the backward pass


def kept_bytes(network, image):
    """Bytes that a forward pass of the backbone keeps for the backward one, weights left out."""
    weights = {p.untyped_storage().data_ptr() for p in network.parameters()}
    kept = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        maps = network.features(image)
    del maps
    return sum(kept.values())


def test_nothing_is_kept_below_the_first_block_that_learns():
    image = torch.randn(2, 3, 32, 32)
    frozen, whole, top = (segmenter(Method(name)).train() for name in ("frozen", "lora", "lora"))
    for name, parameter in top.named_parameters():
        if any(f"blocks.{number}." in name for number in (0, 1, 2)):
            parameter.requires_grad_(False)

    assert kept_bytes(frozen, image) == 0
    assert 0 < kept_bytes(top, image) < kept_bytes(whole, image) / 3


def test_checkpointing_keeps_the_blocks_inputs_alone_and_learns_the_same():
    image = torch.randn(2, 3, 32, 32)
    plain, twice = segmenter(), segmenter(checkpointing=True)

    assert 0 < kept_bytes(twice.train(), image) < kept_bytes(plain.train(), image) / 4
    for size in (6, 2):
        assert close(gradients(plain.eval(), size)[1], gradients(twice.eval(), size)[1])
    with torch.no_grad():
        assert torch.equal(plain(image), twice(image))


def test_checkpointing_draws_the_same_dropout_twice():
    network = segmenter(Method("lora", 4, 4, dropout=0.5), checkpointing=True).train()
    before = {n: p.detach().clone() for n, p in network.named_parameters() if "lora_B" in n}
    for name, parameter in network.named_parameters():
        if name in before:
            nn.init.normal_(parameter, std=0.1)
    image = torch.randn(2, 3, 16, 16)

    def loss():
        torch.manual_seed(5)
        return network(image).square().mean()

    loss().backward()
    name, parameter = next((n, p) for n, p in network.named_parameters() if "lora_B" in n)
    with torch.no_grad():
        step = 1e-2 * parameter.grad / parameter.grad.norm()
        parameter += step
        up = loss()
        parameter -= 2 * step
        down = loss()
    slope = float((up - down) / 2e-2)
    assert slope == pytest.approx(float(parameter.grad.norm()), rel=0.02)


# Frozen weights in few bits


@pytest.mark.parametrize(
    "name, precision",
    [("lora", kind) for kind in ("bfloat16", "int8", "nf4")]
    + [(name, "nf4") for name in ("dora", "ia3", "vpt", "bitfit", "frozen", "vit-adapter")],
)
def test_each_method_learns_around_small_weights(name, precision):
    network = segmenter(Method(name, 4, 4, prompts=2), precision=precision, checkpointing=True)
    small = [m for m in network.backbone.modules() if isinstance(m, FrozenLinear)]
    names = {n for n, p in network.named_parameters() if p.requires_grad}
    expected = {n for n, p in segmenter(Method(name, 4, 4, prompts=2)).named_parameters()
                if p.requires_grad}  # fmt: skip
    before = {n: p.detach().clone() for n, p in network.named_parameters()}
    at = loop(network, held_out=False, epochs=1, batch=2)

    run(at)

    assert len(small) == 4 * 4
    assert names == expected
    changed = {n for n, p in network.named_parameters() if not torch.equal(p, before[n])}
    assert changed <= names
    assert len(changed) > len(names) / 2
    assert all(p.dtype == torch.float32 for p in network.parameters() if p.requires_grad)


def test_full_fine_tuning_has_no_frozen_weights():
    backbone = adapt.apply(tiny(), Method("full"), 0)
    assert memory.prepare(backbone, "int8", False, CPU) == 0
    assert memory.prepare(None, "int8", True, CPU) == 0


def test_automatic_precision_is_what_the_device_computes_in(monkeypatch):
    for fast, expected in ((True, "bfloat16"), (False, "float32")):
        monkeypatch.setattr(memory, "fast_bfloat16", lambda device, fast=fast: fast)
        assert memory.precision_of("auto", CPU) == expected
        assert memory.precision_of("nf4", CPU) == "nf4"
