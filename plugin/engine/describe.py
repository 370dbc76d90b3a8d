"""What this engine has: versions, devices, backbones."""

from __future__ import annotations

import platform
from typing import Any

import torch

from . import devices, weights
from .backbones import catalogue, store, timm_cards
from .errors import TilthError
from .jobs import DescribeJob
from .version import VERSION


def describe(job: DescribeJob) -> dict[str, Any]:
    """The result of a describe job, as docs/design.md describes it.

    The backbones are the catalogue's, those that the job names, and timm's with weights here.
    """
    cards = list(catalogue.cards().values())
    unknown = {}
    for backbone in (*job.also, *store.stored(timm_cards.PREFIX)):
        try:
            card = catalogue.card_of(backbone)
            if card not in cards:
                cards.append(card)
        except TilthError as error:
            unknown[backbone] = str(error)
    return {
        "version": VERSION,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "devices": devices.describe(),
        "default_device": devices.default(),
        "backbones": [weights.state(card) for card in cards],
        "unknown": unknown,
    }
