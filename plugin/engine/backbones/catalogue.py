"""The backbones there are, and how to get one.

A further architecture is a module with a `Backbone` class, and a line in `_MAKERS`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors

from ..errors import TilthError
from .base import Backbone
from .card import Card
from .embedded.network import EmbeddedBackbone

_MAKERS: dict[str, tuple[Path, Callable[[Card], Backbone]]] = {
    "embedded": (Path(__file__).parent / "embedded", EmbeddedBackbone),
}


def cards() -> dict[str, Card]:
    """The card of every backbone by its id. Raises TilthError where a card can't be read."""
    return {name: _card(folder) for name, (folder, _) in _MAKERS.items()}


def build(backbone_id: str, *, random_weights: bool = False, seed: int = 0) -> Backbone:
    """A backbone in evaluation mode with every parameter frozen, float32, on the CPU.

    With `random_weights` it is the same network as initialised from `seed`, to compare with.
    Raises TilthError for an unknown id, and for a missing or damaged file of weights.
    """
    if backbone_id not in _MAKERS:
        raise TilthError(
            f"Backbone {backbone_id!r} is not known. Choose one of: {', '.join(sorted(_MAKERS))}."
        )
    folder, make = _MAKERS[backbone_id]
    card = _card(folder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        backbone = make(card)
    if not random_weights:
        _load(backbone, folder / card.file)
    return backbone.eval().requires_grad_(False)


def _card(folder: Path) -> Card:
    """The card in a backbone's folder."""
    path = folder / "card.json"
    try:
        return Card.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise TilthError(
            f"The backbone's card {path} can't be read ({error}). Install Tilth anew."
        ) from error


def _load(backbone: Backbone, path: Path) -> None:
    """Fill a backbone with the weights in a file, once their checksum is found right."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise TilthError(
            f"The weights of backbone {backbone.card.id!r} can't be read: {error}. "
            "Install Tilth anew."
        ) from error
    found = hashlib.sha256(data).hexdigest()
    if found != backbone.card.sha256:
        raise TilthError(
            f"The weights of backbone {backbone.card.id!r} in {path} are damaged: their sha256 is "
            f"{found}, the card says {backbone.card.sha256}. Install Tilth anew."
        )
    try:
        tensors = {name: tensor.float() for name, tensor in load_tensors(data).items()}
        backbone.load_state_dict(tensors)
    except (SafetensorError, RuntimeError) as error:
        raise TilthError(
            f"The weights in {path} don't fit backbone {backbone.card.id!r}: {error}. "
            "Install Tilth anew."
        ) from error
