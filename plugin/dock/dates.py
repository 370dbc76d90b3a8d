"""Dates of images, as people type them, and who needs them."""

from __future__ import annotations

import re
from typing import Any, Dict, List

from ..engine.method_list import BASELINES


def dates_in(text: str) -> List[str]:
    """The dates in a text, with commas or blanks between them."""
    return [part for part in re.split(r"[\s,;]+", text) if part]


def heeded_in_training(method: str, card: Dict[str, Any]) -> bool:
    """Whether a training with this method and backbone's card heeds the images' dates."""
    dated = bool(card.get("time_location")) or (card.get("several_dates") or 1) > 1
    return dated and method not in BASELINES


def heeded_in_mapping(card: Dict[str, Any]) -> bool:
    """Whether an adapter with this card was told dates."""
    inputs = card.get("inputs") or {}
    return bool(inputs.get("time_location") or inputs.get("dates"))
