"""How many parameters LoRA of rank 16 trains in each model: `python benchmarks/lora_sizes.py`.

Three choices of layers: all that the card names (Tilth's default), those of the paper (q, v, fc1
and fc2), and the fused qkv with fc1 and fc2. The networks have a shape but no values. The counts
go into benchmarks/results/lora_sizes.json, which docs/models.md is made from.
"""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
runpy.run_path(str(ROOT / "plugin" / "engine" / "launch.py"))  # makes tilth_engine importable

from tilth_engine.backbones import catalogue  # noqa: E402
from tilth_engine.backbones.card import Card  # noqa: E402
from tilth_engine.backbones.inputs import Inputs  # noqa: E402
from tilth_engine.errors import TilthError  # noqa: E402
from tilth_engine.model.methods import adapt  # noqa: E402
from tilth_engine.model.methods.method import Method  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results" / "lora_sizes.json"
CHOICES: dict[str, tuple[str, ...]] = {
    "default": (),
    "q, v, fc1, fc2": ("q", "v", "fc1", "fc2"),
    "qkv, fc1, fc2": ("qkv", "fc1", "fc2"),
}


def count(card: Card, targets: tuple[str, ...]) -> int | None:
    """What is trained with these targets; None where the model has no such layers."""
    with torch.device("meta"):
        network = catalogue.ARCHITECTURES[card.architecture](card, Inputs.all_of(card))
        try:
            adapted = adapt.apply(network, Method(targets=targets))
        except TilthError:
            return None
    return sum(p.numel() for p in adapted.parameters() if p.requires_grad)


def main() -> None:
    """Count, print and keep."""
    found = {
        card.id: {name: count(card, targets) for name, targets in CHOICES.items()}
        for card in catalogue.cards().values()
        if card.architecture and card.lora_targets
    }
    for backbone_id, counts in found.items():
        print(f"{backbone_id:24}", counts)
    RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
