"""Colours for classes that come without one, told apart by colour-blind people too."""

from __future__ import annotations

import colorsys
import itertools
import re
from collections.abc import Sequence

# Okabe and Ito's eight without black, then Paul Tol's muted ones that differ from these.
_PALETTE = (
    "#e69f00",
    "#56b4e9",
    "#009e73",
    "#f0e442",
    "#0072b2",
    "#d55e00",
    "#cc79a7",
    "#332288",
    "#999933",
    "#882255",
    "#44aa99",
    "#ddcc77",
    "#aa4499",
    "#117733",
)
BACKGROUND = "#bbbbbb"
_HEX = re.compile(r"#[0-9a-fA-F]{6}")


def is_colour(text: str) -> bool:
    """Whether the text is ``#rrggbb``."""
    return bool(_HEX.fullmatch(text))


def hex_colour(red: int, green: int, blue: int) -> str:
    """``#rrggbb`` of three bytes."""
    return f"#{red:02x}{green:02x}{blue:02x}"


# What mappers are used to, for names that say what a class is: the first word that is found counts.
_USUAL = (
    (("background",), BACKGROUND),
    (("water", "lake", "river", "sea", "ocean", "reservoir"), "#3b78c2"),
    (("wetland", "marsh", "bog", "swamp", "mangrove"), "#58a6a6"),
    (("conifer", "evergreen", "needleleaf"), "#1f5c38"),
    (("forest", "wood", "tree", "broadleaf", "deciduous"), "#2f8f46"),
    (("shrub", "scrub", "heath", "bush"), "#9a9a4b"),
    (("grass", "meadow", "pasture", "herbaceous"), "#a6d06b"),
    (("crop", "arable", "field", "cultivated", "agri", "farm"), "#e8c95a"),
    (("urban", "built", "building", "town", "city", "developed", "settlement", "roof"), "#d1495b"),
    (("road", "asphalt", "paved"), "#6f6f78"),
    (("bare", "soil", "barren", "rock", "sand", "quarry"), "#b08d6a"),
    (("snow", "ice", "glacier"), "#dfeff7"),
    (("burn", "fire"), "#5b2a28"),
    (("cloud",), "#f4f4f4"),
    (("shadow",), "#3a3a4a"),
)


def usual(name: str) -> str:
    """The colour that maps mostly give to a class of this name, or an empty text."""
    text = name.casefold()
    for keys, colour in _USUAL:
        if any(re.search(rf"\b{key}", text) for key in keys):
            return colour
    return ""


def spread(names: Sequence[str]) -> list[str]:
    """A colour for each class: the usual one of its name, where no class before has it."""
    result: list[str] = []
    others = (palette(position) for position in itertools.count())
    for name in names:
        colour = usual(name)
        while not colour or colour in result:
            colour = next(others)
        result.append(colour)
    return result


def palette(position: int) -> str:
    """The colour of the class at a 0-based position; never ends, and does not soon repeat."""
    if position < len(_PALETTE):
        return _PALETTE[position]
    turn = position - len(_PALETTE)
    hue = (0.13 + turn * 0.618033988749895) % 1.0
    light = (0.45, 0.65, 0.3)[turn % 3]
    red, green, blue = colorsys.hls_to_rgb(hue, light, 0.6)
    return hex_colour(round(red * 255), round(green * 255), round(blue * 255))
