"""Which band is which: names and centre wavelengths, from whatever a file tells about them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import TilthError

# In nm, as all wavelengths here: reflected sunlight, not the earth's own radiation.
SUNLIGHT = (300.0, 3000.0)
# Centre wavelengths in nm.
SENTINEL2 = {
    "B1": 442.7,
    "B2": 492.4,
    "B3": 559.8,
    "B4": 664.6,
    "B5": 704.1,
    "B6": 740.5,
    "B7": 782.8,
    "B8": 832.8,
    "B8A": 864.7,
    "B9": 945.1,
    "B10": 1373.5,
    "B11": 1613.7,
    "B12": 2202.4,
}
LANDSAT8 = {
    "B1": 443.0,
    "B2": 482.0,
    "B3": 561.4,
    "B4": 654.6,
    "B5": 864.7,
    "B6": 1608.9,
    "B7": 2200.7,
    "B8": 589.5,
    "B9": 1373.4,
    "B10": 10895.0,
    "B11": 12005.0,
}
LANDSAT7 = {  # and 4 and 5, whose bands have these numbers too
    "B1": 485.0,
    "B2": 560.0,
    "B3": 660.0,
    "B4": 835.0,
    "B5": 1650.0,
    "B6": 11450.0,
    "B7": 2220.0,
    "B8": 710.0,
}
COLOURS = {
    "coastal": 443.0,
    "blue": 485.0,
    "green": 560.0,
    "yellow": 605.0,
    "red": 660.0,
    "rededge": 710.0,
    "rededge1": 704.1,
    "rededge2": 740.5,
    "rededge3": 782.8,
    "nir": 840.0,
    "nir1": 835.0,
    "nir2": 950.0,
    "nir08": 864.7,
    "narrownir": 864.7,
    "nirnarrow": 864.7,
    "watervapour": 945.0,
    "cirrus": 1374.0,
    "swir1": 1610.0,
    "swir16": 1610.0,
    "swir2": 2200.0,
    "swir22": 2200.0,
}
# Words without a wavelength that still name a band.
_OTHER_WORDS = ("vv", "vh", "hh", "hv", "pan", "thermal", "tir", "ndvi", "dem", "height")
_ALIASES = {
    "coastalaerosol": "coastal",
    "ultrablue": "coastal",
    "aerosol": "coastal",
    "nearinfrared": "nir",
    "nearir": "nir",
    "infrared": "nir",
    "watervapor": "watervapour",
    "swir": "swir1",
    "elevation": "dem",
    "dsm": "dem",
    "dtm": "dem",
    "srtm": "dem",
    "r": "red",
    "g": "green",
    "b": "blue",
    "n": "nir",
}
_CODE = re.compile(r"(?<![a-z0-9])(?:s[rt]_)?b(?:and)?[ _]?(8a|0?[1-9]|1[0-3])(?![a-z0-9])", re.I)
_PLAIN_NUMBER = re.compile(r"(?:band|layer|channel)?[ _:#]*\d+", re.I)
_LENGTH = re.compile(
    r"(\d+(?:\.\d+)?)\s*(nm|nanometers?|nanometres?|um|µm|μm|micrometers?|micrometres?|microns?)"
    r"(?![a-z])",
    re.I,
)
_LENGTH_KEYS = (
    "wavelength",
    "wavelength_nm",
    "wavelength_um",
    "central_wavelength",
    "center_wavelength",
    "centre_wavelength",
    "central_wavelength_nm",
    "central_wavelength_um",
)
_SENSOR_KEY = re.compile(r"sensor|satellite|spacecraft|platform|product|scene|mission|instrument")
_NAME_KEYS = ("description", "band_name", "bandname", "band", "name", "long_name", "common_name")


@dataclass(frozen=True)
class Band:
    """One channel: its name and, where known, its centre wavelength in nm."""

    name: str
    wavelength_nm: float | None = None

    @property
    def named(self) -> bool:
        """Whether the name says more than a position (``Band 3`` does not)."""
        return bool(self.name) and not _PLAIN_NUMBER.fullmatch(self.name.strip())

    def text(self) -> str:
        """The band for people: ``B4 red (665 nm)``."""
        if self.wavelength_nm is None:
            return self.name
        return f"{self.name} ({self.wavelength_nm:.0f} nm)"

    def to_json(self) -> dict[str, object]:
        """The entry for cards and results."""
        return {"name": self.name, "wavelength_nm": self.wavelength_nm}


@dataclass(frozen=True)
class BandFacts:
    """What a file tells about one of its bands; every entry may be empty.

    ``tags`` are the band's metadata items of every domain that we read, keys in lower case.
    ``colour`` is GDAL's colour interpretation in lower case, ``path`` the file's name.
    """

    description: str = ""
    tags: Mapping[str, str] | None = None
    colour: str = ""


def recognise(
    facts: Sequence[BandFacts],
    *,
    path: str = "",
    dtype: str = "",
    tags: Mapping[str, str] | None = None,
) -> list[Band]:
    """The bands of one file, from the most reliable source that each has.

    ``tags`` are the metadata of the whole file (keys in lower case); ``path`` is used where the
    bands themselves are silent: ``T31UFS_20230501_B8A_20m.jp2``.
    """
    texts = [_name_text(fact) for fact in facts]
    sensor = _sensor(texts, path, tags or {})
    if sensor is None:
        # "Band 4" of no known sensor is a position, not a name.
        texts = ["" if _PLAIN_NUMBER.fullmatch(text) else text for text in texts]
    if not any(texts):
        texts = _texts_from_path(path, len(facts))
    if not any(texts) and any(fact.colour in ("red", "green", "blue") for fact in facts):
        texts = [_colour_name(fact.colour) for fact in facts]
        if len(texts) == 4 and not texts[3]:
            texts[3] = "NIR"
    if not any(texts) and dtype == "uint8" and len(facts) in (3, 4):
        texts = ["Red", "Green", "Blue", "NIR"][: len(facts)]
    table = sensor if sensor is not None else _likely_sensor(texts)
    lengths = [_wavelength_from_tags(fact.tags or {}) for fact in facts]
    if not any(lengths):
        lengths = _envi_list(tags or {}, len(facts))
    bands = []
    for number, (text, length) in enumerate(zip(texts, lengths, strict=True), 1):
        name = _clean(text) or f"Band {number}"
        bands.append(Band(name, length or _wavelength_from_text(text, table)))
    return unique(bands)


def unique(bands: Sequence[Band]) -> list[Band]:
    """The bands with names that differ: the second ``B4`` becomes ``B4 (2)``."""
    seen: dict[str, int] = {}
    result = []
    for position, band in enumerate(bands, 1):
        name = band.name if band.named else f"Band {position}"
        seen[name] = seen.get(name, 0) + 1
        suffix = f" ({seen[name]})" if seen[name] > 1 else ""
        result.append(Band(name + suffix, band.wavelength_nm))
    return result


def match(wanted: Sequence[Band], found: Sequence[Band]) -> list[int]:
    """The 0-based positions in ``found`` of the ``wanted`` bands, each used once.

    By name where both sides have names (and their wavelengths, where known, do not contradict),
    then by wavelength within 30 nm or 4 %, and by position where nothing is known of the rest on
    either side and their numbers agree. Raises TilthError, naming both sides, otherwise.
    """
    chosen: dict[int, int] = {}
    for key in (whole_key, code_key, colour_key):
        _match_by_key(wanted, found, key, chosen)
    _match_by_wavelength(wanted, found, chosen)
    rest = [index for index in range(len(wanted)) if index not in chosen]
    free = [index for index in range(len(found)) if index not in chosen.values()]
    unknown = all(_unknown(wanted[index]) for index in rest) and all(
        _unknown(found[index]) for index in free
    )
    if rest and unknown and len(rest) == len(free):
        chosen.update(zip(rest, free, strict=True))
    elif rest:
        raise TilthError(_mismatch_text(wanted, found, rest))
    return [chosen[index] for index in range(len(wanted))]


def _mismatch_text(wanted: Sequence[Band], found: Sequence[Band], rest: Sequence[int]) -> str:
    lacking = ", ".join(wanted[index].text() for index in rest)
    return (
        f"bands: the image lacks {lacking}; wanted are {', '.join(b.text() for b in wanted)}; "
        f"the image has {', '.join(b.text() for b in found)}; choose an image with these bands, "
        "or name its bands"
    )


def _match_by_key(wanted, found, key, chosen: dict[int, int]) -> None:
    """Add the pairs whose keys are equal, unique on both sides, and not contradictory."""
    rest = [index for index in range(len(wanted)) if index not in chosen]
    free = [index for index in range(len(found)) if index not in chosen.values()]
    for index in rest:
        value = key(wanted[index])
        if not value or sum(key(wanted[other]) == value for other in rest) > 1:
            continue
        partners = [other for other in free if key(found[other]) == value]
        if len(partners) == 1 and compatible(wanted[index], found[partners[0]]):
            chosen[index] = partners[0]


def _match_by_wavelength(wanted, found, chosen: dict[int, int]) -> None:
    pairs = sorted(
        (abs(a.wavelength_nm - b.wavelength_nm), i, j)
        for i, a in enumerate(wanted)
        for j, b in enumerate(found)
        if a.wavelength_nm is not None and b.wavelength_nm is not None and compatible(a, b)
    )
    used = set(chosen.values())
    for _, i, j in pairs:
        if i not in chosen and j not in used:
            chosen[i] = j
            used.add(j)


def sunlit(wavelength: float | None) -> bool:
    """Whether a surface in the sun reflects more than it radiates at a wavelength in nm."""
    return wavelength is not None and SUNLIGHT[0] <= wavelength <= SUNLIGHT[1]


def compatible(a: Band, b: Band) -> bool:
    """Whether two bands' wavelengths, where both are known, allow that they are one band."""
    if a.wavelength_nm is None or b.wavelength_nm is None:
        return True
    tolerance = max(30.0, 0.04 * max(a.wavelength_nm, b.wavelength_nm))
    return abs(a.wavelength_nm - b.wavelength_nm) <= tolerance


