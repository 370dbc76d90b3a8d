"""A backbone card's mean and deviation in the units of an image."""

from __future__ import annotations

import numpy as np

from .backbones.card import Card
from .data.bands import sunlit
from .data.scale import Scale

_RADAR = ("vv", "vh", "hh", "hv")


def in_units_of(card: Card, index: int, scale: Scale, level: float) -> tuple[float, float]:
    """Mean and deviation of a card's band, converted to an image's `scale`.

    Reflectance is converted from any known factor and offset to any other; stretched bytes only
    to bytes, since no one knows how they were stretched. Radar's decibels and all else (metres of
    elevation) are taken as they are. `level` is the band's mean in the image, by which decibels
    are told from amplitudes.

    Raises ValueError, as the end of a sentence about the band, where it can't be done.
    """
    mean, std = card.mean[index], card.std[index]
    band = card.bands[index]
    if band.name.lower() in _RADAR:
        if not -60 < level < 0:
            raise ValueError(f"is not in decibels (its mean is {level:.3g})")
        return mean, std
    if not sunlit(band.wavelength_nm):
        return mean, std
    mean, std = mean / card.scale, std / card.scale
    factor = _factor(card, band.group)
    if factor == 255:
        if scale.kind != "bytes":
            raise ValueError(f"has {scale.text}, and the model was trained on bytes")
        return mean, std
    if scale.factor is None or scale.kind == "bytes":
        raise ValueError(f"has {scale.text}, which can't be converted to reflectance")
    ratio = scale.factor / factor
    return mean * ratio + scale.offset, std * ratio


def _factor(card: Card, group: str) -> float:
    """By how much a group's reflectance is multiplied: 10000, 1, or 255 for stretched bytes.

    Told by how bright its bands are: a card may hold groups in several units.
    """
    bright = [
        (mean + 2 * std) / card.scale
        for band, mean, std in zip(card.bands, card.mean, card.std, strict=True)
        if band.group == group and sunlit(band.wavelength_nm)
    ]
    top = float(np.median(bright))
    return 10000.0 if top > 1000 else 255.0 if top > 3 else 1.0
