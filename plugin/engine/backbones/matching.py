"""Which of an image's bands are which of a model's: found by name and wavelength, or as told.

Bands pair up nearest wavelength first, within the tolerance of `bands.compatible`; so Sentinel-2's
B8A and not its B8 is the NIR of a model that was trained on HLS, whatever either side calls it.
Bands without a wavelength (radar, elevation) pair up by name.

A model for any bands takes in the others by their wavelength, from 300 to 3000 nm: none has seen
the earth's own radiation (thermal bands). The user may still say that it takes one in.

Some models have several sensors or products that share bands (TerraMind's S2L2A, S2L1C and RGB).
Of groups that share a band only the one that fits best is used: the most bands matched, then the
fewest missing, then the nearest. Groups that share none (radar, elevation; all of Galileo's) are
used together.

A group of which less than a fifth is there (one of 6 bands, two of 13) is not used: a model given
so little of what it was trained on knows nothing of it. Where that leaves nothing, the match is
refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from ..data.bands import Band, code_key, colour_key, compatible, sunlit, whole_key
from ..errors import TilthError
from .card import Band as ModelBand
from .card import Card
from .match_text import labels, lines_of, refusal, same_band, summary_of

NOT_USED = ""
EXTRA = "+"
# Architectures that cut each group of bands into tokens of its own: no slice to share.
_OWN_ALONE = ("galileo", "presto")


@dataclass(frozen=True)
class Match:
    """What each band of an image is to a model.

    `bands` and `left_out` are as `Inputs` has them. `chosen` has for each band of the image the
    model's band by its `labels` name, `EXTRA` for one that the model takes in though it is none of
    its own, and `NOT_USED`; `choices` are the names there are. `summary` and `lines` are for
    people.
    """

    bands: tuple[int | None, ...]
    left_out: tuple[int, ...]
    chosen: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    summary: str = ""
    lines: tuple[str, ...] = ()


def match_bands(
    card: Card,
    bands: Sequence[Band],
    *,
    wanted: Sequence[str] = (),
    frames: Sequence[int] = (),
) -> Match:
    """The match of an image's bands with a model's.

    `wanted` overrules what would be found: for each band of the image, or of one of its dates, a
    name of `labels(card)`, `EXTRA` or `NOT_USED`. `frames` numbers the bands' dates.

    Raises TilthError where the match makes no sense: no band or too few match, a name is none of
    the model's, two bands are one of the model's, an extra band lies nowhere.
    """
    plain = [Band(re.sub(r" \(\d+\)$", "", band.name), band.wavelength_nm) for band in bands]
    dates = _dates(card, frames)
    places = [
        [place for place in range(len(bands)) if not frames or frames[place] == date]
        for date in dates
    ]
    told = _told(card, wanted, bands, places)
    if card.bands:
        found, used = _paired(card, plain, places, told)
    else:
        found, used = _free(card, bands, told), []
    names = labels(card)
    chosen = []
    for place in range(len(bands)):
        index = found.get(place)
        chosen.append(names[index] if index is not None else EXTRA if place in found else NOT_USED)
    return Match(
        tuple(found.get(place) for place in range(len(bands))) if card.bands else (),
        tuple(place for place in range(len(bands)) if place not in found),
        tuple(chosen),
        tuple(names),
        summary_of(card, len(found), len(bands), frames),
        tuple(lines_of(card, bands, found, used, frames, dates)),
    )


def _dates(card: Card, frames: Sequence[int]) -> list[int]:
    """The dates that the model sees: all, or as many as it takes, spread over them evenly."""
    count = max(frames, default=0) + 1
    limit = card.several_dates if card.bands else count
    if count <= limit:
        return list(range(count))
    return [math.floor((index + 0.5) * count / limit) for index in range(limit)]


def _told(
    card: Card, wanted: Sequence[str], bands: Sequence[Band], places: Sequence[Sequence[int]]
) -> dict[int, int | None] | None:
    """What the user says of each band that is used: a card's band or None for an extra one."""
    if not wanted:
        return None
    first = places[0]
    if len(wanted) not in (len(bands), len(first)):
        raise TilthError(
            f"matching: {len(wanted)} entries for {len(bands)} bands; give one for each band"
        )
    whole = len(wanted) == len(bands)
    told: dict[int, int | None] = {}
    group = _spoken_group(card, wanted)
    for date in places:
        taken: dict[int, int] = {}
        for rank, place in enumerate(_ordered(bands, date)):
            word = wanted[place if whole else first.index(_ordered(bands, first)[rank])].strip()
            if word == NOT_USED:
                continue
            told[place] = index = None if word == EXTRA else _index(card, word, group)
            if index is None:
                continue
            if index in taken:
                raise TilthError(
                    f"matching: {bands[taken[index]].name} and {bands[place].name} are both said "
                    f"to be {labels(card)[index]}; choose one of them"
                )
            taken[index] = place
    return told


def _ordered(bands: Sequence[Band], places: Sequence[int]) -> list[int]:
    """One date's bands in an order that is the same for each."""
    return sorted(places, key=lambda place: (bands[place].wavelength_nm or 0.0, bands[place].name))


def _spoken_group(card: Card, wanted: Sequence[str]) -> str:
    """The group that most of the names belong to: it decides where a name is in several."""
    spoken = {_key(word) for word in wanted}
    count: dict[str, int] = {}
    for band in card.bands:
        if {_key(band.name), _key(f"{band.group} {band.name}")} & spoken:
            count[band.group] = count.get(band.group, 0) + 1
    return max(count, key=lambda name: count[name], default="")


