"""Published checkpoints: whether one is the card's, and what of it is left over."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from .base import Backbone, Converted
from .card import Card
from .inputs import Inputs


def checked(
    architecture: type[Backbone], card: Card, tensors: Mapping[str, Tensor], left: Iterable[str]
) -> Converted:
    """The tensors in the network's own names, checked; `left` are published names not used.

    What the network doesn't know is left over too. Raises ValueError where a tensor is missing or
    has another shape: the checkpoint is not the card's.
    """
    with torch.device("meta"):
        expected = architecture(card, Inputs.all_of(card)).state_dict()
    for name, like in expected.items():
        if name not in tensors:
            raise ValueError(
                f"not the weights of {card.title}: {name} {list(like.shape)} is missing "
                f"({len(set(expected) - set(tensors))} of {len(expected)} tensors are)"
            )
        if tensors[name].shape != like.shape:
            raise ValueError(
                f"not the weights of {card.title}: {name} has shape {list(tensors[name].shape)}, "
                f"expected {list(like.shape)}"
            )
    unknown = [name for name in tensors if name not in expected]
    kept = {name: tensors[name].detach().contiguous() for name in expected}
    return Converted(kept, summary([*left, *unknown]))


def summary(names: Iterable[str]) -> list[str]:
    """Names of tensors for people: those of one part together, as `decoder.* (98 tensors)`."""
    parts: dict[str, list[str]] = {}
    for name in names:
        parts.setdefault(_part(name), []).append(name)
    return [
        found[0] if len(found) == 1 else f"{part}.* ({len(found)} tensors)"
        for part, found in sorted(parts.items())
    ]


def _part(name: str) -> str:
    """The first two words of a dotted name of three or more, without a number; else the name."""
    words = name.split(".")
    if len(words) < 3:
        return name
    return words[0] if words[1].isdigit() else ".".join(words[:2])
