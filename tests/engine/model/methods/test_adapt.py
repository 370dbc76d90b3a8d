"""Every method on the embedded backbone: what learns, what is stored, and that it comes back."""

from __future__ import annotations

import json

import pytest
import torch
from peft import PeftModel
from safetensors.torch import save_file
from tilth_engine import adapter_file
from tilth_engine.adapter_file import ADAPTER, CONFIG, Adapter
from tilth_engine.backbones import catalogue
from tilth_engine.backbones.inputs import Inputs
from tilth_engine.errors import TilthError
from tilth_engine.jobs import TrainJob
from tilth_engine.method_list import METHODS
from tilth_engine.model import segmenter
from tilth_engine.model.decoders.factory import DecoderSettings, make
from tilth_engine.model.methods import adapt, kin
from tilth_engine.model.methods.method import Method
from torch.nn import functional

from ...worlds import card
from .tiny import tiny

INPUTS = Inputs((485.0, 560.0, 660.0, 840.0))
LINEAR = DecoderSettings("linear")
SMALL = {"prompts": 5, "rank": 8}
# What a parameter is called that the method may change, by a part of its name.
MARKS = {
    "lora": "lora_",
    "dora": "lora_",
    "rslora": "lora_",
    "pissa": "lora_",
    "olora": "lora_",
    "loha": "hada_",
    "lokr": "lokr_",
    "hira": "hira_",
    "delora": "delora_",
    "gralora": "gralora_",
    "miss": "miss_",
    "vera": "vera_lambda_",
    "ia3": "ia3_l",
    "oft": "oft_R",
    "bitfit": "bias",
    "vpt": ".prompts",
}


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def method_of(name, **changes):
    return Method.of(TrainJob(images=["a"], out="b", method=name, **{**SMALL, **changes}))


def fresh(method, seed=0, classes=2):
    return segmenter.build("embedded", method, LINEAR, INPUTS, classes, seed=seed)


def images(count=2, seed=0):
    return torch.randn(count, 4, 16, 16, generator=torch.Generator().manual_seed(seed))


def steps(network, count=3):
    wanted = [value for value in network.parameters() if value.requires_grad]
    optimizer = torch.optim.Adam(wanted, lr=1e-2)
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    for number in range(count):
        target = torch.randint(0, 2, (2, 16, 16), generator=generator)
        functional.cross_entropy(network.train()(images(seed=number)), target).backward()
        optimizer.step()
    return network.eval()


def may_change(name, method):
    if name.startswith("decoder.") or method == "full":
        return True
    if method == "vit-adapter":
        return not name.startswith("backbone.backbone.")
    mark = MARKS.get(method)
    return mark is not None and (name.endswith(mark) if method == "bitfit" else mark in name)


@pytest.fixture(scope="module")
def trained():
    """Each method's segmenter after three steps, and the names of what they changed."""
    kept = {}

    def get(name):
        if name not in kept:
            network, method = fresh(method_of(name))
            before = {n: value.detach().clone() for n, value in network.named_parameters()}
            steps(network)
            after = dict(network.named_parameters())
            changed = {n for n in before if not torch.equal(before[n], after[n])}
            # As training does before it scores, since the file holds half precision.
            with torch.no_grad():
                for parameter in network.parameters():
                    if parameter.requires_grad:
                        parameter.copy_(adapter_file.in_half(parameter))
            kept[name] = network, method, changed
        return kept[name]

    return get


@pytest.mark.parametrize("name", METHODS)
def test_exactly_what_the_method_says_learns(trained, name):
    network, _, changed = trained(name)
    expected = {n for n, _ in network.named_parameters() if may_change(n, name)}
    # A band without a wavelength is not among these.
    unused = {n for n in expected if n.endswith("code.unknown")}

    assert set(adapt.trainable_names(network)) == expected
    assert changed == expected - unused
    assert any(n.startswith("backbone.") for n in changed) == (name not in ("frozen", "probe"))


