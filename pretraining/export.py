"""Writes the embedded backbone's weights and its card."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from engine import ROOT, register
from safetensors.torch import save
from torch import Tensor

register()
from tilth_engine.backbones.card import Card  # noqa: E402
from tilth_engine.backbones.embedded.network import PATCH, EmbeddedBackbone  # noqa: E402
from tilth_engine.backbones.inputs import Inputs  # noqa: E402

FOLDER = ROOT / "plugin" / "engine" / "backbones" / "embedded"
CARD = Card(
    id="embedded",
    title="Tilth embedded (small, any bands)",
    summary=(
        "Needs no download and runs on a CPU. For any optical bands from drone to Landsat; the "
        "first choice for trying out, and where no GPU is at hand. Pre-trained on synthetic "
        "scenes only: the large foundation models know more of real landscapes."
    ),
    licence="GPL-2.0-or-later",
    licence_url="https://www.gnu.org/licenses/old-licenses/gpl-2.0.html",
    source="pretraining/pretrain.py of this repository",
    file="weights.safetensors",
    revision="1",
    sha256="0" * 64,
    bands=(),
    units="any",
    scale=1.0,
    mean=(),
    std=(),
    normalisation="image",
    patch=PATCH,
    native_size=96,
    ground_resolution_m=(0.05, 30.0),
    parameters=1,
    lora_targets=("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2"),
    any_bands=True,
    citation="Tilth: pre-trained by masked reconstruction on generated scenes",
    architecture="embedded",
)


def new_backbone(seed: int) -> EmbeddedBackbone:
    """The network as initialised from a seed, trainable."""
    torch.manual_seed(seed)
    # Pre-training gives each image's wavelengths itself: these are of no account.
    return EmbeddedBackbone(CARD, Inputs((None,)))


def export(state: Mapping[str, Tensor], revision: str, folder: Path = FOLDER) -> Card:
    """Store a backbone's `state_dict` in half precision beside a card that fits; give the card."""
    tensors = {name: tensor.detach().half().contiguous() for name, tensor in state.items()}
    data = save(tensors)
    card = replace(
        CARD,
        sha256=hashlib.sha256(data).hexdigest(),
        parameters=sum(tensor.numel() for tensor in tensors.values()),
        revision=revision,
    )
    (folder / CARD.file).write_bytes(data)
    text = json.dumps(card.to_dict(), indent=2) + "\n"
    (folder / "card.json").write_text(text, encoding="utf-8")
    return card
