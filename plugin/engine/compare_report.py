"""A comparison's report: a page, JSON, or a table of all runs as CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import page
from .compare_table import ENOUGH_SEEDS
from .data.files import atomic_path

_COLUMNS = (
    *("choice", "seed", "score", "region_score", "overall_accuracy", "mean_iou", "minutes"),
    *("epochs", "device", "peak_mb", "adapter_mb", "parameters", "adapter", "error"),
)
_SCORES = ("score", "region_score")
_UNSEEN = (
    "Of the unseen region it is the mean macro-F1, too; choices are ordered and told apart by the "
    "other. "
)


def write_report(path: str, result: dict[str, Any]) -> None:
    """Write a comparison's result as the file's suffix says: .html, .json or .csv.

    Raises TilthError where the file can't be written.
    """
    suffix = Path(path).suffix.lower()
    if suffix == ".html":
        page.write(path, "Comparison", _parts(result))
        return
    text = _csv(result["rows"]) if suffix == ".csv" else json.dumps(result, indent=1)
    with atomic_path(path) as beside:
        beside.write_text(text, encoding="utf-8")


def verdict(summary: dict[str, Any]) -> str:
    """What is to be said of a choice beside its figures."""
    if summary["error"]:
        return str(summary["error"])
    if summary["like_best"] is None:
        return ""
    if summary["difference"][0] == 0:
        return "the best"
    return "not told apart from the best" if summary["like_best"] else "below the best"


def _csv(rows: Sequence[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for row in rows:
        writer.writerow([_harmless(row.get(name)) for name in _COLUMNS])
    return text.getvalue()


def _harmless(value: Any) -> Any:
    """A text that a spreadsheet would take for a formula, marked as text."""
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return f"'{value}"
    return value


def _parts(result: dict[str, Any]) -> list[str]:
    held_out, finished = result["held_out"], sum(s["runs"] for s in result["choices"])
    kept = held_out["polygons"] if held_out else 0
    region = (held_out or {}).get("region")
    beyond = f" and {region['polygons']} in {region['name']}, unseen" if region else ""
    lead = f"{kept} held-out polygons{beyond}, the same for all; {_bounds(result)}"
    if finished < result["runs"]:
        lead += f"; {finished} of {result['runs']} runs have a score"
    return [
        page.head("Comparison", "Comparison", lead),
        page.warning_list(result["warnings"]),
        _choices(result, bool(region)),
        _runs(result["rows"], bool(region)),
    ]


def _bounds(result: dict[str, Any]) -> str:
    seeds = f"{result['seeds']} seed" + ("s" if result["seeds"] > 1 else "")
    if result["minutes"] is not None:
        return f"{seeds}, {result['minutes']:g} min each at most"
    return f"{seeds}, {result['epochs']} epochs each" if result["epochs"] else seeds


def _choices(result: dict[str, Any], region: bool) -> str:
    """The table of choices; with ``region`` it has the unseen region's score."""
    head = page.header(
        *(
            "Choice",
            "Macro-F1",
            *["Unseen region"] * region,
            "Spread",
            "Lowest to highest",
            "Minutes",
            "Memory, MB",
        ),
        *("File, MB", "Trained parameters", ""),
    )
    rows = []
    for summary in result["choices"]:
        span = "–"
        if summary["score"] is not None:
            span = f"{summary['lowest']:.3f} to {summary['highest']:.3f}"
        spread = summary["spread"]
        cells = (
            *(page.number(summary[name]) for name in _SCORES[: 1 + region]),
            *("–" if spread is None else f"± {spread:.3f}", span),
            *(_short(summary["minutes"], 1), _short(summary["peak_mb"], 0)),
            *(_short(summary["adapter_mb"], 2), page.count(summary["parameters"])),
        )
        middle = "".join(f"<td>{cell}</td>" for cell in cells)
        name = f"<td class='name'>{page.text(summary['choice'])}</td>"
        rows.append(f"<tr>{name}{middle}<td class='name'>{page.text(verdict(summary))}</td></tr>")
    note = (
        "Macro-F1 on the held-out polygons: the mean over the seeds, and its standard deviation. "
        "The spread is that of the training alone: other polygons would add theirs. "
        "What trains in epochs chose its best one on these polygons, which a forest does not. "
        f"{_UNSEEN * region}Memory is the GPU's where there is one, else all that the process took."
    )
    if result["seeds"] >= ENOUGH_SEEDS:
        note += (
            " A choice is not told apart from the best where the 95 % interval of their mean "
            "difference, paired by seed, has the 0 in it."
        )
    return f"{page.table(head, rows)}<p class='soft'>{page.text(note)}</p>"


def _runs(rows: Sequence[dict[str, Any]], region: bool) -> str:
    head = page.header(
        *("Choice", "Seed", "Macro-F1", *["Unseen region"] * region, "Overall accuracy"),
        *("Mean IoU", "Minutes", "Epochs", "Device"),
    )
    lines = []
    for row in rows:
        cells = (
            *(row["seed"], *(page.number(row.get(name)) for name in _SCORES[: 1 + region])),
            page.percent(row["overall_accuracy"]),
            *(page.number(row["mean_iou"]), _short(row["minutes"], 2), row["epochs"] or "–"),
            row["device"] or page.text(row["error"]),
        )
        name = f"<td class='name'>{page.text(row['choice'])}</td>"
        lines.append(f"<tr>{name}{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>")
    return f"<h2>All runs</h2>{page.table(head, lines)}"


def _short(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:,.{digits}f}".replace(",", "\u202f")
