"""The match of an image's bands with a model's, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..data.bands import Band
from .card import Band as ModelBand
from .card import Card

# The same band in two groups of a card lies at most this far apart, in nm.
SAME_NM = 5.0


def labels(card: Card) -> list[str]:
    """A name for each of a card's bands that no other has: ``RED``, or ``RGB RED`` by its group."""
    names = [band.name for band in card.bands]
    return [
        f"{band.group} {band.name}" if band.group and names.count(band.name) > 1 else band.name
        for band in card.bands
    ]


def same_band(one: ModelBand, other: ModelBand) -> bool:
    """Whether two of a card's bands are the same, in groups that share it: red of two sensors."""
    if one.wavelength_nm is None or other.wavelength_nm is None:
        return one.name.casefold() == other.name.casefold()
    return abs(one.wavelength_nm - other.wavelength_nm) <= SAME_NM


def summary_of(card: Card, used: int, there: int, frames: Sequence[int] = ()) -> str:
    """How many of the image's bands are used, and how many the model knows, in a few words.

    Bands that several of the model's sensors share count once.
    """
    text = f"{used} of the image's {there} used; the model"
    if card.any_bands:
        return f"{text} takes any"
    known: list[ModelBand] = []
    for band in card.bands:
        if not any(same_band(band, other) for other in known):
            known.append(band)
    return f"{text} knows {len(known)}" + (" on each date" if any(frames) else "")


def refusal(card: Card, bands: Sequence[Band]) -> str:
    """Why an image's bands make no match."""
    names = ", ".join(Band(b.name, b.wavelength_nm).text() for b in card.bands[:13])
    more = f" and {len(card.bands) - 13} more" if len(card.bands) > 13 else ""
    return (
        f"bands: the image's ({', '.join(band.text() for band in bands[:20])}) are not enough for "
        f"{card.title}, which knows {names}{more}; choose a backbone for these bands (the embedded "
        "one takes any), or say which band is which"
    )


def lines_of(
    card: Card,
    bands: Sequence[Band],
    found: Mapping[int, int | None],
    used: Sequence[int],
    frames: Sequence[int],
    dates: Sequence[int],
) -> list[str]:
    """The match, a line for each band of the first date.

    `found` is the card's band of each band that is used (None for an extra one), `used` are the
    card's bands of the groups that are used, `dates` the dates that the model sees.
    """
    names = labels(card)
    lines = []
    if frames and len(dates) <= max(frames):
        lines.append(f"{len(dates)} of {max(frames) + 1} dates are used: the model takes no more")
    for place, band in enumerate(bands):
        if frames and frames[place] != dates[0]:
            continue
        if place not in found:
            lines.append(f"{band.text()} is not used by the model")
            continue
        index = found[place]
        if index is not None:
            lines.append(f"{band.text()} = {_named(card, names, index)}")
        elif card.any_bands:
            how = "by its wavelength" if band.wavelength_nm is not None else "as a band of its own"
            lines.append(f"{band.text()} is taken in {how}")
        else:
            near = _named(card, names, _nearest(card, used, band))
            lines.append(f"{band.text()} is extra: it takes the weights of {near}")
    if not card.any_bands:
        there = set(found.values())
        lacking = [_named(card, names, index) for index in used if index not in there]
        if lacking:
            lines.append(f"the image has no {', '.join(lacking)}: left out of the model")
        groups = {card.bands[index].group for index in used}
        if len({band.group for band in card.bands}) > 1:
            lines.append("used of the model: " + ", ".join(sorted(groups)))
    return lines


def _named(card: Card, names: Sequence[str], index: int) -> str:
    return Band(names[index], card.bands[index].wavelength_nm).text()


def _nearest(card: Card, used: Sequence[int], band: Band) -> int:
    """The card's band, of those used, whose wavelength is nearest."""
    lengths = {index: card.bands[index].wavelength_nm for index in used}
    known = {index: value for index, value in lengths.items() if value is not None}
    here = band.wavelength_nm or 0.0
    return min(known or used, key=lambda index: abs((known.get(index) or 0.0) - here))
