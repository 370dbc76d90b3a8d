"""Reports as one HTML file that needs nothing else: no script, no font, no network.

Names of classes, files and warnings are a stranger's text: all of it is escaped, and colours are
checked before they reach a style.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import page

_MEANING = (
    "User's accuracy: of what the map shows as the class, the share that is right. "
    "Producer's accuracy: of what is the class, the share that the map shows. Classes "
    "without reference pixels do not enter the means."
)
_CHOSEN = (
    "The epoch that is kept, and how much the network counts, were chosen on these polygons: the "
    "figures are rather too good. "
)
_CHART_NOTE = (
    "<p class='soft'>The score after each epoch is of a sample of what is held out; the final "
    "score above is of all of it. The two can differ.</p>"
)
_WIDTH, _HEIGHT = 760, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 52, 14, 34


def training_report(
    path: str | Path, card: dict[str, Any], history: Sequence[dict[str, Any]]
) -> None:
    """Write the report of a training run: an adapter's card and its epochs' figures.

    Raises TilthError where the file can't be written.
    """
    training = card.get("training") or {}
    score, region_score = card.get("score"), card.get("region_score")
    only = score or region_score
    backbone, method = card.get("backbone") or {}, card.get("method") or {}
    lead = (
        f"{method.get('name', '?')} on {backbone.get('title') or backbone.get('id', '?')}, "
        f"{training.get('polygons', '?')} polygons, {training.get('pixels', '?')} labelled pixels"
    )
    parts = [page.head(str(card.get("name", "adapter")), "Training report", lead)]
    if score and region_score:
        parts += [_both_figures(score, region_score, str(training.get("unseen_region", "")))]
    elif only:
        parts += [_figures(only)]
    else:
        parts.append("<p>Nothing was held out, so there is no score.</p>")
    parts += [
        page.warning_list(card.get("warnings") or []),
        _classes(card.get("classes") or []),
    ]
    if score and region_score:
        parts += [_both_scores(score, region_score)]
        parts += [_matrix(score, ", near the polygons")]
        parts += [_matrix(region_score, ", in the unseen region")]
    elif only:
        which = f"Of the held-out polygons. {_CHOSEN}" if score else "Of the unseen region alone. "
        parts += [_score_table(only, which), _matrix(only)]
    parts += [_chart(history), _matching(card.get("matching") or {}), _settings(card, training)]
    page.write(path, str(card.get("name", "adapter")), parts)


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
        page.head(title, "Evaluation report", lead),
        _figures(result),
        page.warning_list(result.get("warnings") or []),
        _score_table(result),
        _matrix(result),
        "<h2>Files</h2>",
        page.details(details),
    ]
    page.write(path, title, parts)


def _figures(score: dict[str, Any]) -> str:
    shown = (
        ("Overall accuracy", page.percent(score.get("overall_accuracy"))),
        ("Macro-F1", page.number(score.get("macro_f1"))),
        ("Mean IoU", page.number(score.get("mean_iou"))),
    )
    cells = "".join(
        f"<div class='figure'><span class='soft'>{name}</span><b>{value}</b></div>"
        for name, value in shown
    )
    return f"<div class='figures'>{cells}</div>"


def _both_figures(score: dict[str, Any], region_score: dict[str, Any], region: str) -> str:
    """The figures near the polygons, and below them those of the unseen region."""
    return (
        f"<h2>Near the polygons</h2>{_figures(score)}"
        f"<h2>In the unseen region</h2><p class='soft'>{page.text(region)}, never trained on "
        f"before this score: what to expect far from the polygons.</p>{_figures(region_score)}"
    )


def _classes(classes: Sequence[dict[str, Any]]) -> str:
    rows = []
    for entry in classes:
        checked = "yes" if entry.get("validated") else "no"
        cells = (
            entry.get("code", ""),
            page.count(entry.get("polygons")),
            page.count(entry.get("pixels")),
        )
        tail = "".join(f"<td>{page.text(cell)}</td>" for cell in (*cells, checked))
        rows.append(f"<tr>{page.name_cell(entry)}{tail}</tr>")
    head = page.header("Class", "Code", "Polygons", "Labelled pixels", "Validated")
    return f"<h2>Classes</h2>{page.table(head, rows)}"


def _score_table(score: dict[str, Any], note: str = "") -> str:
    colours = {entry.get("code"): entry.get("colour") for entry in score.get("classes") or []}
    rows = []
    for row in score.get("per_class") or []:
        figures = ("f1", "iou", "users_accuracy", "producers_accuracy")
        cells = "".join(f"<td>{page.number(row.get(key))}</td>" for key in figures)
        entry = {"name": row.get("name", ""), "colour": colours.get(row.get("code"))}
        rows.append(
            f"<tr>{page.name_cell(entry)}{cells}<td>{page.count(row.get('support'))}</td></tr>"
        )
    head = page.header("Class", "F1", "IoU", "User's accuracy", "Producer's accuracy", "Pixels")
    note += _MEANING
    return (
        f"<h2>Accuracy by class</h2>{page.table(head, rows)}<p class='soft'>{page.text(note)}</p>"
    )


def _both_scores(near: dict[str, Any], far: dict[str, Any]) -> str:
    """Each class's figures near the polygons and, beside them, in the unseen region."""
    colours = {entry.get("code"): entry.get("colour") for entry in near.get("classes") or []}
    there = {row.get("code"): row for row in far.get("per_class") or []}
    rows = []
    for row in near.get("per_class") or []:
        pair = (row, there.get(row.get("code"), {}))
        cells = [
            page.number(one.get(key))
            for key in ("f1", "users_accuracy", "producers_accuracy")
            for one in pair
        ]
        cells += [page.count(one.get("support")) for one in pair]
        entry = {"name": row.get("name", ""), "colour": colours.get(row.get("code"))}
        figures = "".join(f"<td>{cell}</td>" for cell in cells)
        rows.append(f"<tr>{page.name_cell(entry)}{figures}</tr>")
    groups = ("F1", "User's accuracy", "Producer's accuracy", "Pixels")
    above = "<th></th>" + "".join(f"<th colspan='2'>{page.text(group)}</th>" for group in groups)
    head = f"{above}</tr><tr>{page.header('Class', *('Near', 'Unseen') * len(groups))}"
    note = (
        "Of the held-out polygons near the others, and of the unseen region. For those near: "
        f"{_CHOSEN[0].lower()}{_CHOSEN[1:]}{_MEANING}"
    )
    return (
        f"<h2>Accuracy by class</h2>{page.table(head, rows)}<p class='soft'>{page.text(note)}</p>"
    )


