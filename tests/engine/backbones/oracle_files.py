"""The golden files that benchmarks/oracle/common.py keeps: weights, images and the peer's maps."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from tilth_engine.backbones import catalogue
from tilth_engine.backbones.base import Backbone
from tilth_engine.backbones.card import Card
from tilth_engine.backbones.inputs import Inputs
from torch import Tensor

FOLDER = Path(__file__).parent / "golden"


@dataclass
class Golden:
    """A tiny network of the peer's. `weights` have published names."""

    card: Card
    weights: dict[str, Tensor]
    cases: dict[str, dict[str, Any]]
    tensors: dict[str, Tensor]

    def inputs(self, case: str) -> Inputs:
        """What the image of a case is."""
        values = self.cases[case]
        return Inputs(
            tuple(self.card.bands[index].wavelength_nm for index in values["bands"]),
            tuple(values["bands"]),
            tuple(values["frames"]),
            tuple(values["dates"]),
            tuple(values["location"]) if values["location"] else None,
            values["time_location"],
            values.get("resolution_m"),
            values.get("zoom", 1.0),
        )

    def filled(self, inputs: Inputs) -> Backbone:
        """Tilth's network of these inputs with the golden weights."""
        architecture = catalogue.ARCHITECTURES[self.card.architecture]
        network = architecture(self.card, inputs)
        network.fill(architecture.convert(self.card, self.weights).tensors)
        return network.eval()

    def difference(self, case: str) -> float:
        """max|a-b| / max|b| of Tilth's maps and the peer's."""
        depths = self.cases[case]["depths"]
        with torch.inference_mode():
            maps = self.filled(self.inputs(case))(self.tensors[f"{case}/image"], depths)
        wanted = [self.tensors[f"{case}/map.{depth}"] for depth in depths]
        assert [found.shape for found in maps] == [like.shape for like in wanted]
        pairs = zip(maps, wanted, strict=True)
        return max(float((found - like).abs().max() / like.abs().max()) for found, like in pairs)


def golden(name: str) -> Golden:
    """A golden file by its name."""
    with safe_open(FOLDER / f"{name}.safetensors", "pt") as file:
        facts = file.metadata()
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    card = catalogue.card_of(facts["card_id"]).to_dict()
    prefix = "weights/"
    return Golden(
        Card.from_dict({**card, **json.loads(facts["card"])}),
        {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)},
        {case["name"]: case for case in json.loads(facts["cases"])},
        tensors,
    )
