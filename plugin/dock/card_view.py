"""An adapter's card as rich text: what it was made of, for what, and how good it is."""

from __future__ import annotations

from html import escape
from typing import Any, Dict, List

from qgis.core import Qgis
from qgis.PyQt.QtCore import QCoreApplication
from qgis.PyQt.QtGui import QColor, QFontMetrics, QPalette

from . import wording
from .library import Adapter
from .notice import LOOKS, TINT
from .run_bar import time_text

_PADDING = 3


def _tr(text: str) -> str:
    return QCoreApplication.translate("CardView", text)


def html(adapter: Adapter, waiting: str, metrics: QFontMetrics) -> str:
    """The card; ``waiting`` is said where it has not been read yet. ``metrics`` are those of the
    font that it is shown in."""
    parts = [f"<h3>{escape(adapter.name)}</h3>"]
    if adapter.fault:
        parts.append(f"<p><b>{escape(adapter.fault)}</b></p>")
    if not adapter.card:
        if not adapter.fault:
            parts.append(f"<p>{escape(waiting)}</p>")
        return "".join(parts) + _table([(_tr("File"), escape(str(adapter.path)))])
    card = adapter.card
    score = wording.score_line(card.get("score"))
    parts.append(f"<p>{escape(score or _tr('Not checked on held-out labels'))}</p>")
    region = wording.region_line(card)
    parts += [f"<p>{escape(region)}</p>"] if region else []
    parts += [_warning(escape(str(text))) for text in card.get("warnings") or []]
    parts.append(_classes(card, metrics))
    parts.append(_table(_facts(adapter)))
    return "".join(parts)


def _warning(text: str) -> str:
    ground = QColor(LOOKS[Qgis.MessageLevel.Warning][1])
    ground.setAlpha(TINT)
    # The table's own: a cell's colour is laid under its letters once more.
    form = f'bgcolor="{ground.name(QColor.NameFormat.HexArgb)}" width="100%" cellpadding="4"'
    return f"<table {form}><tr><td>⚠ {text}</td></tr></table>"


def _classes(card: Dict[str, Any], metrics: QFontMetrics) -> str:
    by_name = {e.get("name"): e for e in (card.get("score") or {}).get("per_class") or []}
    rows = []
    for entry in card.get("classes") or []:
        colour = QColor(str(entry.get("colour") or "#808080")).name()
        f1 = (by_name.get(entry.get("name")) or {}).get("f1")
        score = f"{f1:.2f}" if isinstance(f1, (int, float)) else "–"
        polygons = entry.get("polygons")
        rows.append(
            f'<tr><td width="16" style="background:{colour}"></td>'
            f"<td>{escape(str(entry.get('name')))}</td>"
            f'<td align="right">{polygons if polygons is not None else ""}</td>'
            f'<td align="right">{score}</td></tr>'
        )
    titles = "".join(
        f'<td align="right" width="{_wide(metrics, title, "0.00")}">{_quiet(title)}</td>'
        for title in (_tr("Polygons"), "F1")
    )
    head = f"<tr><td></td><td>{_quiet(_tr('Class'))}</td>{titles}</tr>"
    form = f'cellspacing="0" cellpadding="{_PADDING}" width="100%" style="margin-top:6px"'
    return f"<table {form}>{head}{''.join(rows)}</table><br>"


def _wide(metrics: QFontMetrics, *texts: str) -> int:
    """The width of a column that breaks none of these, with the padding of its cells."""
    return 2 * _PADDING + 2 + max(map(metrics.horizontalAdvance, texts))


def _facts(adapter: Adapter) -> List[Any]:
    card = adapter.card
    backbone, training = card.get("backbone") or {}, card.get("training") or {}
    bands = [str(band.get("name")) for band in card.get("bands") or []]
    facts = [
        (_tr("Bands"), f"{len(bands)}: {', '.join(bands)}"),
        (_tr("Backbone"), f"{backbone.get('title') or backbone.get('id')}"),
        (_tr("Licence"), str(backbone.get("licence") or "–")),
        (_tr("Method"), _method(card.get("method") or {})),
        (_tr("Resolution"), _resolution(card.get("resolution_m"))),
        (_tr("Training"), _training(training)),
        (_tr("Made"), str(card.get("created") or "–").replace("T", " ")[:16]),
        (_tr("File"), f"{adapter.path} ({adapter.size / 1e6:.1f} MB)"),
    ]
    return [(name, escape(value)) for name, value in facts if value]


def _method(method: Dict[str, Any]) -> str:
    names = {"lora": "LoRA", "frozen": _tr("decoder only"), "full": _tr("full fine-tuning")}
    name = str(method.get("name") or "")
    rank = method.get("rank")
    return names.get(name, name) + (f", {_tr('rank')} {rank}" if rank and name == "lora" else "")


def _resolution(metres: Any) -> str:
    return f"{metres:.3g} m" if isinstance(metres, (int, float)) and metres > 0 else ""


def _training(training: Dict[str, Any]) -> str:
    parts = []
    if training.get("polygons"):
        parts.append(_tr("{} polygons").format(training["polygons"]))
    if training.get("epochs"):
        parts.append(wording.epochs_text(training["epochs"]))
    if isinstance(training.get("seconds"), (int, float)):
        parts.append(time_text(training["seconds"]))
    if training.get("device"):
        parts.append(str(training["device"]))
    return ", ".join(parts)


def _table(rows: List[Any]) -> str:
    lines = "".join(
        f'<tr><td valign="top">{_quiet(name)}</td><td>{value}</td></tr>' for name, value in rows
    )
    return f'<table cellspacing="0" cellpadding="2">{lines}</table>'


def quiet_style(palette: QPalette) -> str:
    """A style sheet for what stands back: the letters' colour in any theme, but paler."""
    red, green, blue, _ = palette.color(QPalette.ColorRole.Text).getRgb()
    return f".quiet {{ color: rgba({red}, {green}, {blue}, 165) }}"


def _quiet(text: str) -> str:
    return f'<span class="quiet">{escape(text)}</span>'
