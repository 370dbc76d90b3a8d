"""Real architectures in sizes that a test can afford, put into the catalogue beside the others."""

from __future__ import annotations

import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import torch
from tilth_engine.backbones import catalogue
from tilth_engine.backbones.card import Card
from torch import Tensor

BASE = Path(catalogue.__file__).parent / "cards" / "ssl4eo-s12-vit-s.json"
REPOSITORY, FILE = "acme/tiny", "models/tiny.pth"


def card(**values: Any) -> Card:
    """A vision transformer of two blocks that is published in timm's names."""
    size = int(values.pop("width", 32))
    depth = int(values.pop("depth", 2))
    base = Card.from_dict(json.loads(BASE.read_text(encoding="utf-8")))
    arguments = {"dynamic_img_size": True, "embed_dim": size, "depth": depth, "num_heads": 2}
    return dataclasses.replace(
        base,
        **{
            "id": "tiny",
            "title": "Tiny",
            "repository": REPOSITORY,
            "file": FILE,
            "revision": "",
            "sha256": "",
            "options": {**base.options, "arguments": arguments},
            "native_size": 64,
            **values,
        },
    )


def install(monkeypatch: Any, folder: Path, *cards: Card) -> None:
    """Let the catalogue have these cards and the embedded one, no others."""
    folder.mkdir(exist_ok=True)
    for entry in cards:
        text = json.dumps(entry.to_dict())
        (folder / f"{entry.id}.json").write_text(text, encoding="utf-8")
    monkeypatch.setattr(catalogue, "CARDS", folder)


def tensors(of: Card, seed: int = 0) -> dict[str, Tensor]:
    """A checkpoint as it would be published: random values, and a head that nobody needs."""
    from tilth_engine.backbones.timm_models import create

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        values = dict(create(of, len(of.bands)).state_dict())
        values["head.weight"] = torch.randn(10, int(of.options["arguments"]["embed_dim"]))
    return values


def saved(values: Any, **options: Any) -> bytes:
    """What torch.save makes of it."""
    file = io.BytesIO()
    torch.save(values, file, **options)
    return file.getvalue()
