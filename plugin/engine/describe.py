"""What this engine has: versions, devices, backbones."""

from __future__ import annotations

import platform
from typing import Any

import torch

from . import devices, weights
from .backbones import catalogue
from .errors import TilthError
from .jobs import DescribeJob
from .version import VERSION


def describe(job: DescribeJob) -> dict[str, Any]:
    """The result of a describe job, as docs/design.md describes it."""
    cards = list(catalogue.cards().values())
    unknown = {}
    for backbone in job.also:
        try:
            cards.append(catalogue.card_of(backbone))
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