def _unknown(band: Band) -> bool:
    return band.wavelength_nm is None and not band.named


def whole_key(band: Band) -> str:
    """The letters and digits of the band's name, "" for one without a name."""
    return re.sub(r"[^a-z0-9]", "", band.name.lower()) if band.named else ""


def code_key(band: Band) -> str:
    """``B4`` for a band called ``B04`` or ``SR_B4``, "" where there is no code."""
    return _code(band.name) if band.named else ""


def colour_key(band: Band) -> str:
    """The colour, polarisation or other known word in the band's name, or ""."""
    return _colour(band.name) if band.named else ""


def _name_text(fact: BandFacts) -> str:
    """The text that best names the band: description first, then the tags."""
    texts = [fact.description or ""]
    texts += [str((fact.tags or {}).get(key, "")) for key in _NAME_KEYS]
    texts = [text.strip() for text in texts if text and text.strip()]
    telling = [text for text in texts if _code(text) or _colour(text)]
    for text in telling + texts:
        if not _PLAIN_NUMBER.fullmatch(text) or _code(text):
            return text
    return ""


def _texts_from_path(path: str, count: int) -> list[str]:
    stem = Path(path.replace("\\", "/")).stem
    codes = [_canonical(code) for code in _CODE.findall(stem.replace("_", " "))]
    if len(codes) == count and len(set(codes)) == count:
        return codes
    if count == 1:
        for word in reversed(re.split(r"[^A-Za-z0-9]+", stem)):
            known = word.lower() in COLOURS or word.lower() in _OTHER_WORDS
            if known and len(word) > 1:
                return [word]
    return [""] * count


