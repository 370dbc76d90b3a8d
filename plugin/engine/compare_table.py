"""The finished runs of a comparison, set side by side."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any

# Student's t at 97.5 %, by degrees of freedom from 2 on.
_T = (
    *(4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093),
)
ENOUGH_SEEDS = 3
HANDFUL = 20
FEW_OF_CLASS = 3

Row = dict[str, Any]


def summaries(rows: Sequence[Row]) -> list[Row]:
    """A summary of each choice, the best mean score first; those without a score come last.

    `spread` is the standard deviation over the seeds (None for one). `like_best` is whether the
    choice is not told apart from the best: whether the 95 % interval of the mean difference,
    paired by seed, has the 0 in it. None where fewer than three seeds are common to both.
    """
    names = list(dict.fromkeys(row["choice"] for row in rows))
    found = [_summary([row for row in rows if row["choice"] == name]) for name in names]
    scored = [summary for summary in found if summary["score"] is not None]
    scored.sort(key=lambda summary: -summary["score"])
    for summary in scored:
        differences = _differences(rows, scored[0]["choice"], summary["choice"])
        if len(differences) >= ENOUGH_SEEDS:
            low, high = interval(differences)
            summary["difference"] = [statistics.fmean(differences), low, high]
            summary["like_best"] = low <= 0 <= high
    return scored + [summary for summary in found if summary["score"] is None]


def interval(values: Sequence[float]) -> tuple[float, float]:
    """The 95 % interval of the mean of 3 to 20 values, by Student's t."""
    mean = statistics.fmean(values)
    half = _T[len(values) - 3] * statistics.stdev(values) / math.sqrt(len(values))
    return mean - half, mean + half


def doubts(rows: Sequence[Row], seeds: int) -> list[str]:
    """What has to be known before somebody believes the table."""
    lines = []
    held_out = next((row["held_out"] for row in rows if row["held_out"]), None)
    if held_out is not None and held_out["polygons"] < HANDFUL:
        lines.append(
            f"only {held_out['polygons']} polygons are held out: other ones may put the choices "
            "in another order; draw more, or read small differences as none"
        )
    if held_out is not None:
        few = [name for name, count in held_out["classes"].items() if count < FEW_OF_CLASS]
        if few and held_out["polygons"] >= HANDFUL:
            lines.append(f"fewer than {FEW_OF_CLASS} polygons are held out of: {', '.join(few)}")
    if seeds < ENOUGH_SEEDS:
        lines.append("with fewer than three seeds nothing says which differences are chance")
    return lines


def _summary(rows: Sequence[Row]) -> Row:
    done = [row for row in rows if not row["error"]]
    scores = [row["score"] for row in done if row["score"] is not None]
    beyond = [row["region_score"] for row in done if row.get("region_score") is not None]
    best = max(done, key=lambda row: row["score"] or 0.0, default=None)
    return {
        "choice": rows[0]["choice"],
        "runs": len(done),
        "score": statistics.fmean(scores) if scores else None,
        "region_score": statistics.fmean(beyond) if beyond else None,
        "spread": statistics.stdev(scores) if len(scores) > 1 else None,
        "lowest": min(scores, default=None),
        "highest": max(scores, default=None),
        "minutes": statistics.fmean(row["minutes"] for row in done) if done else None,
        "peak_mb": max((row["peak_mb"] for row in done if row["peak_mb"]), default=None),
        "adapter_mb": best["adapter_mb"] if best else None,
        "parameters": best["parameters"] if best else None,
        "adapter": best["adapter"] if best else "",
        "like_best": None,
        "difference": None,
        "error": next((row["error"] for row in rows if row["error"]), ""),
    }


def _differences(rows: Sequence[Row], best: str, other: str) -> list[float]:
    """By how much the best one is better, with each seed that both have."""
    of = [
        {row["seed"]: row["score"] for row in rows if row["choice"] == name and not row["error"]}
        for name in (best, other)
    ]
    return [of[0][seed] - of[1][seed] for seed in sorted(of[0].keys() & of[1].keys())]
