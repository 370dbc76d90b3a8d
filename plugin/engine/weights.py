"""Backbones' weights: fetched from the hub, added from a file, removed; and what is here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from .backbones import adopt, catalogue, fetch, store
from .backbones.card import Card
from .data.files import file_faults
from .errors import TilthError
from .events import Reporter
from .weight_jobs import AddJob, FetchJob, RemoveJob


def fetch_weights(job: FetchJob, reporter: Reporter) -> dict[str, Any]:
    """Run the job; returns the result as docs/design.md describes it.

    Raises TilthError where the weights can't be had, and Cancelled, which leaves the part that is
    here for the next time.
    """
    card = _wanting(job.backbone)
    if not card.repository:
        raise TilthError(
            f"backbone {card.id!r}: it is on no hub; get the file from {card.source} and add it: "
            f"tilth backbones add {card.id} --file FILE"
        )
    if card.binding and not job.accept_licence:
        raise TilthError(
            f"backbone {card.id!r}: its licence binds you: {card.licence} ({card.licence_url}); "
            "read it, and accept it with --accept-licence"
        )
    with store.exclusive(card):
        if _sound(card):
            reporter.info(f"The weights of {card.title} are here already")
            return _result(card, store.record(card), reporter)
        path, source = fetch.download(card, reporter, job.proxy)
        if not source["verified"]:
            reporter.warn(
                f"{card.file}: neither the card nor the hub says its sha256; it fits the network, "
                "and more isn't known of it"
            )
        try:
            record = adopt.adopt(card, path, source, _step(reporter, 0.9))
        except TilthError:
            fetch.forget(card)
            raise
        fetch.forget(card)
    return _result(card, record, reporter)


def add_weights(job: AddJob, reporter: Reporter) -> dict[str, Any]:
    """Run the job; returns the result as docs/design.md describes it. The file stays.

    Raises TilthError where the file is not the backbone's, and Cancelled.
    """
    card = _wanting(job.backbone)
    file = Path(job.file).expanduser()
    with store.exclusive(card):
        reporter.progress(0.0, "Checking the file")
        if file.is_dir():
            raise TilthError(f"{file}: this is a folder; give the file of weights itself")
        with file_faults(file):
            digest = store.sha256_of(file, _step(reporter, 0.0, 0.4, "Checking the file"))
            size = file.stat().st_size
        source = {
            "kind": "file",
            "file": file.name,
            "size": size,
            "sha256": digest,
            "verified": "card" if digest == card.sha256 else "",
        }
        record = adopt.adopt(card, file, source, _step(reporter, 0.4))
        if card.sha256 and digest != card.sha256:
            reporter.warn(
                f"{file.name}: it fits, but is not the published {card.file} (sha256 "
                f"{digest[:12]}…, expected {card.sha256[:12]}…); adapters made with it need it"
            )
        fetch.forget(card)
    return _result(card, record, reporter)


def remove_weights(job: RemoveJob) -> dict[str, Any]:
    """Run the job; returns the backbone and the bytes freed. Raises TilthError without weights."""
    card = catalogue.card_of(job.backbone)
    return {"removed": card.id, "freed": store.remove(card)}


def state(card: Card) -> dict[str, Any]:
    """A card, and whether its weights are `needed` and `present`; `size_bytes` are a download's.

    `stored_bytes` is what the weights take on this machine, `runs` whether this Tilth has the
    network.
    """
    here = store.present(card)
    weights = store.folder(card) / store.WEIGHTS
    return {
        **card.to_dict(),
        "size_bytes": card.size_bytes or 4 * card.parameters,
        "runs": adopt.runs(card),
        "needed": store.needed(card),
        "present": here,
        "stored_bytes": weights.stat().st_size if here else 0,
    }


def show(backbone: str) -> dict[str, Any]:
    """All that is known of one backbone: its card, state, record, and its weights' folder."""
    card = catalogue.card_of(backbone)
    return {**state(card), "record": store.record(card), "folder": str(store.folder(card))}


def _wanting(backbone: str) -> Card:
    """The card of a backbone that can have weights on this machine."""
    card = catalogue.card_of(backbone)
    if not adopt.runs(card):
        raise TilthError(
            f"backbone {card.id!r}: Tilth lists it but can't run it yet; choose another"
        )
    if not store.needed(card):
        raise TilthError(f"backbone {card.id!r}: it needs no weights from elsewhere; use it as is")
    return card


def _sound(card: Card) -> bool:
    """Whether the weights are here, and are what was stored."""
    path = store.folder(card) / store.WEIGHTS
    stored = store.record(card).get("stored", {})
    return path.is_file() and store.sha256_of(path) == stored.get("sha256")


def _step(
    reporter: Reporter, start: float, end: float = 1.0, text: str = "Storing the weights"
) -> Callable[[float], None]:
    def step(share: float) -> None:
        # Only the end of the job is 1.
        reporter.progress(min(start + (end - start) * share, 0.99), text)

    return step


def _result(card: Card, record: dict[str, Any], reporter: Reporter) -> dict[str, Any]:
    """What the job leaves; what the network has no use for is told."""
    dropped = adopt.groups([*record.get("dropped", []), *record.get("others", [])])
    if dropped:
        reporter.info(f"Not used of the file: {', '.join(dropped)}")
    reporter.progress(1.0, "Done")
    source = record["source"]
    return {
        "backbone": card.id,
        "title": card.title,
        "licence": card.licence,
        "folder": str(store.folder(card)),
        "size": record["stored"]["size"],
        "revision": source.get("revision", ""),
        "sha256": source["sha256"],
        "verified": source["verified"],
        "dropped": dropped,
        "warnings": reporter.warnings,
    }
