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
# The setup that others are compared with, if none is asked for.
TILTH = "tilth"
BEST = "best classic"
NOTE = """Macro-F1, mean over the seeds; differences are paired by seed, with 95 % t intervals over
the seeds. "Best classic" is the classic method with the highest mean over the seeds of that very
line, chosen after the fact. The generated scenes come from the generator that the embedded backbone
was pre-trained with."""
AVERAGES = """## Averages over the lines

{} minus another, the mean of the lines' means; the interval is over the lines, which share
scenes and polygons, and in the last row over the scenes."""


@dataclass
class Cell:
    """One line of the table: a scene, split and size, with the rows of each setup by seed.

    ``of`` is the setup whose differences from others are asked for.
    """

    scene: str
    split: str
    size: int
    of: str = TILTH
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

    def against(self, other: str) -> np.ndarray:
        """The setup `of` minus another, or `BEST`, for the seeds that both have."""
        other = self.best_classic() if other == BEST else other
        mine, its = self.values(self.of), self.values(other)
        return np.array([mine[seed] - its[seed] for seed in sorted(set(mine) & set(its))])


def cells_of(rows: Sequence[Row], of: str = TILTH) -> list[Cell]:
    """The cells of rows, by scene, split and size; real scenes first."""
    cells: dict[Any, Cell] = {}
    for row in rows:
        key = (row["scene"].startswith("generated"), row["scene"], row["split"], row["size"])
        cell = cells.setdefault(key, Cell(*key[1:], of))
        cell.rows[row["setup"]][row["seed"]] = row
    return [cells[key] for key in sorted(cells)]


def report(rows: Sequence[Row], of: str = TILTH) -> str:
    """All tables, as Markdown; the differences are those of the setup ``of`` from others."""
    cells = cells_of(rows, of)
    present = {row["setup"] for row in rows}
    classic = [name for name in NAMES if name in present]
    others = sorted(present - set(NAMES) - {of})
    setups, rivals = [*classic, of, *others], ["forest", BEST] if classic else []
    parts = [
        NOTE,
        _scores(cells, setups, rivals),
        AVERAGES.format(_title(of)),
        _averages(cells, [*rivals, *others]),
    ]
    if others:
        parts += [f"## {_title(of)} against other setups", _against(cells, others)]
    parts += ["## Expected calibration error", _calibration(cells, setups)]
    commits = sorted({row["commit"] for row in rows})
    return "\n\n".join([*parts, f"Commits: {', '.join(commits)}"])


def interval(values: np.ndarray) -> str:
    """Mean and 95 % t interval, such as +0.031 (+0.010 to +0.052)."""
    if not len(values):
        return "–"
    mean = values.mean()
    if len(values) < 2:
        return f"{mean:+.3f} (one only)"
    half = t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values))
    return f"{mean:+.3f} ({mean - half:+.3f} to {mean + half:+.3f})"


def _title(setup: str) -> str:
    """What a setup is called in a heading."""
    return "Tilth" if setup == TILTH else setup


def _minus(cells: Sequence[Cell], others: Sequence[str]) -> list[str]:
    """The headings of the differences from others."""
    return [f"{_title(cells[0].of)} − {other}" for other in others]


def _scores(cells: Sequence[Cell], setups: Sequence[str], rivals: Sequence[str]) -> str:
    """The means of each setup, and the differences from the classic rivals."""
    best = [BEST] if rivals else []

    def line(cell: Cell) -> list[str]:
        seeds = len(cell.values(cell.of)) or max(len(cell.rows[name]) for name in cell.rows)
        means = [_figure(cell.mean(name)) for name in setups]
        names = [cell.best_classic() or "–"] if rivals else []
        return [*means, *names, *(interval(cell.against(one)) for one in rivals), str(seeds)]

    return _table(cells, [*setups, *best, *_minus(cells, rivals), "seeds"], line)


def _against(cells: Sequence[Cell], others: Sequence[str]) -> str:
    def line(cell: Cell) -> list[str]:
        return [interval(cell.against(other)) for other in others]

    return _table(cells, _minus(cells, others), line)


def _calibration(cells: Sequence[Cell], setups: Sequence[str]) -> str:
    """ECE of each setup; of Tilth's also without the temperature."""
    plain = [name for name in setups if any(c.values(name, "ece_uncalibrated") for c in cells)]
    head = [*setups, *(f"{name}, temperature 1" for name in plain)]

    def line(cell: Cell) -> list[float]:
        figures = [cell.mean(name, "ece") for name in setups]
        return [*figures, *(cell.mean(name, "ece_uncalibrated") for name in plain)]

    means = []
    for name, group in _groups(cells).items():
        table = np.array([line(cell) for cell in group])
        known = [column[~np.isnan(column)] for column in table.T]
        figures = [_figure(float(one.mean()) if len(one) else math.nan) for one in known]
        means.append([name, *figures, str(len(group))])
    return "\n\n".join([
        _table(cells, head, lambda cell: [_figure(value) for value in line(cell)]),
        _markdown(["lines", *head, "number"], means),
    ])  # fmt: skip


def _groups(cells: Sequence[Cell]) -> dict[str, list[Cell]]:
    """All cells, and those of each kind of scene, split and size, by what they are called."""
    groups: dict[str, list[Cell]] = {"all": list(cells)}
    for cell in cells:
        kind = "generated scenes" if cell.scene.startswith("generated") else "real scenes"
        for name in (kind, f"split by {cell.split}", f"size {cell.size}"):
            groups.setdefault(name, []).append(cell)
    order = sorted(groups, key=lambda name: (name != "all", "size" in name, name))
    order.sort(key=lambda name: int(name[5:]) if name.startswith("size ") else 0)
    return {name: groups[name] for name in order}


def _averages(cells: Sequence[Cell], others: Sequence[str]) -> str:
    """One row for each group of cells."""
    lines = []
    for name, group in _groups(cells).items():
        figures = [interval(np.concatenate([_gap(c, other) for c in group])) for other in others]
        lines.append([name, *figures, str(len(group))])
    scenes = sorted({cell.scene for cell in cells})
    figures = []
    for other in others:
        gaps = [np.concatenate([_gap(c, other) for c in cells if c.scene == s]) for s in scenes]
        figures.append(interval(np.array([gap.mean() for gap in gaps if len(gap)])))
    lines.append(["by scene", *figures, str(len(scenes))])
    return _markdown(["lines", *_minus(cells, others), "number"], lines)


def _gap(cell: Cell, other: str) -> np.ndarray:
    """The difference from another setup, mean over the seeds [1]; [0] where there is none."""
    gap = cell.against(other)
    return gap[:1] * 0 + gap.mean() if len(gap) else gap


def _table(cells: Sequence[Cell], head: list[str], line: Callable[[Cell], list[str]]) -> str:
    lines = [[cell.scene, cell.split, str(cell.size), *line(cell)] for cell in cells]
    return _markdown(["scene", "split", "size", *head], lines)


def _markdown(head: list[str], lines: list[list[str]]) -> str:
    texts = [head, ["---"] * len(head), *lines]
    return "\n".join("| " + " | ".join(text) + " |" for text in texts)


def _figure(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3f}"
