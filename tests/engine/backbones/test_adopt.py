"""What fits a network and what doesn't, said so that a person knows what went wrong."""

from __future__ import annotations

import pytest
import torch
from tilth_engine.backbones import adopt, catalogue, store
from tilth_engine.errors import TilthError

from .. import tiny_models

SOURCE = {"kind": "file", "sha256": "0" * 64, "verified": ""}


@pytest.fixture
def cards(monkeypatch, tmp_path):
    """Two tiny models and a home of their own."""
    monkeypatch.setenv("TILTH_HOME", str(tmp_path / "home"))
    found = [tiny_models.card(), tiny_models.card(id="wide", width=48)]
    tiny_models.install(monkeypatch, tmp_path / "cards", *found)
    return found


def adopted(card, values, folder):
    file = folder / "file.pth"
    file.write_bytes(tiny_models.saved(values))
    return adopt.adopt(card, file, SOURCE)


def refused(card, values, folder, pattern):
    with pytest.raises(TilthError, match=pattern) as caught:
        adopted(card, values, folder)
    assert "\n" not in str(caught.value)
    assert not store.present(card)


def test_another_models_file_is_recognised(cards, tmp_path):
    tiny, wide = cards
    refused(tiny, tiny_models.tensors(wide), tmp_path, "not the weights of 'tiny'.*like 'wide'")


def test_a_missing_tensor_and_a_wrong_shape_say_what_was_expected(cards, tmp_path):
    tiny, _ = cards
    values = tiny_models.tensors(tiny)
    name = "blocks.1.attn.qkv.weight"
    cut = {**values, name: values[name][:-1].clone()}
    refused(tiny, cut, tmp_path, r"blocks\.1\.attn\.qkv\.weight.*95.*96")
    del values[name]
    refused(tiny, values, tmp_path, r"blocks\.1\.attn\.qkv\.weight")


def test_a_strangers_file_is_described(cards, tmp_path):
    refused(cards[0], {"conv1.weight": torch.zeros(64, 3, 7, 7)}, tmp_path, "1 tensors.*conv1")


def test_values_that_are_no_numbers_are_refused(cards, tmp_path):
    values = tiny_models.tensors(cards[0])
    values["blocks.0.norm1.weight"][3] = float("nan")
    refused(cards[0], values, tmp_path, "norm1.weight' has values that are no numbers")
    assert not list(store.folder(cards[0]).iterdir())


def _quantised(value):
    return torch.quantize_per_tensor(value, 0.1, 0, torch.qint8)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda value: value.to(torch.float8_e4m3fn), "numbers of the kind float8_e4m3fn"),
        (lambda value: value.to(torch.complex64), "numbers of the kind complex64"),
        (_quantised, "numbers of the kind qint8"),
        (lambda value: value.to("meta"), "has no values"),
        (lambda value: value.to_sparse(), "is packed"),
        (lambda value: torch.complex(value, value).conj().imag, "is packed"),
        (lambda value: torch.zeros(()).expand(value.shape), "is packed"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_numbers_that_tilth_does_not_read_are_refused(cards, tmp_path, change, words):
    tiny, _ = cards
    values = tiny_models.tensors(tiny)
    name = "blocks.1.attn.qkv.weight"
    refused(tiny, {**values, name: change(values[name])}, tmp_path, f"{name}.*{words}")
    refused(tiny, {key: change(v) for key, v in values.items()}, tmp_path, f"not the .*{words}")


def test_such_numbers_beside_the_network_are_left_out(cards, tmp_path):
    tiny, _ = cards
    values = {**tiny_models.tensors(tiny), "head.weight": torch.zeros(3, dtype=torch.complex64)}
    assert "head.weight" in adopted(tiny, values, tmp_path)["dropped"]
    assert store.present(tiny)


def test_half_precision_is_stored_as_published_and_read_as_float32(cards, tmp_path):
    tiny, _ = cards
    values = {name: value.bfloat16() for name, value in tiny_models.tensors(tiny).items()}
    record = adopted(tiny, values, tmp_path)
    numbers = sum(value.numel() for name, value in values.items() if name != "head.weight")
    assert 2 * numbers < record["stored"]["size"] < 2 * numbers + 20_000
    found = store.read(tiny)
    assert {value.dtype for value in found.values()} == {torch.float32}
    name = "blocks.0.mlp.fc1.weight"
    assert torch.equal(found[f"network.{name}"], values[name].float())


def test_the_same_file_is_stored_the_same_everywhere(cards, tmp_path, monkeypatch):
    values = tiny_models.tensors(cards[0])
    first = adopted(cards[0], values, tmp_path)["stored"]
    monkeypatch.setenv("TILTH_HOME", str(tmp_path / "elsewhere"))
    assert adopted(cards[0], dict(reversed(values.items())), tmp_path)["stored"] == first


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ({"a": (1, 2), "b": (3,)}, ""),
        ({"a": (1, 2)}, "expected 'b' of shape [3]; the file has none such"),
        ({}, "expected 'a' of shape [1, 2]; the file has none such (and 1 more)"),
        ({"a": (1, 2), "b": (4,)}, "expected 'b' of shape [3]; the file has [4]"),
        ({"a": (1, 2), "b": (3,), "c": ()}, "'c' has no place in the network"),
    ],
)
def test_misfits_in_words(found, words):
    assert adopt.misfit({"a": (1, 2), "b": (3,)}, found) == words


def test_names_in_short():
    names = ["decoder.a", "decoder.b.c", "mask", "space.DW.* (2 tensors)", "epoch"]
    assert adopt.groups(names) == ["decoder.* (2)", "mask", "space.* (2)", "epoch"]


STORED = [c.id for c in catalogue.cards().values() if adopt.runs(c) and store.needed(c)]


@pytest.mark.parametrize("backbone", STORED)
def test_every_network_takes_what_it_stores(backbone):
    """For all its bands, `select` leaves the stored tensors as the network has them."""
    network = adopt.blank(catalogue.card_of(backbone))
    state = adopt.shapes(network.state_dict())
    assert adopt.misfit(state, adopt.shapes(network.select(network.state_dict()))) == ""
