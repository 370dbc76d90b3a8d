"""Going on from an adapter: what has to be the same, and what is taken over from it."""

from __future__ import annotations

import dataclasses
from typing import Any

from .adapter_file import damaged
from .backbones import catalogue, store
from .backbones.inputs import Inputs
from .data.bands import Band, match
from .errors import TilthError
from .jobs import NO_BACKBONE, TrainJob
from .model.decoders.factory import DecoderSettings
from .model.methods.method import Method
from .normalise import Normalisation
from .prepare import CHIPS, Prepared, backbone_entry


def go_on_from(job: TrainJob, ready: Prepared, card: dict[str, Any]) -> None:
    """Take over what the job's earlier adapter has learnt with, whatever is drawn now.

    Raises TilthError where no training has made the adapter, or where it is of another kind than
    the job's would be, as far as that can be told before there is a network.
    """
    if card["chip"] not in CHIPS:
        raise damaged(job.continue_from, f"no training has chips of {card['chip']} pixels")
    # One that has never looked at tokens or discriminants has learnt without them.
    known = DecoderSettings.from_dict(card["decoder"])
    ready.decoder = dataclasses.replace(
        ready.decoder,
        tokens=known.tokens and ready.decoder.tokens,
        discriminants=known.discriminants,
    )
    # The network is told in which units values come to it, and has learnt from chips of a size,
    # enlarged so many times.
    ready.inputs = dataclasses.replace(
        ready.inputs,
        own_statistics=not Normalisation.from_dict(card["normalisation"]).by_card,
        zoom=Inputs.from_dict(card["inputs"]).zoom,
    )
    ready.settings = dataclasses.replace(ready.settings, chip=card["chip"])
    if not _same_kind(job, ready, card):
        raise of_another_kind(job.continue_from)


def of_another_kind(path: str) -> TilthError:
    """What is raised where training can't go on from an adapter."""
    return TilthError(
        f"{path}: training can go on from it only with the same backbone (a "
        "random one: of the same seed), method, decoder, bands, matching, zoom and classes; "
        "choose the same, or start anew"
    )


def _same_kind(job: TrainJob, ready: Prepared, card: dict[str, Any]) -> bool:
    earlier, asked = Method.from_dict(card["method"]), Method.of(job)
    return (
        _same_backbone(job, card)
        # The layers that it adapts are the network's to say.
        and earlier.with_targets(()) == asked.with_targets(())
        and DecoderSettings.from_dict(card["decoder"]) == ready.decoder
        and _same_bands(card, ready)
        and job.zoom in (0, ready.inputs.zoom)
        and [entry["code"] for entry in card["classes"]] == ready.codes
    )


def _same_backbone(job: TrainJob, card: dict[str, Any]) -> bool:
    earlier, now = card["backbone"], backbone_entry(job)
    if any(earlier.get(key, False) != now[key] for key in ("id", "random")):
        return False
    if now["random"]:
        # It is drawn from the seed, unless the file holds all of it.
        return job.method == "full" or bool(card["training"].get("seed") == job.seed)
    # A plan may be made before the weights are here.
    here = job.backbone == NO_BACKBONE or store.present(catalogue.card_of(job.backbone))
    return not here or earlier["sha256"] == now["sha256"]


def _same_bands(card: dict[str, Any], ready: Prepared) -> bool:
    """Whether the images have an earlier adapter's bands, in its order, and the backbone sees the
    same ones of them."""
    before, now = Inputs.from_dict(card["inputs"]), ready.inputs
    if (before.bands, before.left_out, before.frames) != (now.bands, now.left_out, now.frames):
        return False
    earlier = [Band(band["name"], band["wavelength_nm"]) for band in card["bands"]]
    try:
        return match(earlier, ready.bands) == list(range(len(ready.bands)))
    except TilthError:
        return False
