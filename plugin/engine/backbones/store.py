"""Where backbones' weights lie on this machine, and how they are read."""

from __future__ import annotations

import hashlib
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from torch import Tensor

from ..errors import TilthError
from ..home import home
from .card import Card

EMBEDDED = Path(__file__).parent / "embedded"
WEIGHTS = "weights.safetensors"


def folder(card: Card) -> Path:
    """The folder of a backbone's weights."""
    if card.architecture == "embedded":
        return EMBEDDED
    return home() / "backbones" / card.id.replace(":", "-").replace("/", "-")


def present(card: Card) -> bool:
    """Whether the weights are on this machine."""
    return (folder(card) / WEIGHTS).is_file()


def read(card: Card) -> dict[str, Tensor]:
    """A backbone's tensors, float32, in its network's names.

    Raises TilthError where they are missing or damaged.
    """
    path = folder(card) / WEIGHTS
    embedded = card.architecture == "embedded"
    remedy = "Install Tilth anew" if embedded else f"Fetch them: tilth backbones fetch {card.id}"
    try:
        data = path.read_bytes()
    except OSError as error:
        raise TilthError(
            f"The weights of backbone {card.id!r} can't be read: {error}. {remedy}."
        ) from error
    found = hashlib.sha256(data).hexdigest()
    if embedded and found != card.sha256:
        raise TilthError(
            f"The weights of backbone {card.id!r} in {path} are damaged: their sha256 is "
            f"{found}, the card says {card.sha256}. {remedy}."
        )
    try:
        return {name: tensor.float() for name, tensor in load_tensors(data).items()}
    except SafetensorError as error:
        raise TilthError(f"The weights in {path} are damaged: {error}. {remedy}.") from error