def _index(card: Card, word: str, group: str) -> int:
    """The card's band of a name, with or without its group."""
    found = [
        index
        for index, band in enumerate(card.bands)
        if _key(word) in (_key(band.name), _key(f"{band.group} {band.name}"))
    ]
    if not found:
        names = f"one of {', '.join(labels(card))}, " if card.bands else ""
        raise TilthError(
            f"matching: {word!r} is no band of {card.title}; give {names}nothing for a band that "
            f"is not used, or {EXTRA} for one that it takes in all the same"
        )
    return min(found, key=lambda index: card.bands[index].group != group)


def _key(word: str) -> str:
    """What spellings of a band's name have in common: B02, b2 and B-2 are one."""
    return re.sub(r"(?<=[a-z])0+(?=[1-9])", "", re.sub(r"[^a-z0-9]", "", word.lower()))


def _free(
    card: Card, bands: Sequence[Band], told: dict[int, int | None] | None
) -> dict[int, int | None]:
    """The bands used by a model that has no bands of its own and takes any."""
    found: dict[int, int | None] = dict.fromkeys(range(len(bands))) if told is None else told
    if not found:
        raise TilthError(f"matching: no band is left for {card.title}; use some")
    return found


def _paired(
    card: Card,
    bands: Sequence[Band],
    places: Sequence[Sequence[int]],
    told: dict[int, int | None] | None,
) -> tuple[dict[int, int | None], list[int]]:
    """What each used band of the image is, and the card's bands in the groups that are used."""
    if told is None:
        groups = _fitting(card, bands, places[0])
        usable = [index for index, band in enumerate(card.bands) if band.group in groups]
        found: dict[int, int | None] = {}
        for date in places:
            found.update(_pairs(card, usable, bands, date))
            found.update(dict.fromkeys(_any(card, bands, date, found)))
    else:
        found = dict(told)
        _refuse_extras(card, bands, found)
        groups = {card.bands[index].group for index in found.values() if index is not None}
    first = {index for place, index in found.items() if place in places[0]}
    for group in sorted(groups):
        members = [index for index, band in enumerate(card.bands) if band.group == group]
        if len(first & set(members)) < math.ceil(len(members) / 5):
            groups = groups - {group}
            found = {place: index for place, index in found.items() if index not in members}
    if not groups and not (card.any_bands and found):
        raise TilthError(refusal(card, bands))
    return found, [index for index, band in enumerate(card.bands) if band.group in groups]


def _fitting(card: Card, bands: Sequence[Band], places: Sequence[int]) -> set[str]:
    """The groups to use: of those that share bands, the one that fits best."""
    groups = list(dict.fromkeys(band.group for band in card.bands))
    members = {g: [i for i, band in enumerate(card.bands) if band.group == g] for g in groups}

    def fit(group: str) -> tuple[int, int, float]:
        pairs = _pairs(card, members[group], bands, places)
        gaps = [_gap(card.bands[index], bands[place]) or 0.0 for place, index in pairs.items()]
        return len(pairs), len(pairs) - len(members[group]), -sum(gaps)

    fits = {group: fit(group) for group in groups}
    chosen: set[str] = set()
    rest = [group for group in groups if fits[group][0]]
    while rest:
        best = max(rest, key=lambda group: fits[group])
        chosen.add(best)
        rest = [
            group
            for group in rest
            if group != best and not _share(card, members[group], members[best])
        ]
    return chosen


def _share(card: Card, one: Sequence[int], other: Sequence[int]) -> bool:
    """Whether two groups have a band in common."""
    return any(same_band(card.bands[a], card.bands[b]) for a in one for b in other)


def _pairs(
    card: Card, usable: Sequence[int], bands: Sequence[Band], places: Sequence[int]
) -> dict[int, int]:
    """The card's band for each of the image's that has one: nearest first, each used once."""
    ranked = sorted(
        (gap, index, place)
        for index in usable
        for place in places
        if (gap := _gap(card.bands[index], bands[place])) is not None
    )
    found: dict[int, int] = {}
    for _, index, place in ranked:
        if place not in found and index not in found.values():
            found[place] = index
    return found


def _gap(model: ModelBand, image: Band) -> float | None:
    """How far apart two bands are: in nm, or by name where a wavelength is unknown; None: not one.

    The same name makes bands a little nearer, where wavelengths leave it open.
    """
    band = Band(model.name, model.wavelength_nm)
    same = whole_key(band) == whole_key(image) != ""
    if band.wavelength_nm is not None and image.wavelength_nm is not None:
        if not compatible(band, image):
            return None
        return abs(band.wavelength_nm - image.wavelength_nm) + (0.0 if same else 1.0)
    if same:
        return 0.0
    alike = any(key(band) == key(image) != "" for key in (code_key, colour_key))
    return 1.0 if alike else None


def _any(
    card: Card, bands: Sequence[Band], places: Sequence[int], found: dict[int, int | None]
) -> list[int]:
    """Further bands that a model for any bands takes in by their wavelength, unasked."""
    if not card.any_bands:
        return []
    return [p for p in places if p not in found and sunlit(bands[p].wavelength_nm)]


def _refuse_extras(card: Card, bands: Sequence[Band], found: dict[int, int | None]) -> None:
    """Raise TilthError for extra bands that the model can't take in."""
    for place, index in found.items():
        if index is None and card.architecture in _OWN_ALONE:
            raise TilthError(
                f"matching: {card.title} takes in no other bands than its own; leave out "
                f"{bands[place].name}, or say which band it is"
            )
        if index is None and bands[place].wavelength_nm is None:
            raise TilthError(
                f"matching: {bands[place].name} has no wavelength, so no band of {card.title} is "
                "the nearest to take the weights of; leave it out, or say which band it is"
            )
