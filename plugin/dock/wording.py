"""Results in words."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any, Dict, List, Optional

from qgis.PyQt.QtCore import QCoreApplication

from .run_bar import time_text


def _tr(text: str) -> str:
    return QCoreApplication.translate("Wording", text)


def adapter_name(result: Dict[str, Any]) -> str:
    """The adapter's name in a result, else its file's."""
    card = result.get("card") or {}
    return str(card.get("name") or Path(str(result.get("adapter") or "")).stem)


def score_line(score: Optional[Dict[str, Any]]) -> str:
    """How good an adapter is on labels that it never saw; empty where nobody looked."""
    if not score or not isinstance(score.get("macro_f1"), (int, float)):
        return ""
    classes = [entry for entry in score.get("per_class") or [] if entry.get("support", 1)]
    return _tr("Held-out macro-F1 {score:.2f} over {number} classes").format(
        score=score["macro_f1"], number=len(classes)
    )


def region_line(card: Dict[str, Any]) -> str:
    """How good an adapter is in a region that its training did not see; empty where it has none."""
    score = (card.get("region_score") or {}).get("macro_f1")
    if not isinstance(score, (int, float)):
        return ""
    which = str((card.get("training") or {}).get("unseen_region") or "")
    words = _tr("Macro-F1 {score:.2f} in the unseen region").format(score=score)
    return f"{words} ({which})" if which else words


def epochs_text(number: int) -> str:
    """How many epochs."""
    return _tr("1 epoch") if number == 1 else _tr("{} epochs").format(number)


def trained(result: Dict[str, Any]) -> str:
    """What came of a training, in rich text; its warnings are shown apart."""
    score = result.get("score")
    line = score_line(score) or _tr("Not checked: no labels were held out")
    parts = [f"<b>{line}.</b>"]
    region = region_line(result.get("card") or {})
    if region:
        parts.append(f"<b>{escape(region)}.</b>")
    weakest = _weakest(score)
    if weakest:
        parts.append(weakest)
    if ((result.get("card") or {}).get("training") or {}).get("network_share") == 0 and score:
        parts.append(
            _tr(
                "The map follows random forests and linear discriminants alone: on the held-out "
                "polygons the network does no better. More polygons, or more minutes, let it count."
            )
        )
    epochs, seconds = result.get("epochs"), result.get("seconds")
    if isinstance(epochs, int) and isinstance(seconds, (int, float)):
        parts.append(
            _tr("Trained for {epochs} in {time}.").format(
                epochs=epochs_text(epochs), time=time_text(seconds)
            )
        )
    return "<br>".join(parts)


def _weakest(score: Optional[Dict[str, Any]]) -> str:
    """The class that is told apart worst, in rich text; empty where none stands out."""
    scored: List[Dict[str, Any]] = [
        entry
        for entry in (score or {}).get("per_class") or []
        if isinstance(entry.get("f1"), (int, float)) and entry.get("support", 1)
    ]
    if len(scored) < 2:
        return ""
    worst = min(scored, key=lambda entry: float(entry["f1"]))
    if worst["f1"] >= 0.995:
        return ""
    return _tr("Weakest class: {name} ({score:.2f}).").format(
        name=escape(str(worst["name"])), score=worst["f1"]
    )
