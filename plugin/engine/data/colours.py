"""Colours for classes that come without one, told apart by colour-blind people too."""

from __future__ import annotations

import colorsys
import re

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


def palette(position: int) -> str:
    """The colour of the class at a 0-based position; never ends, and does not soon repeat."""
    if position < len(_PALETTE):
        return _PALETTE[position]
    turn = position - len(_PALETTE)
    hue = (0.13 + turn * 0.618033988749895) % 1.0
    light = (0.45, 0.65, 0.3)[turn % 3]
    red, green, blue = colorsys.hls_to_rgb(hue, light, 0.6)
    return hex_colour(round(red * 255), round(green * 255), round(blue * 255))
