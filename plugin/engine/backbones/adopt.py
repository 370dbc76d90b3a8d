"""From a published file to stored weights: read, convert, compare with the network, write."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..data.files import file_faults
from ..errors import TilthError
from ..version import VERSION
from . import catalogue, checkpoint, store
from .base import Backbone, Converted
from .card import Card
from .inputs import Inputs

# A checkpoint may hold a decoder and an optimiser's state too, but not this many times the network.
MOST_TIMES = 20
MOST_AT_LEAST = 100_000_000


def adopt(
    card: Card,
    file: Path,
    source: Mapping[str, Any],
    step: Callable[[float], None] = lambda share: None,
) -> dict[str, Any]:
    """Store a published file's weights for a backbone; returns the record, `file` stays.

    `source` says where the file is from, its sha256 included. `step` is told the share that is
    done, and may raise to stop. Raises TilthError where the file is not the backbone's, damaged, or
    can't be stored.
    """
    network = blank(card)
    found = checkpoint.read(file, _most_bytes(card, network))
    converted, problem = _converted(card, network, found.tensors)
    if problem:
        raise TilthError(_foreign(card, file, problem, found.tensors))
    origin = {
        "backbone": card.id,
        "source": dict(source),
        "dropped": sorted(converted.dropped),
        "others": sorted(found.others),
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "tilth": VERSION,
    }
    tensors = {name: _plain(tensor) for name, tensor in sorted(converted.tensors.items())}
    with file_faults(store.folder(card)):
        try:
            return store.write(card, tensors, origin, step)
        except ValueError as error:
            raise TilthError(f"{file}: the file is damaged: {error}; get it again") from error


def blank(card: Card) -> Backbone:
    """The network for all of the card's bands, without values. Raises TilthError without one."""
    if not runs(card):
        raise TilthError(
            f"backbone {card.id!r}: Tilth lists it but can't run it yet; choose another"
        )
    with torch.device("meta"):
        return catalogue.ARCHITECTURES[card.architecture](card, Inputs.all_of(card))


def runs(card: Card) -> bool:
    """Whether this Tilth has the network; some models are listed only."""
    return card.architecture in catalogue.ARCHITECTURES


def shapes(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """The shape of each tensor."""
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def misfit(expected: Mapping[str, tuple[int, ...]], found: Mapping[str, tuple[int, ...]]) -> str:
    """What is wrong with the shapes found, the first of it by name; empty where they fit."""
    missing = [name for name in expected if name not in found]
    if missing:
        name = missing[0]
        return (
            f"expected {name!r} of shape {list(expected[name])}; the file has none such"
            f"{_and_more(len(missing))}"
        )
    wrong = [name for name in expected if found[name] != expected[name]]
    if wrong:
        name = wrong[0]
        return (
            f"expected {name!r} of shape {list(expected[name])}; the file has "
            f"{list(found[name])}{_and_more(len(wrong))}"
        )
    unknown = [name for name in found if name not in expected]
    if unknown:
        return f"{unknown[0]!r} has no place in the network{_and_more(len(unknown))}"
    return ""


def groups(names: Iterable[str]) -> list[str]:
    """Names in short: those that differ only in what follows their first part are one."""
    counts: dict[str, int] = {}
    for name in names:
        stem = re.split(r"[.\s]", name, maxsplit=1)[0]
        # A conversion may have counted already: "space_embed.DW.* (2 tensors)".
        counted = re.search(r"\((\d+) tensors\)$", name)
        counts[stem] = counts.get(stem, 0) + (int(counted[1]) if counted else 1)
    return [f"{stem}.* ({count})" if count > 1 else stem for stem, count in counts.items()]


def likeness(tensors: Mapping[str, Tensor], card: Card) -> str:
    """The id of another backbone of the catalogue that the tensors fit, or an empty text."""
    with torch.device("meta"):
        hollow = {name: torch.empty(t.shape) for name, t in tensors.items()}
    for other in catalogue.cards().values():
        if other.id == card.id or not runs(other) or not store.needed(other):
            continue
        # Whatever a conversion stumbles over in a stranger's file: it is not that model then.
        with contextlib.suppress(Exception):
            converted = catalogue.ARCHITECTURES[other.architecture].convert(other, hollow)
            network = blank(other)
            if not misfit(shapes(network.state_dict()), shapes(network.select(converted.tensors))):
                return other.id
    return ""


def _converted(
    card: Card, network: Backbone, tensors: Mapping[str, Tensor]
) -> tuple[Converted, str]:
    """The network's tensors made of a file's, and why they are not the network's, if they aren't.

    Those that can't be stored are left out: a network has none such, but what is beside it may.
    """
    odd = {name: why for name, tensor in tensors.items() if (why := _oddity(tensor))}
    sound = {name: tensor for name, tensor in tensors.items() if name not in odd}
    try:
        made = catalogue.ARCHITECTURES[card.architecture].convert(card, sound)
        problem = misfit(shapes(network.state_dict()), shapes(network.select(made.tensors)))
    except (ValueError, KeyError, IndexError, RuntimeError) as error:
        words = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        made, problem = Converted({}, []), words.rstrip(".")
    if problem and odd:
        # What the network misses is most likely one of them.
        problem = next(f"{name!r} {why}" for name, why in odd.items())
    return Converted(made.tensors, [*made.dropped, *odd]), problem


def _oddity(tensor: Tensor) -> str:
    """Why a tensor can't be stored as it is, after its name; empty where it can."""
    if tensor.dtype not in store.KINDS:
        kind = str(tensor.dtype).removeprefix("torch.")
        return f"has numbers of the kind {kind}, which Tilth doesn't read"
    if tensor.is_meta:
        return "has no values"
    # A single number may stand for as many as a stranger likes.
    spread = tensor.layout == torch.strided and tensor.nbytes > tensor.untyped_storage().nbytes()
    if tensor.layout != torch.strided or tensor.is_neg() or spread:
        return "is packed in a way that Tilth doesn't read"
    return ""


def _foreign(card: Card, file: Path, problem: str, tensors: Mapping[str, Tensor]) -> str:
    """Why a file is not the backbone's, and whose it may be."""
    other = likeness(tensors, card)
    if other:
        advice = f"it looks like {other!r}"
    else:
        first = next(iter(tensors))
        advice = f"it has {len(tensors)} tensors, from {first!r} {list(tensors[first].shape)} on"
    text = " ".join(problem.split())
    return f"{file}: these are not the weights of {card.id!r}: {text[:400]}; {advice}"


def _most_bytes(card: Card, network: Backbone) -> int:
    own = sum(tensor.numel() * 4 for tensor in network.state_dict().values())
    return max(MOST_AT_LEAST, MOST_TIMES * own, 2 * card.size_bytes)


def _plain(tensor: Tensor) -> Tensor:
    """As it is stored: no number takes more than float32's bytes."""
    return tensor.float() if tensor.dtype == torch.float64 else tensor


def _and_more(count: int) -> str:
    return f" (and {count - 1} more)" if count > 1 else ""
