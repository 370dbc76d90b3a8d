"""The backbones there are, and how to get one.

A further architecture is a module with a `Backbone` class and a line in `ARCHITECTURES`; a further
model of one is a card in the folder `cards`.
"""

from __future__ import annotations

import difflib
import json
from pathlib import Path

import torch

from ..errors import TilthError
from ..precise import make_precise
from . import store, timm_cards
from .base import Backbone
from .card import Card
from .clay import ClayBackbone
from .dofa import DofaBackbone
from .embedded.network import EmbeddedBackbone
from .galileo import GalileoBackbone
from .inputs import Inputs
from .presto import PrestoBackbone
from .prithvi import PrithviBackbone
from .terramind import TerraMindBackbone
from .timm_models import TimmBackbone

ARCHITECTURES: dict[str, type[Backbone]] = {
    "clay": ClayBackbone,
    "dofa": DofaBackbone,
    "embedded": EmbeddedBackbone,
    "galileo": GalileoBackbone,
    "presto": PrestoBackbone,
    "prithvi": PrithviBackbone,
    "terramind": TerraMindBackbone,
    "timm": TimmBackbone,
}
CARDS = Path(__file__).parent / "cards"


def cards() -> dict[str, Card]:
    """The card of every backbone by its id. Raises TilthError where a card can't be read."""
    return {name: _read_card(path) for name, path in _places().items()}


def card_of(backbone_id: str) -> Card:
    """The card of a backbone; `timm:NAME` is any model of timm. Raises TilthError if unknown."""
    if backbone_id.startswith(timm_cards.PREFIX):
        return timm_cards.card_of(backbone_id)
    places = _places()
    if backbone_id not in places:
        near = [name for name in places if backbone_id and name.startswith(backbone_id[:6])]
        near = near or difflib.get_close_matches(backbone_id, places, 4, 0.5) or sorted(places)
        raise TilthError(
            f"backbone {backbone_id!r}: not known; choose one of {', '.join(near)} "
            "(tilth backbones lists all)"
        )
    return _read_card(places[backbone_id])


def build(
    backbone_id: str, inputs: Inputs, *, random_weights: bool = False, seed: int = 0
) -> Backbone:
    """A backbone in evaluation mode with every parameter frozen, float32, on the CPU.

    With `random_weights` it is the same network as initialised from `seed`, to compare with.
    Raises TilthError for an unknown id, one that is only listed, inputs that it can't take, and a
    missing or damaged file of weights.
    """
    card = card_of(backbone_id)
    if not card.architecture:
        raise TilthError(
            f"Tilth lists the backbone {card.id!r} but can't run it yet. Choose another: "
            "tilth backbones list."
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            backbone = ARCHITECTURES[card.architecture](card, inputs)
        except ValueError as error:
            raise TilthError(f"Backbone {card.id!r}: {error}.") from error
    make_precise(backbone)
    if not random_weights and not card.options.get("random"):
        _load(backbone)
    return backbone.eval().requires_grad_(False)


def _places() -> dict[str, Path]:
    """Where each backbone's card lies; a file has the name of the backbone that it describes."""
    embedded = {"embedded": store.EMBEDDED / "card.json"}
    return {**embedded, **{path.stem: path for path in sorted(CARDS.glob("*.json"))}}


def _read_card(path: Path) -> Card:
    try:
        return Card.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise TilthError(
            f"The backbone's card {path} can't be read ({error}). Install Tilth anew."
        ) from error


def _load(backbone: Backbone) -> None:
    """Fill a backbone with its weights on this machine."""
    tensors = store.read(backbone.card)
    try:
        backbone.fill(tensors)
    except (RuntimeError, KeyError) as error:
        raise TilthError(
            f"The weights in {store.folder(backbone.card)} don't fit backbone "
            f"{backbone.card.id!r}: {error}. Install Tilth anew, or fetch the weights again."
        ) from error