def _colour_name(colour: str) -> str:
    return colour.capitalize() if colour in ("red", "green", "blue") else ""


def _canonical(code: str) -> str:
    return "B" + (code.lstrip("0").upper() or "0")


def _code(text: str) -> str:
    """``B4`` of ``B04``, ``SR_B4``, ``Band 4`` or ``B4 red``; empty where there is none."""
    found = _CODE.search(text)
    return _canonical(found.group(1)) if found else ""


def _colour(text: str) -> str:
    """The colour word in a text, or an empty one."""
    bare = re.sub(r"\(.*?\)", " ", text.lower())
    joined = re.sub(r"[^a-z0-9]", "", _CODE.sub(" ", bare))
    for candidate in (joined, *reversed(re.split(r"[^a-z0-9]+", bare))):
        word = _ALIASES.get(candidate, candidate)
        if word in COLOURS or (word in _OTHER_WORDS):
            return word
    return ""


def _clean(text: str) -> str:
    """The name without its wavelength in brackets, on one line and not endless."""
    bare = re.sub(r"\(([^)]*)\)", lambda m: "" if _LENGTH.search(m.group(1)) else m.group(0), text)
    return " ".join(bare.split())[:80]


def _sensor(texts: Sequence[str], path: str, tags: Mapping[str, str]) -> dict[str, float] | None:
    """The table of band codes of the sensor that the file names, or None."""
    words = [Path(path.replace("\\", "/")).name, *texts]
    words += [str(value) for key, value in tags.items() if _SENSOR_KEY.search(key)]
    hints = " ".join(words).lower().replace("_", " ")
    if re.search(r"landsat[ -]?[457]\b|\bl[te]0[457]\b|\betm\b", hints):
        return LANDSAT7
    if re.search(r"landsat|\blc0[89]\b|\boli\b|\bs[rt] b\d", hints):
        return LANDSAT8
    if re.search(r"sentinel[ -]?2|\bs2[abc]\b|\bmsi|\bb0[1-9]\b", hints):
        return SENTINEL2
    return None


