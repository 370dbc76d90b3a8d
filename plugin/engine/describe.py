"""What this engine has: versions, devices, backbones."""

from __future__ import annotations

import platform
from typing import Any

import torch

from . import devices, weights
from .backbones import catalogue
from .version import VERSION


def describe() -> dict[str, Any]:
    """The result of a describe job, as docs/design.md describes it."""
    return {
        "version": VERSION,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "devices": devices.describe(),
        "default_device": devices.default(),
        "backbones": [weights.state(card) for card in catalogue.cards().values()],
    }
