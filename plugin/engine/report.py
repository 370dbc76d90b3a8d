"""Reports as one HTML file that needs nothing else: no script, no font, no network.

Names of classes, files and warnings are a stranger's text: all of it is escaped, and colours are
checked before they reach a style.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

from .data.colours import is_colour
from .data.files import atomic_path

_STYLE = """
:root { color-scheme: light dark; --ink: #22271f; --soft: #667060; --line: #d9ded4;
  --paper: #fff; --tint: #f4f6f1; --accent: #2f6b3c; --second: #b35c1e; --cell: 47, 107, 60; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8ebe4; --soft: #a3ad9c; --line: #3d453a;
  --paper: #1b1f19; --tint: #252b22; --accent: #7fc08d; --second: #e29a5c;
  --cell: 127, 192, 141; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); line-height: 1.45;
  font: 15px/1.45 system-ui, "Segoe UI", "Noto Sans", sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
h1 { font-size: 1.7rem; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; margin: 2.2rem 0 .6rem; }
p { margin: .4rem 0; }
.soft { color: var(--soft); }
.figures { display: flex; flex-wrap: wrap; gap: .75rem; margin: 1.2rem 0 0; }
.figure { background: var(--tint); border-radius: .5rem; padding: .7rem 1rem; min-width: 9rem; }
.figure b { display: block; font-size: 1.5rem; font-variant-numeric: tabular-nums; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .7rem; text-align: right; border-bottom: 1px solid var(--line); }
th { font-weight: 600; color: var(--soft); white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
td.name { max-width: 20rem; overflow-wrap: anywhere; }
.chip { display: inline-block; width: .85rem; height: .85rem; border-radius: .2rem;
  margin-right: .5rem; vertical-align: -.1rem; border: 1px solid rgba(128, 128, 128, .5); }
.matrix td { text-align: center; min-width: 3.6rem; border: 1px solid var(--paper); }
.matrix td:first-child { text-align: right; color: var(--soft); border: 0; }
.matrix th { text-align: center; max-width: 8rem; overflow: hidden; text-overflow: ellipsis; }
.warnings { background: var(--tint); border-left: 4px solid var(--second); margin: 0;
  padding: .6rem 1rem .6rem 2rem; border-radius: 0 .4rem .4rem 0; overflow-wrap: anywhere; }
.details th { font-weight: normal; text-align: left; }
.details td { text-align: left; overflow-wrap: anywhere; }
svg { max-width: 100%; height: auto; }
svg text { fill: var(--soft); font-size: 12px; }
"""

_WIDTH, _HEIGHT = 760, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 52, 14, 34


def training_report(
    path: str | Path, card: dict[str, Any], history: Sequence[dict[str, Any]]
) -> None:
    """Write the report of a training run: an adapter's card and its epochs' figures.

    Raises TilthError where the file can't be written.
    """
    training = card.get("training") or {}
    score = card.get("score")
    backbone, method = card.get("backbone") or {}, card.get("method") or {}
    lead = (
        f"{method.get('name', '?')} on {backbone.get('title') or backbone.get('id', '?')}, "
        f"{training.get('polygons', '?')} polygons, {training.get('pixels', '?')} labelled pixels"
    )
    parts = [_head(str(card.get("name", "adapter")), "Training report", lead)]
    if score:
        parts += [_figures(score), _warnings(card.get("warnings") or [])]
    else:
        parts.append("<p>Nothing was held out, so there is no score.</p>")
        parts.append(_warnings(card.get("warnings") or []))
    parts += [_classes(card.get("classes") or [])]
    if score:
        parts += [_score_table(score, "Of the held-out polygons. "), _matrix(score)]
    parts += [_chart(history), _matching(card.get("matching") or {}), _settings(card, training)]
    _write(path, str(card.get("name", "adapter")), parts)


def evaluation_report(
    path: str | Path, result: dict[str, Any], map_path: str, reference: str
) -> None:
    """Write the report of an evaluation. Raises TilthError where the file can't be written."""
    title = f"Evaluation of {Path(map_path).name}"
    lead = f"against {Path(reference.split('|')[0]).name}, {result.get('pixels', 0)} pixels"
    details = [
        ("Map", map_path),
        ("Reference", reference),
        ("Classes matched by", result.get("matched_by", "")),
        ("Reference pixels without a map", result.get("unmapped", 0)),
    ]
    parts = [
        _head(title, "Evaluation report", lead),
        _figures(result),
        _warnings(result.get("warnings") or []),
        _score_table(result),
        _matrix(result),
        "<h2>Files</h2>",
        _details(details),
    ]
    _write(path, title, parts)


def _write(path: str | Path, title: str, parts: Iterable[str]) -> None:
    page = (
        "<!DOCTYPE html>\n<html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        "<meta http-equiv='Content-Security-Policy' content=\"default-src 'none'; "
        "style-src 'unsafe-inline'\">"
        f"<title>{_text(title)}</title><style>{_STYLE}</style></head><body><main>\n"
        + "\n".join(part for part in parts if part)
        + "\n</main></body></html>\n"
    )
    with atomic_path(path) as beside:
        beside.write_text(page, encoding="utf-8", errors="replace")


def _head(title: str, kind: str, lead: str) -> str:
    return (
        f"<header><p class='soft'>Tilth · {_text(kind)}</p><h1>{_text(title)}</h1>"
        f"<p>{_text(lead)}</p></header>"
    )


def _figures(score: dict[str, Any]) -> str:
    shown = (
        ("Overall accuracy", _percent(score.get("overall_accuracy"))),
        ("Macro-F1", _number(score.get("macro_f1"))),
        ("Mean IoU", _number(score.get("mean_iou"))),
    )
    cells = "".join(
        f"<div class='figure'><span class='soft'>{name}</span><b>{value}</b></div>"
        for name, value in shown
    )
    return f"<div class='figures'>{cells}</div>"


def _warnings(lines: Sequence[Any]) -> str:
    if not lines:
        return ""
    items = "".join(f"<li>{_text(line)}</li>" for line in lines)
    return f"<h2>Warnings</h2><ul class='warnings'>{items}</ul>"


def _classes(classes: Sequence[dict[str, Any]]) -> str:
    rows = []
    for entry in classes:
        checked = "yes" if entry.get("validated") else "no"
        cells = (entry.get("code", ""), _count(entry.get("polygons")), _count(entry.get("pixels")))
        tail = "".join(f"<td>{_text(cell)}</td>" for cell in (*cells, checked))
        rows.append(f"<tr>{_name_cell(entry)}{tail}</tr>")
    head = _header("Class", "Code", "Polygons", "Labelled pixels", "Validated")
    return f"<h2>Classes</h2>{_table(head, rows)}"


def _score_table(score: dict[str, Any], note: str = "") -> str:
    colours = {entry.get("code"): entry.get("colour") for entry in score.get("classes") or []}
    rows = []
    for row in score.get("per_class") or []:
        figures = ("f1", "iou", "users_accuracy", "producers_accuracy")
        cells = "".join(f"<td>{_number(row.get(key))}</td>" for key in figures)
        entry = {"name": row.get("name", ""), "colour": colours.get(row.get("code"))}
        rows.append(f"<tr>{_name_cell(entry)}{cells}<td>{_count(row.get('support'))}</td></tr>")
    head = _header("Class", "F1", "IoU", "User's accuracy", "Producer's accuracy", "Pixels")
    note += (
        "User's accuracy: of what the map shows as the class, the share that is right. "
        "Producer's accuracy: of what is the class, the share that the map shows. Classes "
        "without reference pixels do not enter the means."
    )
    return f"<h2>Accuracy by class</h2>{_table(head, rows)}<p class='soft'>{_text(note)}</p>"


def _matrix(score: dict[str, Any]) -> str:
    """The confusion matrix, each row shaded by the share of the reference class."""
    names = [str(row.get("name", "")) for row in score.get("per_class") or []]
    confusion = score.get("confusion") or []
    if not names or len(confusion) != len(names):
        return ""
    rows = []
    for name, counts in zip(names, confusion, strict=True):
        total = sum(counts)
        cells = []
        for count in counts:
            share = count / total if total else 0.0
            style = f"background: rgba(var(--cell), {0.75 * share:.3f})"
            cells.append(f"<td style='{style}' title='{share:.1%}'>{_count(count)}</td>")
        rows.append(f"<tr><td>{_text(name)}</td>{''.join(cells)}</tr>")
    head = "<th></th>" + "".join(f"<th title='{_text(n)}'>{_text(n)}</th>" for n in names)
    return (
        "<h2>Confusion matrix</h2><p class='soft'>Pixels. Rows: reference, columns: map.</p>"
        f"<div class='scroll'><table class='matrix'><tr>{head}</tr>{''.join(rows)}</table></div>"
    )


def _chart(history: Sequence[dict[str, Any]]) -> str:
    """Losses (left axis) and the validation score (right axis, 0 to 1) by epoch, as SVG."""
    losses = [
        ("Training loss", "", _series(history, "train_loss")),
        ("Validation loss", "5 4", _series(history, "validation_loss")),
    ]
    values = [value for _, _, points in losses for _, value in points]
    score = _series(history, "validation_score")
    if not values and not score:
        return ""
    top = max([*values, 1e-6]) * 1.05
    lines: list[str] = []
    legend: list[tuple[str, str, str]] = []
    for label, dash, points in losses:
        if points:
            lines.append(_line(points, len(history), top, "var(--accent)", dash))
            legend.append((label, "var(--accent)", dash))
    if score:
        lines.append(_line(score, len(history), 1.0, "var(--second)", ""))
        legend.append(("Validation macro-F1 (right)", "var(--second)", ""))
    body = _axes(len(history), top, bool(score)) + "".join(lines)
    return (
        "<h2>Course of the training</h2>"
        f"<svg viewBox='0 0 {_WIDTH} {_HEIGHT + 24}' width='{_WIDTH}' role='img' "
        f"aria-label='Loss and validation score by epoch'>{body}{_legend(legend)}</svg>"
    )


def _series(history: Sequence[dict[str, Any]], key: str) -> list[tuple[int, float]]:
    """Epoch (from 1) and value, where there is a finite one."""
    points = []
    for epoch, values in enumerate(history, 1):
        value = values.get(key)
        if isinstance(value, (int, float)) and math.isfinite(value):
            points.append((epoch, float(value)))
    return points


def _place(epoch: float, epochs: int, value: float, top: float) -> tuple[float, float]:
    share = (epoch - 1) / max(epochs - 1, 1)
    x = _LEFT + share * (_WIDTH - _LEFT - _RIGHT)
    y = _HEIGHT - _BOTTOM - min(max(value / top, 0.0), 1.0) * (_HEIGHT - _TOP - _BOTTOM)
    return x, y


def _line(
    points: Sequence[tuple[int, float]], epochs: int, top: float, colour: str, dash: str
) -> str:
    places = [_place(epoch, epochs, value, top) for epoch, value in points]
    if len(places) == 1:
        return f"<circle cx='{places[0][0]:.1f}' cy='{places[0][1]:.1f}' r='4' fill='{colour}'/>"
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    dashed = f" stroke-dasharray='{dash}'" if dash else ""
    return f"<polyline points='{path}' fill='none' stroke='{colour}' stroke-width='2'{dashed}/>"


def _axes(epochs: int, top: float, with_score: bool) -> str:
    parts = []
    for step in range(5):
        share = step / 4
        _, y = _place(1, epochs, share, 1.0)
        parts.append(
            f"<line x1='{_LEFT}' x2='{_WIDTH - _RIGHT}' y1='{y:.1f}' y2='{y:.1f}' "
            "stroke='var(--line)'/>"
        )
        parts.append(_label(_LEFT - 8, y + 4, f"{share * top:.3g}", "end"))
        if with_score:
            parts.append(_label(_WIDTH - _RIGHT + 8, y + 4, f"{share:.2f}", "start"))
    for epoch in sorted({1, epochs, *(max(1, round(epochs * part / 4)) for part in (1, 2, 3))}):
        x, _ = _place(epoch, epochs, 0, 1.0)
        parts.append(_label(x, _HEIGHT - _BOTTOM + 18, str(epoch), "middle"))
    parts.append(_label(_WIDTH / 2, _HEIGHT + 2, "epoch", "middle"))
    return "".join(parts)


def _legend(entries: Sequence[tuple[str, str, str]]) -> str:
    parts, x = [], float(_LEFT)
    for label, colour, dash in entries:
        dashed = f" stroke-dasharray='{dash}'" if dash else ""
        y = _HEIGHT + 14
        parts.append(
            f"<line x1='{x:.0f}' x2='{x + 26:.0f}' y1='{y}' y2='{y}' stroke='{colour}' "
            f"stroke-width='2'{dashed}/>"
        )
        parts.append(_label(x + 32, y + 4, label, "start"))
        x += 60 + 7 * len(label)
    return "".join(parts)


def _label(x: float, y: float, text: str, anchor: str) -> str:
    return f"<text x='{x:.1f}' y='{y:.1f}' text-anchor='{anchor}'>{_text(text)}</text>"


def _matching(match: dict[str, Any]) -> str:
    """Which of the image's bands are which of the backbone's."""
    if not match.get("summary"):
        return ""
    names = {"": "not used", "+": "by its wavelength"}
    rows = [
        (row.get("band", ""), names.get(row.get("model_band", ""), row.get("model_band", "")))
        for row in match.get("table") or []
    ]
    head = f"<tr>{_header('Band of the image', 'Band of the backbone')}</tr>"
    cells = "".join(f"<tr><td>{_text(a)}</td><td>{_text(b)}</td></tr>" for a, b in rows)
    return (
        f"<h2>Bands</h2><p class='soft'>{_text(match['summary'])} by the backbone.</p>"
        f"<div class='scroll'><table>{head}{cells}</table></div>"
    )


def _settings(card: dict[str, Any], training: dict[str, Any]) -> str:
    backbone, method = card.get("backbone") or {}, card.get("method") or {}
    bands = ", ".join(str(band.get("name", "")) for band in card.get("bands") or [])
    details = [
        ("Made", f"{card.get('created', '')} by Tilth {card.get('tilth', '')}"),
        ("Backbone", backbone.get("id", "")),
        ("Licence of the backbone", backbone.get("licence", "")),
        ("Method", _pairs(method)),
        ("Decoder", _pairs(card.get("decoder") or {})),
        ("Bands", bands),
        ("Pixel size", _metres(card.get("resolution_m"))),
        ("Chip", f"{card.get('chip', '')} pixels"),
    ]
    details += [
        (key.replace("_", " ").capitalize(), value)
        for key, value in training.items()
        if not isinstance(value, dict)
    ]
    more = training.get("settings")
    if isinstance(more, dict):
        details.append(("Further settings", _pairs(more)))
    return f"<h2>Settings</h2>{_details(details)}"


def _details(pairs: Sequence[tuple[str, Any]]) -> str:
    rows = "".join(f"<tr><th>{_text(key)}</th><td>{_text(value)}</td></tr>" for key, value in pairs)
    return f"<table class='details'>{rows}</table>"


def _pairs(values: dict[str, Any]) -> str:
    texts = []
    for key, value in values.items():
        shown = ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
        texts.append(shown if key == "name" else f"{key.replace('_', ' ')} {shown}")
    return "; ".join(texts)


def _name_cell(entry: dict[str, Any]) -> str:
    colour = str(entry.get("colour") or "")
    chip = f"<span class='chip' style='background: {colour}'></span>" if is_colour(colour) else ""
    return f"<td class='name'>{chip}{_text(entry.get('name', ''))}</td>"


def _header(*names: str) -> str:
    return "".join(f"<th>{_text(name)}</th>" for name in names)


def _table(head: str, rows: Sequence[str]) -> str:
    return f"<div class='scroll'><table><tr>{head}</tr>{''.join(rows)}</table></div>"


def _text(value: Any) -> str:
    return escape(str(value), quote=True)


def _number(value: Any) -> str:
    return "–" if not isinstance(value, (int, float)) else f"{value:.3f}"


def _percent(value: Any) -> str:
    return "–" if not isinstance(value, (int, float)) else f"{value:.1%}"


def _count(value: Any) -> str:
    return f"{value:,}".replace(",", "\u202f") if isinstance(value, int) else "–"


def _metres(value: Any) -> str:
    return f"{value:.4g} m" if isinstance(value, (int, float)) and value > 0 else "unknown"