def _likely_sensor(texts: Sequence[str]) -> dict[str, float]:
    """The table that the codes themselves suggest, where no sensor is named."""
    codes = {_code(text) for text in texts}
    if codes & {"B8", "B8A", "B9", "B11", "B12"}:
        return SENTINEL2
    return LANDSAT8 if codes & {"B5", "B6", "B7"} else SENTINEL2


def _wavelength_from_tags(tags: Mapping[str, str]) -> float | None:
    units = str(tags.get("wavelength_units", tags.get("wavelength_unit", "")))
    for key in _LENGTH_KEYS:
        text = str(tags.get(key, "")).strip()
        if not text:
            continue
        found = re.match(r"[-+]?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?", text)
        if found:
            unit = units or ("um" if key.endswith("_um") else "nm" if key.endswith("_nm") else "")
            length = _nanometres(float(found.group(0)), unit or text[found.end() :])
            if length is not None:
                return length
    return None


def _envi_list(tags: Mapping[str, str], count: int) -> list[float | None]:
    """The wavelengths of an ENVI header's list, where it has one for every band."""
    text = str(tags.get("wavelength", "")).strip(" {}")
    try:
        values = [float(part) for part in text.split(",") if part.strip()]
    except ValueError:
        values = []
    if len(values) != count:
        return [None] * count
    return [_nanometres(value, str(tags.get("wavelength_units", ""))) for value in values]


def _nanometres(value: float, unit: str) -> float | None:
    """The length in nm. A unit that is not stated is told by the size of the number."""
    unit = unit.strip().lower()
    if unit.startswith(("nano", "nm")):
        length = value
    elif unit.startswith(("micro", "um", "µm", "μm")):
        length = value * 1000
    elif unit in ("", "unknown"):
        length = value * 1000 if value < 30 else value
    else:  # wave numbers, GHz, band indices: no length
        return None
    return round(length, 3) if 100 <= length <= 20000 else None


def _wavelength_from_text(text: str, sensor: Mapping[str, float]) -> float | None:
    found = _LENGTH.search(text)
    if found:
        return _nanometres(float(found.group(1)), found.group(2))
    code, colour = _code(text), _colour(text)
    return sensor.get(code) if code else COLOURS.get(colour)
