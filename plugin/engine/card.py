"""An adapter's card: the checks that a stranger's card must pass before anything believes it."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

from .backbones.inputs import Inputs
from .jobs import MAX_SEED, MAX_ZOOM, MIN_ZOOM

MAX_BANDS = 1000
MAX_CLASSES = 254
MAX_CHIP = 128
MAX_TEXT = 2000
_WARNINGS = 100
_DEPTH = 12
_LARGE = 1e30
_MANY = 10**12
_LONG = 1e9  # seconds


def check_card(card: Any, files: tuple[str, ...]) -> str:
    """What is wrong with a card, as the end of "its card ..."; empty where it is sound."""
    if _deeper(card, _DEPTH):
        return "is nested too deep"
    try:
        _check(card, files)
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        return f"is wrong or incomplete ({_phrase(error)})"
    return ""


def brief(warnings: Sequence[str]) -> list[str]:
    """As many warnings as a card may hold, each cut where it is too long."""
    texts = [
        text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT - 1]}…" for text in warnings if text
    ]
    return texts[:_WARNINGS]


def _deeper(value: Any, levels: int) -> bool:
    if levels == 0:
        return True
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(_deeper(part, levels - 1) for part in parts)


def _check(card: Any, files: tuple[str, ...]) -> None:
    if card["format"] != 1:
        raise ValueError("format")
    _text(card["name"], "name")
    _at_most_text(card, "created", "tilth")
    _backbone(card["backbone"])
    _classes(card["classes"])
    _bands(card["bands"])
    _inputs(card["inputs"], len(card["bands"]))
    _matching(card.get("matching"), len(card["bands"]))
    _normalisation(card["normalisation"], len(card["bands"]))
    chip = card["chip"]
    if not (_whole(chip) and 8 <= chip <= MAX_CHIP and chip % 8 == 0):
        raise ValueError("chip")
    for key in ("method", "decoder", "training"):
        if not isinstance(card[key], dict):
            raise ValueError(key)
    if not 0.01 <= _number(card["temperature"], "temperature") <= 100:
        raise ValueError("temperature")
    if card.get("resolution_m") is not None and not _number(card["resolution_m"], "resolution") > 0:
        raise ValueError("resolution")
    for key in ("method", "decoder"):
        _text(card[key]["name"], f"{key}'s name")
    _counts(card["method"], "rank")
    _training(card["training"])
    _warnings(card.get("warnings", []))
    _score(card.get("score"))
    _score(card.get("region_score"))
    for name in files:
        entry = card["files"][name]
        if not (_whole(entry["size"]) and re.fullmatch("[0-9a-f]{64}", entry["sha256"])):
            raise ValueError(f"files: {name}")


def _backbone(backbone: Any) -> None:
    _text(backbone["id"], "backbone")
    if backbone["sha256"] and not re.fullmatch("[0-9a-f]{64}", backbone["sha256"]):
        raise ValueError("backbone's sha256")
    _at_most_text(backbone, "title", "licence")


def _classes(classes: Any) -> None:
    if not isinstance(classes, list) or not 2 <= len(classes) <= MAX_CLASSES:
        raise ValueError("classes")
    for entry in classes:
        _text(entry["name"], "class name")
        if not (_whole(entry["code"]) and 1 <= entry["code"] <= 65535):
            raise ValueError("class code")
        if not re.fullmatch("#[0-9a-fA-F]{6}", entry["colour"]):
            raise ValueError("class colour")
        for key, kind in (("value", str), ("validated", bool)):
            if not isinstance(entry.get(key, kind()), kind):
                raise ValueError(f"class {key}")
        _counts(entry, "polygons", "pixels")
    if len({entry["code"] for entry in classes}) != len(classes):
        raise ValueError("class codes repeat")


def _bands(bands: Any) -> None:
    if not isinstance(bands, list) or not 1 <= len(bands) <= MAX_BANDS:
        raise ValueError("bands")
    for band in bands:
        _text(band["name"], "band name")
        if band["wavelength_nm"] is not None:
            _number(band["wavelength_nm"], "wavelength")


def _inputs(values: Any, bands: int) -> None:
    inputs = Inputs.from_dict(values)
    if len(inputs.wavelengths) != bands or any(b is not None and b < 0 for b in inputs.bands):
        raise ValueError("inputs")
    # Else a stranger's adapter could ask for an endless chip.
    if not MIN_ZOOM <= inputs.zoom <= MAX_ZOOM:
        raise ValueError("inputs: zoom")
    numbers = [*inputs.wavelengths, *(inputs.location or ()), inputs.resolution_m, inputs.zoom]
    if not all(number is None or math.isfinite(number) for number in numbers):
        raise ValueError("inputs: a number")
    for date in inputs.dates:
        if not re.fullmatch(r"(\d{4}-\d{2}-\d{2})?", date):
            raise ValueError("inputs: a date")


def _matching(values: Any, bands: int) -> None:
    """What people are told of the match; cards of earlier adapters have none."""
    if values is None:
        return
    texts = [values["summary"], *values["lines"]]
    texts += [row[key] for row in values["table"] for key in ("band", "model_band")]
    if not all(isinstance(text, str) and len(text) <= MAX_TEXT for text in texts):
        raise ValueError("matching")
    if len(values["table"]) != bands or len(values["lines"]) > 2 * MAX_BANDS:
        raise ValueError("matching: not one row a band")


def _normalisation(values: Any, bands: int) -> None:
    if len(values["mean"]) != bands or len(values["std"]) != bands:
        raise ValueError("normalisation: not one value a band")
    if any(abs(_number(value, "mean")) > _LARGE for value in values["mean"]):
        raise ValueError("normalisation: mean")
    if any(not 1 / _LARGE <= _number(value, "std") <= _LARGE for value in values["std"]):
        raise ValueError("normalisation: std")
    scale = values.get("scale")
    if scale is not None:
        for key in ("factor", "offset"):
            if scale.get(key) is not None and abs(_number(scale[key], key)) > _LARGE:
                raise ValueError(f"normalisation: {key}")


def _training(training: dict[str, Any]) -> None:
    """What people are told of the training, as far as the card has it."""
    seed = training.get("seed", 0)
    if not (_whole(seed) and 0 <= seed <= MAX_SEED):
        raise ValueError("training: seed")
    _counts(training, "epochs", "best_epoch", "polygons", "pixels")
    if not 0 <= _number(training.get("seconds", 0), "training: seconds") <= _LONG:
        raise ValueError("training: seconds")
    if not 0 <= _number(training.get("network_share", 1), "training: network share") <= 1:
        raise ValueError("training: network share")
    _at_most_text(training, "device")
    _text(training.get("unseen_region", "none"), "training: unseen region")


def _warnings(warnings: Any) -> None:
    if not isinstance(warnings, list) or len(warnings) > _WARNINGS:
        raise ValueError("warnings")
    for text in warnings:
        _text(text, "a warning")


def _score(score: Any) -> None:
    """The figures of evaluate.py, each a number or null."""
    if score is None:
        return
    for key in ("overall_accuracy", "mean_iou", "macro_f1"):
        _figure(score[key], key)
    for row in score["per_class"]:
        _text(row["name"], "class name in the score")
        for key in ("iou", "f1", "users_accuracy", "producers_accuracy"):
            _figure(row[key], key)
        _counts(row, "support")


def _figure(value: Any, what: str) -> None:
    if value is not None:
        _number(value, f"score: {what}")


def _text(value: Any, what: str) -> None:
    if not isinstance(value, str) or not 0 < len(value) <= MAX_TEXT:
        raise ValueError(what)


def _at_most_text(values: dict[str, Any], *keys: str) -> None:
    """Where these are there, they are texts, perhaps empty."""
    for key in keys:
        text = values.get(key, "")
        if not isinstance(text, str) or len(text) > MAX_TEXT:
            raise ValueError(key)


def _counts(values: dict[str, Any], *keys: str) -> None:
    """Where these are there, they are numbers of things."""
    for key in keys:
        number = values.get(key, 0)
        if not (_whole(number) and 0 <= number <= _MANY):
            raise ValueError(f"number of {key}")


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(value: Any, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(what)
    return float(value)


def _phrase(error: Exception) -> str:
    return f"no {error}" if isinstance(error, KeyError) else str(error)
