"""The catalogue: what there is, and that damaged files are refused."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil

import pytest
import torch
from safetensors.torch import save
from tilth_engine.backbones import catalogue, store
from tilth_engine.backbones.inputs import Inputs
from tilth_engine.errors import TilthError

INPUTS = Inputs((490.0, 560.0, 665.0))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A copy of the embedded backbone's files that the catalogue takes for the real ones."""
    for name in ("card.json", "weights.safetensors"):
        shutil.copy(store.EMBEDDED / name, tmp_path / name)
    monkeypatch.setattr(store, "EMBEDDED", tmp_path)
    return tmp_path


def test_the_embedded_backbone_is_small_and_frozen():
    backbone = catalogue.build("embedded", INPUTS)
    card = catalogue.cards()["embedded"]
    assert (store.EMBEDDED / card.file).stat().st_size <= 12_000_000
    assert not backbone.training
    assert not any(parameter.requires_grad for parameter in backbone.parameters())
    assert {parameter.dtype for parameter in backbone.parameters()} == {torch.float32}
    assert card.parameters == sum(parameter.numel() for parameter in backbone.parameters())
    assert backbone.card == card


def test_random_weights_follow_the_seed_and_differ_from_the_trained():
    states = [
        catalogue.build("embedded", INPUTS, random_weights=True, seed=seed).state_dict()
        for seed in (0, 0, 1)
    ]
    trained = catalogue.build("embedded", INPUTS).state_dict()
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name])
    name = "blocks.3.attn.qkv.weight"
    assert not torch.allclose(states[0][name], states[2][name])
    assert not torch.allclose(states[0][name], trained[name])


def test_building_leaves_the_generator_of_torch_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    catalogue.build("embedded", INPUTS, random_weights=True)
    assert torch.equal(torch.rand(3), expected)


def test_an_unknown_backbone_is_named_with_those_there_are():
    with pytest.raises(TilthError, match=r"'imaginary'.*embedded"):
        catalogue.build("imaginary", INPUTS)


def test_damaged_weights_are_refused(folder):
    path = folder / "weights.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(TilthError, match="damaged"):
        catalogue.build("embedded", INPUTS)
    catalogue.build("embedded", INPUTS, random_weights=True)


def test_missing_weights_are_refused(folder):
    (folder / "weights.safetensors").unlink()
    with pytest.raises(TilthError, match=r"weights\.safetensors"):
        catalogue.build("embedded", INPUTS)


def test_weights_of_another_network_are_refused(folder):
    data = save({"lonely": torch.zeros(2)})
    (folder / "weights.safetensors").write_bytes(data)
    card = json.loads((folder / "card.json").read_text())
    card["sha256"] = hashlib.sha256(data).hexdigest()
    (folder / "card.json").write_text(json.dumps(card))
    with pytest.raises(TilthError, match="don't fit"):
        catalogue.build("embedded", INPUTS)


@pytest.mark.parametrize("text", ["", "{}", '{"id": "embedded"}', "[1]"])
def test_a_damaged_card_is_refused(folder, text):
    (folder / "card.json").write_text(text)
    with pytest.raises(TilthError, match=r"card\.json"):
        catalogue.cards()


def test_a_cards_file_has_its_id_for_a_name():
    assert [name for name, card in catalogue.cards().items() if card.id != name] == []


def test_one_card_is_had_without_the_others(monkeypatch, tmp_path):
    """A damaged card of another backbone is nobody's concern."""
    shutil.copytree(catalogue.CARDS, tmp_path / "cards")
    (tmp_path / "cards" / "clay-1.json").write_text("{")
    monkeypatch.setattr(catalogue, "CARDS", tmp_path / "cards")

    assert catalogue.card_of("presto").title == "Presto"
    with pytest.raises(TilthError, match=r"clay-1\.json can't be read"):
        catalogue.card_of("clay-1")
    for name in ("../embedded/card", "presto.json", "", "cards/presto"):
        with pytest.raises(TilthError, match="not known; choose one of"):
            catalogue.card_of(name)


def test_cards_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        catalogue.cards()["embedded"].patch = 3
