"""The tables of the learning curves, with paired differences and 95 % intervals."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from classic import NAMES
from scipy.stats import t

Row = dict[str, Any]
TILTH = "tilth"
NOTE = """Macro-F1, mean over the seeds; differences are paired by seed, with 95 % t intervals over
the seeds. "Best classic" is the classic method with the highest mean over the seeds of that very
line, chosen after the fact. The generated scenes come from the generator that the embedded backbone
was pre-trained with."""
AVERAGES = """## Averages over the lines

Tilth minus another, the mean of the lines' means; the interval is over the lines, which share
scenes and polygons, and in the last row over the scenes."""


@dataclass
class Cell:
    """One line of the table: a scene, split and size, with the rows of each setup by seed."""

    scene: str
    split: str
    size: int
    rows: dict[str, dict[int, Row]] = field(default_factory=lambda: defaultdict(dict))

    def values(self, setup: str, what: str = "macro_f1") -> dict[int, float]:
        """A figure of a setup by seed."""
        rows = self.rows.get(setup, {})
        return {seed: row[what] for seed, row in rows.items() if what in row}

    def mean(self, setup: str, what: str = "macro_f1") -> float:
        """Its mean over the seeds; NaN where there is none."""
        return float(np.mean(list(self.values(setup, what).values()) or [math.nan]))

    def best_classic(self) -> str:
        """The classic method with the highest mean; "" where there is none."""
        there = [name for name in NAMES if name in self.rows]
        return max(there, key=self.mean, default="")

    def differences(self, other: str) -> np.ndarray:
        """Tilth minus another setup, for the seeds that both have."""
        mine, its = self.values(TILTH), self.values(other)
        return np.array([mine[seed] - its[seed] for seed in sorted(set(mine) & set(its))])


def cells_of(rows: Sequence[Row]) -> list[Cell]:
    """The cells of rows, by scene, split and size; real scenes first."""
    cells: dict[Any, Cell] = {}
    for row in rows:
        key = (row["scene"].startswith("generated"), row["scene"], row["split"], row["size"])
        cell = cells.setdefault(key, Cell(*key[1:]))
        cell.rows[row["setup"]][row["seed"]] = row
    return [cells[key] for key in sorted(cells)]


def report(rows: Sequence[Row]) -> str:
    """All tables, as Markdown."""
    cells = cells_of(rows)
    present = {row["setup"] for row in rows}
    classic = [name for name in NAMES if name in present]
    others = sorted(present - set(NAMES) - {TILTH})
    parts = [
        NOTE,
        _scores(cells, [*classic, TILTH, *others]),
        AVERAGES,
        _averages(cells, ["forest", "best classic", *others]),
        "## Tilth against its own parts and other setups",
        _against(cells, others),
        "## Expected calibration error",
        _calibration(cells, [*classic, TILTH, *others]),
        f"Commits: {', '.join(sorted({row['commit'] for row in rows}))}",
    ]
    return "\n\n".join(part for part in parts if part)


def interval(values: np.ndarray) -> str:
    """Mean and 95 % t interval, such as +0.031 (+0.010 to +0.052)."""
    if not len(values):
        return "–"
    mean = values.mean()
    if len(values) < 2:
        return f"{mean:+.3f} (one only)"
    half = t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values))
    return f"{mean:+.3f} ({mean - half:+.3f} to {mean + half:+.3f})"


def _scores(cells: Sequence[Cell], setups: Sequence[str]) -> str:
    head = [*setups, "best classic", "Tilth − forest", "Tilth − best classic"]

    def line(cell: Cell) -> list[str]:
        best = cell.best_classic()
        seeds = len(cell.values(TILTH)) or max(len(cell.rows[name]) for name in cell.rows)
        pairs = [interval(cell.differences(other)) for other in ("forest", best)]
        return [*(_figure(cell.mean(name)) for name in setups), best or "–", *pairs, str(seeds)]

    return _table(cells, [*head, "seeds"], line)


def _against(cells: Sequence[Cell], others: Sequence[str]) -> str:
    if not others:
        return ""

    def line(cell: Cell) -> list[str]:
        return [interval(cell.differences(other)) for other in others]

    return _table(cells, [f"Tilth − {other}" for other in others], line)


def _calibration(cells: Sequence[Cell], setups: Sequence[str]) -> str:
    """ECE of each setup; of Tilth's also without the temperature."""
    plain = [name for name in setups if any(c.values(name, "ece_uncalibrated") for c in cells)]

    def line(cell: Cell) -> list[str]:
        figures = [cell.mean(name, "ece") for name in setups]
        return [_figure(v) for v in
                (*figures, *(cell.mean(name, "ece_uncalibrated") for name in plain))]  # fmt: skip

    table = _table(cells, [*setups, *(f"{name}, temperature 1" for name in plain)], line)
    lines = []
    for name in plain:
        pairs = [(c.mean(name, "ece"), c.mean(name, "ece_uncalibrated")) for c in cells]
        known = np.array([pair for pair in pairs if not np.isnan(pair).any()]).reshape(-1, 2)
        lines.append(f"- {name}: {known[:, 0].mean():.3f}, with temperature 1 "
                     f"{known[:, 1].mean():.3f}; difference {interval(known[:, 0] - known[:, 1])} "
                     f"over {len(known)} lines")  # fmt: skip
    means = [f"{name} {np.nanmean([c.mean(name, 'ece') for c in cells]):.3f}" for name in setups]
    return "\n\n".join([table, f"Mean over the lines: {', '.join(means)}.", "\n".join(lines)])


def _averages(cells: Sequence[Cell], others: Sequence[str]) -> str:
    """One row for all cells, and for each kind of scene, split and size."""
    groups: dict[str, list[Cell]] = {"all": list(cells)}
    for cell in cells:
        kind = "generated scenes" if cell.scene.startswith("generated") else "real scenes"
        for name in (kind, f"split by {cell.split}", f"size {cell.size}"):
            groups.setdefault(name, []).append(cell)
    order = sorted(groups, key=lambda name: (name != "all", "size" in name, name))
    order.sort(key=lambda name: int(name[5:]) if name.startswith("size ") else 0)
    lines = []
    for name in order:
        figures = [interval(np.concatenate([_gap(c, other) for c in groups[name]]))
                   for other in others]  # fmt: skip
        lines.append([name, *figures, str(len(groups[name]))])
    scenes = sorted({cell.scene for cell in cells})
    figures = []
    for other in others:
        gaps = [np.concatenate([_gap(c, other) for c in cells if c.scene == s]) for s in scenes]
        figures.append(interval(np.array([gap.mean() for gap in gaps if len(gap)])))
    lines.append(["by scene", *figures, str(len(scenes))])
    return _markdown(["lines", *(f"Tilth − {other}" for other in others), "number"], lines)


def _gap(cell: Cell, other: str) -> np.ndarray:
    """Tilth minus another setup, mean over the seeds [1]; [0] where there is none."""
    gap = cell.differences(cell.best_classic() if other == "best classic" else other)
    return gap[:1] * 0 + gap.mean() if len(gap) else gap


def _table(cells: Sequence[Cell], head: list[str], line: Callable[[Cell], list[str]]) -> str:
    lines = [[cell.scene, cell.split, str(cell.size), *line(cell)] for cell in cells]
    return _markdown(["scene", "split", "size", *head], lines)


def _markdown(head: list[str], lines: list[list[str]]) -> str:
    texts = [head, ["---"] * len(head), *lines]
    return "\n".join("| " + " | ".join(text) + " |" for text in texts)


def _figure(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3f}"
