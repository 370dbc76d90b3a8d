"""Cards: to JSON and back, and what is refused."""

from __future__ import annotations

import dataclasses
import json

import pytest
from tilth_engine.backbones.card import Band, Card


def _card(**changes) -> Card:
    values = {
        "id": "some",
        "title": "Some backbone",
        "summary": "tests",
        "licence": "MIT",
        "licence_url": "",
        "source": "nowhere",
        "file": "some.safetensors",
        "revision": "0",
        "sha256": "a" * 64,
        "bands": (Band("B04", 665.0), Band("VV")),
        "units": "reflectance",
        "scale": 0.0001,
        "mean": (0.1, -11.0),
        "std": (0.05, 4.0),
        "normalisation": "card",
        "patch": 16,
        "native_size": 224,
        "ground_resolution_m": (10.0, 30.0),
        "parameters": 5,
        "lora_targets": ("attn.qkv",),
        "any_bands": False,
        "citation": "",
    }
    return Card(**{**values, **changes})


def test_a_card_survives_json():
    card = _card()
    again = Card.from_dict(json.loads(json.dumps(card.to_dict())))
    assert again == card
    assert isinstance(again.bands[1], Band)
    assert hash(again) == hash(card)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sha256": "abc"}, "sha256"),
        ({"normalisation": "none"}, "normalisation"),
        ({"mean": (0.1,)}, "means"),
        ({"std": (0.0, 1.0)}, "positive"),
        ({"native_size": 100}, "multiple"),
        ({"bands": (), "mean": (), "std": ()}, "any_bands"),
        ({"parameters": 0}, "parameters"),
        ({"ground_resolution_m": (30.0, 10.0)}, "ground_resolution_m"),
        ({"id": ""}, "id"),
    ],
)
def test_a_card_that_contradicts_itself_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        _card(**changes)


def test_missing_unknown_and_misshapen_fields_are_refused():
    values = _card().to_dict()
    with pytest.raises(ValueError, match="licence"):
        Card.from_dict({name: value for name, value in values.items() if name != "licence"})
    with pytest.raises(ValueError, match="colour"):
        Card.from_dict({**values, "colour": "green"})
    with pytest.raises(ValueError, match="wrong kind"):
        Card.from_dict({**values, "mean": None})


def test_every_field_is_written():
    assert set(_card().to_dict()) == {field.name for field in dataclasses.fields(Card)}