def _matrix(score: dict[str, Any], where: str = "") -> str:
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
            cells.append(f"<td style='{style}' title='{share:.1%}'>{page.count(count)}</td>")
        rows.append(f"<tr><td>{page.text(name)}</td>{''.join(cells)}</tr>")
    head = "<th></th>" + "".join(f"<th title='{page.text(n)}'>{page.text(n)}</th>" for n in names)
    return (
        f"<h2>Confusion matrix{page.text(where)}</h2>"
        "<p class='soft'>Pixels. Rows: reference, columns: map.</p>"
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
        f"{_CHART_NOTE if score else ''}"
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
    return f"<text x='{x:.1f}' y='{y:.1f}' text-anchor='{anchor}'>{page.text(text)}</text>"


def _matching(match: dict[str, Any]) -> str:
    """Which of the image's bands are which of the backbone's."""
    if not match.get("summary"):
        return ""
    names = {"": "not used", "+": "by its wavelength"}
    rows = [
        (row.get("band", ""), names.get(row.get("model_band", ""), row.get("model_band", "")))
        for row in match.get("table") or []
    ]
    head = f"<tr>{page.header('Band of the image', 'Band of the backbone')}</tr>"
    cells = "".join(f"<tr><td>{page.text(a)}</td><td>{page.text(b)}</td></tr>" for a, b in rows)
    return (
        f"<h2>Bands</h2><p class='soft'>{page.text(match['summary'])}.</p>"
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
        ("Pixel size", page.metres(card.get("resolution_m"))),
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
    return f"<h2>Settings</h2>{page.details(details)}"


def _pairs(values: dict[str, Any]) -> str:
    texts = []
    for key, value in values.items():
        shown = ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
        texts.append(shown if key == "name" else f"{key.replace('_', ' ')} {shown}")
    return "; ".join(texts)
