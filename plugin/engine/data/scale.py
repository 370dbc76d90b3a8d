"""In which units an image's values are, told from the values themselves.

Where an image is standardised by its own statistics, a wrong guess here spoils nothing: the text
is for people, and ``differs`` warns when an adapter meets an image of another scale. By the figures
of a model's card or an adapter, guesses are weighed against them (normalise.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

TEXTS = {
    "reflectance10000": "reflectance x 10000",
    "reflectance10000_offset": "reflectance x 10000 with an offset of +1000",
    "reflectance1000": "reflectance x 1000",
    "bytes": "bytes (0 to 255, stretched)",
    "unit": "numbers from 0 to 1, most likely reflectance",
    "decibel": "decibels, most likely radar",
    "level1": "level-1 digital numbers (not reflectance)",
    "unknown": "values of an unknown unit",
}


@dataclass(frozen=True)
class Scale:
    """The recognised value scale. ``kind`` is a key of TEXTS; ``text`` is for people.

    Where ``factor`` is known, reflectance is ``(value - offset) / factor``. ``guessed`` is whether
    no metadata says it, so that the darkest or brightest values had to tell factor or offset.
    """

    kind: str
    text: str
    factor: float | None = None
    offset: float = 0.0
    guessed: bool = False

    def to_dict(self) -> dict[str, Any]:
        """What a map of another image has to know of it."""
        return {"kind": self.kind, "factor": self.factor, "offset": self.offset,
                "guessed": self.guessed}  # fmt: skip


def _scale(
    kind: str, factor: float | None = None, offset: float = 0.0, guessed: bool = False
) -> Scale:
    return Scale(kind, TEXTS[kind], factor, offset, guessed)


def recognise(sample: np.ndarray, dtype: str, tags: Mapping[str, str] | None = None) -> Scale:
    """The scale of ``sample``: valid values [N, C] (float32), spread over the image.

    ``dtype`` is the file's type, ``tags`` its metadata (keys in lower case): a stated
    Sentinel-2 offset decides what the values leave open.
    """
    if sample.size == 0:
        return _scale("unknown")
    low, high = float(sample.min()), float(sample.max())
    bright = float(np.percentile(sample, 99, axis=0).max())
    dark = float(np.percentile(sample, 0.2, axis=0).min())
    whole = np.dtype(dtype).kind in "iu" or bool(np.all(sample == np.round(sample)))
    if dtype == "uint8" or (whole and low >= 0 and 1 < high <= 255):
        return _scale("bytes", 255.0)
    if low < -1.5 and low > -100 and high < 60 and float(np.median(sample)) < 0:
        return _scale("decibel")
    if not whole and low > -0.6 and bright <= 2.0:
        return _scale("unit", 1.0)
    if low < -5000 or bright > 25000 or dark > 3500:
        return _scale("level1" if low >= 0 else "unknown")
    stated = _offset_stated(tags or {})
    if bright < 1300 and stated is None:
        # Or a dark image (water, forest without near infrared) in another scale.
        return _scale("reflectance1000", 1000.0, guessed=True)
    if dark >= 900 if stated is None else stated:
        return _scale("reflectance10000_offset", 10000.0, 1000.0, guessed=stated is None)
    return _scale("reflectance10000", 10000.0, guessed=stated is None)


def alternatives(scale: Scale) -> list[Scale]:
    """What a dark image may be in as well, where more than its own values can tell."""
    if scale.kind != "reflectance1000":
        return []
    return [_scale("reflectance10000", 10000.0, guessed=True)]


def differs(
    mean: Sequence[float], std: Sequence[float], other_mean: Sequence[float], other_std
) -> bool:
    """Whether two images' statistics (per band, same bands) are wildly apart.

    True where most bands lie more than a factor of five apart in level or in spread: another
    unit, not another season.
    """
    first = np.abs(np.asarray(mean, float)) + np.asarray(std, float)
    second = np.abs(np.asarray(other_mean, float)) + np.asarray(other_std, float)
    ratio = np.maximum(first, 1e-12) / np.maximum(second, 1e-12)
    return bool(np.median(np.maximum(ratio, 1 / ratio)) > 5)


def _offset_stated(tags: Mapping[str, str]) -> bool | None:
    """Whether the metadata states an offset; None where it says nothing."""
    for key, value in tags.items():
        if "add_offset" in key:
            return str(value).strip().strip("+-") in ("1000", "1000.0")
        if "processing_baseline" in key:
            try:
                return float(value) >= 4.0
            except ValueError:
                continue
    return None