@pytest.mark.parametrize("name", METHODS)
def test_the_file_brings_the_same_logits(trained, name, tmp_path):
    """As the map is made of it: on a new machine, with the changes merged."""
    network, method, _ = trained(name)
    image = images(3, seed=9)
    path = str(tmp_path / "a.tilth")
    values = card(method=method.to_dict(), decoder=LINEAR.to_dict())
    tensors = segmenter.stored(network, method)
    adapter = Adapter(values, tensors, dict(network.decoder.state_dict()))
    adapter_file.write(path, adapter, adapt.peft_config(method))
    with torch.no_grad():
        expected = network(image)

    kept = adapter_file.read(path)
    again, plain = fresh(Method.from_dict(kept.card["method"]).as_stored(), seed=5)
    segmenter.restore(again, plain, kept.adapter, kept.decoder)
    with torch.no_grad():
        restored = again.eval()(image)
    again.backbone = adapt.merged(again.backbone, plain)
    with torch.no_grad():
        merged = again.eval()(image)

    torch.testing.assert_close(restored, expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(merged, expected, atol=1e-4, rtol=1e-4)
    if name in kin.KIN:
        plain_names = {n for n, _ in catalogue.build("embedded", INPUTS).named_parameters()}
        assert {n for n, _ in again.backbone.named_parameters()} == plain_names


def moved(name, **options):
    """A tiny backbone adapted by a method, with other values than those that change nothing."""
    method = adapt.resolved(method_of(name, **options), tiny())
    network = adapt.apply(tiny(), method).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.requires_grad:
                parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return network, method


def maps(network):
    image = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return network.eval()(image, [4])[0]


PLAIN = [name for name in METHODS if adapt.keeps_plain(Method(name))]


def test_methods_that_add_to_the_weights_keep_the_plain_backbone():
    changed = {"pissa", "olora", "bitfit", "vpt", "vit-adapter", "full", "probe"}
    assert set(PLAIN) == set(METHODS) - changed


@pytest.mark.parametrize("name", PLAIN)
def test_the_plain_backbone_can_still_be_asked(name):
    network, method = moved(name)
    expected, adapted = maps(tiny()), maps(network)
    learning = set(adapt.trainable_names(network))
    with adapt.unadapted(network):
        found = maps(network)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(maps(network), adapted)
    assert set(adapt.trainable_names(network)) == learning
    torch.testing.assert_close(maps(adapt.taken_off(network, method)), expected)


def test_asking_the_plain_backbone_within_a_step_changes_no_gradient():
    def gradients(ask):
        network, _ = moved("lora")
        image = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
        loss = network(image, [4])[0].square().mean()
        if ask:
            with torch.no_grad(), adapt.unadapted(network):
                network(image, [4])
        loss.backward()
        return {n: p.grad for n, p in network.named_parameters() if p.grad is not None}

    without, asked = gradients(False), gradients(True)
    assert without.keys() == asked.keys() and len(asked) > 0
    assert all(torch.equal(without[name], asked[name]) for name in asked)


@pytest.mark.parametrize("trust", [0.0, 0.5])
def test_a_network_that_looks_at_plain_tokens_maps_as_it_was_trained(trust):
    settings = DecoderSettings("slim", tokens=True)
    network, method = segmenter.build("embedded", method_of("lora"), settings, INPUTS, 2)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for value in network.parameters():
            value += 0.05 * torch.randn(value.shape, generator=generator)
        opinion = network.decoder.distilled.tokens
        opinion.weight.normal_(generator=generator)
        opinion.low.fill_(-1), opinion.high.fill_(1)
        network.decoder.trust.fill_(trust)
        expected = network.eval()(images())
        network.settle(method)
        torch.testing.assert_close(network.eval()(images()), expected, atol=1e-4, rtol=1e-4)
        opinion.weight.zero_()
        assert not torch.allclose(network(images()), expected, atol=1e-2)
    assert isinstance(network.backbone, PeftModel) == (trust > 0)


def test_tokens_are_not_looked_at_where_they_are_coarse_or_an_older_card_says_nothing():
    for name in ("slim", "unet"):
        for stride, expected in ((8.0, True), (16.0, False)):
            made = make(DecoderSettings(name, tokens=True), 3, (8,) * 4, (stride,) * 4, 2)
            assert (made.distilled.tokens is not None) == expected
    card_of_before = DecoderSettings().to_dict()
    del card_of_before["tokens"]
    assert not DecoderSettings.from_dict(card_of_before).tokens


@pytest.mark.parametrize("name", METHODS)
def test_training_can_go_on_from_it(name):
    """The method is applied anew, from another seed, and gets the stored tensors."""
    network, method = moved(name)
    tensors = adapt.stored(network, method)
    same = Method.from_dict(method.to_dict())
    again = adapt.apply(tiny(), same, seed=5)

    adapt.restore(again, same, tensors)

    torch.testing.assert_close(maps(again), maps(network), atol=1e-4, rtol=1e-4)
    assert same == method
    assert set(adapt.trainable_names(again)) == set(adapt.trainable_names(network))
    for key, value in adapt.stored(again, same).items():
        torch.testing.assert_close(value, tensors[key])


@pytest.mark.parametrize("name", kin.KIN)
def test_peft_alone_puts_it_onto_the_plain_backbone(name, tmp_path):
    network, method = moved(name)
    save_file(adapt.stored(network, method), tmp_path / ADAPTER)
    (tmp_path / CONFIG).write_text(json.dumps(adapt.peft_config(method), default=str))

    by_peft = PeftModel.from_pretrained(tiny(), str(tmp_path))

    torch.testing.assert_close(maps(by_peft), maps(network), atol=1e-4, rtol=1e-4)
    assert (maps(by_peft) - maps(tiny())).abs().max() > 1e-3


@pytest.mark.parametrize("name", METHODS)
def test_stored_tensors_own_their_memory_and_others_are_refused(name):
    network, method = moved(name, targets=["q", "fc2"] if name in kin.KIN else [])
    tensors = adapt.stored(network, method)
    for tensor in tensors.values():
        assert tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()

    odd = [{**tensors, "extra": torch.zeros(1)}]
    if tensors:
        key = next(iter(tensors))
        odd.append({**tensors, key: tensors[key][..., None]})
        odd.append({other: value for other, value in tensors.items() if other != key})
    for other in odd:
        with pytest.raises(TilthError, match="adapter weights"):
            adapt.restore(network, method, other)


@pytest.mark.parametrize("name", kin.KIN)
@pytest.mark.parametrize("rank", [7, 256])
@pytest.mark.filterwarnings("ignore:Invalid .oft_block_size")
def test_any_rank_works_or_is_told(name, rank):
    method = adapt.resolved(Method(name, rank, rank), tiny(depth=1))
    told = {"gralora": rank < 256, "pissa": rank > 32, "olora": rank > 32, "miss": rank > 32}
    if told.get(name):
        with pytest.raises(TilthError, match=f"method {name}: .*rank"):
            adapt.apply(tiny(depth=1), method)
        return

    network = adapt.apply(tiny(depth=1), method)

    image = torch.zeros(1, 3, 16, 16)
    with torch.no_grad():
        found, expected = network(image, [1])[0], tiny(depth=1)(image, [1])[0]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_the_start_of_pissa_is_the_weights_main_part_and_changes_nothing():
    method = adapt.resolved(Method("pissa", rank=4, alpha=4), tiny())
    network = adapt.apply(tiny(), method)

    torch.testing.assert_close(maps(network), maps(tiny()), atol=1e-5, rtol=1e-5)
    layer = network.base_model.model.blocks[0].mlp.fc1
    with torch.no_grad():
        whole = tiny().blocks[0].mlp.fc1.weight
        part = layer.lora_B["default"].weight @ layer.lora_A["default"].weight
    values = torch.linalg.svdvals(whole)
    torch.testing.assert_close(torch.linalg.svdvals(part)[:4], values[:4], atol=1e-2, rtol=1e-2)
    torch.testing.assert_close(whole - part, layer.base_layer.weight.detach(), atol=1e-6, rtol=1e-5)
    change = adapt.stored(network, method)
    for key in (key for key in change if key.endswith("lora_A.weight")):
        product = change[key.replace("lora_A", "lora_B")] @ change[key]
        assert product.abs().max() < 1e-6


def test_full_fine_tuning_stores_no_counts():
    """An adapter's file holds floating-point numbers alone; batch norm also counts batches."""
    network = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 1), torch.nn.BatchNorm2d(3))
    found = adapt.stored(network, Method("full"))
    assert {"1.running_mean", "1.running_var", "1.weight"} <= set(found)
    assert all(tensor.is_floating_point() for tensor in found.values())
    adapt.restore(network, Method("full"), found)
