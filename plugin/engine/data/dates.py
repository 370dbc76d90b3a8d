"""Dates of images: when each file of a stack was taken, and which of its bands are of which date.

A file's date is, in this order: what its metadata say of the acquisition, the first date in its
name, any date in the metadata, the date of the TIFF itself (which may be that of a later
processing).
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..errors import TilthError
from .bands import Band
from .source import Source

# What Landsat's, Sentinel-2's and commercial products call the day of acquisition, in lower case.
_ACQUIRED = (
    "acquisitiondatetime",
    "acquisition_datetime",
    "acquisition_date",
    "date_acquired",
    "datatake_1_datatake_sensing_start",
    "sensing_time",
    "product_start_time",
    "timestart",
    "time_start",
)
_YEAR = r"(?<!\d)((?:19|20)\d\d)"
_DAY = re.compile(_YEAR + r"([-_.:]?)(\d\d)\2(\d\d)(?=\d{6}(?!\d)|(?!\d))")
_DAY_OF_YEAR = re.compile(_YEAR + r"[-_.]?(\d{3})(?!\d)")
_MONTH = re.compile(_YEAR + r"[-_.]?(\d\d)(?!\d)")
_YEAR_ALONE = re.compile(_YEAR + r"(?!\d)")


def date_in(text: str) -> str:
    """The first date in a text as ISO, "" where there is none.

    Days (20200615, 2020-06-15, 20200615T105031, 2020167) come before months (202006: their 15th)
    and these before years (2020: the 1st of July).
    """
    for found in _DAY.finditer(text):
        day = _day(int(found[1]), int(found[3]), int(found[4]))
        if day:
            return day
    for found in _DAY_OF_YEAR.finditer(text):
        if 1 <= int(found[2]) <= 366:
            start = datetime.date(int(found[1]), 1, 1)
            return (start + datetime.timedelta(int(found[2]) - 1)).isoformat()
    for found in _MONTH.finditer(text):
        day = _day(int(found[1]), int(found[2]), 15)
        if day:
            return day
    years = _YEAR_ALONE.search(text)
    return _day(int(years[1]), 7, 1) if years else ""


def date_of(path: str, tags: Mapping[str, str]) -> str:
    """The ISO date of a file, "" where unknown; `tags` are its metadata, keys in lower case."""
    told = [tags[key] for key in _ACQUIRED if key in tags]
    rest = [tags.get(key, "") for key in ("date", "datetime", "tifftag_datetime")]
    for text in (*told, Path(path).stem, *rest):
        day = date_in(text)
        if day:
            return day
    return ""


def source_date(source: Source) -> str:
    """The ISO date of an open file, "" where unknown."""
    origin = source.parents[0] if source.parents else source.dataset
    tags = {**origin.tags(ns="IMAGERY"), **origin.tags()}
    return date_of(source.path, {key.lower(): value for key, value in tags.items()})


def in_date_order(sources: Sequence[Source]) -> list[Source]:
    """A stack's files by date where they are a series of dates, else as they were given.

    So a band's number doesn't depend on the order in which somebody picked the files, and a model
    that was trained on a series finds the same dates in another.
    """
    days = [source_date(source) for source in sources]
    numbers = [number for number, source in enumerate(sources) for _ in source.bands]
    bands = [band for source in sources for band in source.bands]
    frames, _ = frames_of(numbers, bands, days)
    if not frames:
        return list(sources)
    return [sources[number] for number in sorted(range(len(sources)), key=days.__getitem__)]


def frames_of(
    files: Sequence[int], bands: Sequence[Band], days: Sequence[str]
) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """The date number of each band, in the order of time, and the dates, as `Inputs` has them.

    `files` is the number of the file that each band comes from, `bands` are the bands as the files
    name them, `days` has each file's ISO date or "". The bands are a series where every file has
    a date, there are two or more, and the same bands are there for each (in one file or several).
    Where they are none the frames are (), and the dates hold the one that all files share, or ().
    """
    own = [days[file] for file in files]
    dates = tuple(sorted(set(own)))
    if len(dates) < 2:
        return (), tuple(date for date in dates if date)
    keys = [
        sorted(_key(band) for band, day in zip(bands, own, strict=True) if day == date)
        for date in dates
    ]
    if not dates[0] or any(key != keys[0] for key in keys):
        return (), ()
    return tuple(dates.index(day) for day in own), dates


def checked(days: Sequence[str], count: int) -> list[str]:
    """Dates that a person gave for `count` files or dates, as ISO.

    Raises TilthError where they aren't as many, or one is no date.
    """
    if len(days) != count:
        raise TilthError(f"dates: {len(days)} are given for {count}; give one for each")
    result = []
    for text in days:
        try:
            result.append(datetime.date.fromisoformat(text.strip()).isoformat())
        except ValueError:
            raise TilthError(f"dates: {text!r} is no date; write it as 2024-06-15") from None
    return result


def _key(band: Band) -> tuple[str, float]:
    """What two files' bands must agree in. A name that says a date doesn't tell them apart."""
    name = re.sub(r"\d{4}[-_.:]?\d\d[-_.:]?\d\d(T\d{6})?", "", band.name).strip(" _-.").lower()
    return name, band.wavelength_nm or 0.0


def _day(year: int, month: int, day: int) -> str:
    """An ISO date, "" where the calendar has none."""
    try:
        return datetime.date(year, month, day).isoformat()
    except ValueError:
        return ""
