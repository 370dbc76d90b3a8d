"""The learning curves as one picture: a plain SVG, written without a drawing library."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from curves import Cell, cells_of

SIZES = (1, 3, 10, 30)
ACROSS = 6  # panels: two of each scene, side by side
WIDTH, HEIGHT = 205, 185
LEFT, TOP, RIGHT, BOTTOM = 36, 38, 10, 30  # margins inside a panel
LEGEND = 64
# By setup: colour (Okabe and Ito's, which colour-blind people tell apart), width and dashes.
STYLES = {
    "tilth": ("#0072b2", 2.6, ""),
    "alone": ("#56b4e9", 1.6, "5 3"),
    "random-backbone": ("#cc79a7", 1.6, "2 2"),
    "forest": ("#000000", 1.8, ""),
    "forest-3": ("#d55e00", 1.3, ""),
    "forest-5": ("#e69f00", 1.3, ""),
    "extra-trees": ("#009e73", 1.3, ""),
    "boosting": ("#999999", 1.3, ""),
}
OTHER = ("#b8a000", 1.3, "7 3")


def plot(rows: Sequence[dict[str, Any]]) -> str:
    """The SVG's text: a panel for each scene and split, a line for each setup."""
    cells = cells_of(rows)
    scenes = list(dict.fromkeys(cell.scene for cell in cells))
    names = {row["setup"] for row in rows}
    setups = [name for name in STYLES if name in names] + sorted(names - set(STYLES))
    below = math.ceil(2 * len(scenes) / ACROSS) * HEIGHT
    parts = []
    for number, scene in enumerate(scenes):
        mine = [cell for cell in cells if cell.scene == scene]
        low, high = _range(mine, setups)
        for side, split in enumerate(("polygon", "region")):
            row, column = divmod(2 * number + side, ACROSS)
            there = [cell for cell in mine if cell.split == split]
            panel = _panel(f"{scene}, by {split}", there, setups, low, high)
            parts.append(f'<g transform="translate({column * WIDTH},{row * HEIGHT})">{panel}</g>')
    parts.append(f'<g transform="translate(0,{below})">{_legend(setups)}</g>')
    width, height = ACROSS * WIDTH, below + LEGEND
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            f'width="{width}" height="{height}" font-family="sans-serif" font-size="11">'
            f'<rect width="{width}" height="{height}" fill="#ffffff"/>'
            + "\n".join(parts) + "</svg>\n")  # fmt: skip


def _range(cells: Sequence[Cell], setups: Sequence[str]) -> tuple[float, float]:
    """The range of scores, in whole tenths."""
    values = [cell.mean(name) for cell in cells for name in setups if name in cell.rows]
    low, high = math.floor(min(values) * 10) / 10, math.ceil(max(values) * 10) / 10
    return low, max(high, low + 0.1)


def _panel(
    title: str, cells: Sequence[Cell], setups: Sequence[str], low: float, high: float
) -> str:
    """One pair of axes with its lines; x is the size in equal steps, y the macro-F1."""
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    parts = [f'<text x="{LEFT}" y="{TOP - 10}" font-weight="bold" font-size="10">{title}</text>']
    steps = round((high - low) * 10)
    for step in range(0, steps + 1, 1 if steps <= 5 else 2):
        value = low + step / 10
        y = _y(value, low, high)
        parts.append(f'<path d="M{LEFT} {y:.1f}H{right}" stroke="#dddddd"/>')
        parts.append(_text(LEFT - 5, y + 4, f"{value:.1f}", "end"))
    for size in SIZES:
        parts.append(_text(_x(size), bottom + 15, str(size), "middle"))
    for name in reversed(setups):  # the first on top
        colour, width, dashes = STYLES.get(name, OTHER)
        points = [(_x(cell.size), _y(cell.mean(name), low, high)) for cell in cells
                  if name in cell.rows]  # fmt: skip
        if points:
            line = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
            dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.4" fill="{colour}"/>'
                           for x, y in points)  # fmt: skip
            parts.append(f'<path d="M{line}" fill="none" stroke="{colour}" '
                         f'stroke-width="{width}" stroke-dasharray="{dashes}"/>{dots}')  # fmt: skip
    return "".join(parts)


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{text}</text>'


def _x(size: int) -> float:
    room = WIDTH - LEFT - RIGHT
    return LEFT + room * (0.08 + 0.84 * SIZES.index(size) / (len(SIZES) - 1))


def _y(value: float, low: float, high: float) -> float:
    return TOP + (HEIGHT - TOP - BOTTOM) * (high - value) / (high - low)


def _legend(setups: Sequence[str]) -> str:
    parts = [_text(LEFT, 16, "Macro-F1 (mean over the seeds) by training polygons a class")]
    x = LEFT
    for name in setups:
        colour, width, dashes = STYLES.get(name, OTHER)
        parts.append(f'<path d="M{x} 38h26" stroke="{colour}" stroke-width="{width}" '
                     f'stroke-dasharray="{dashes}"/>' + _text(x + 32, 42, name))  # fmt: skip
        x += 52 + 7 * len(name)
    return "".join(parts)
