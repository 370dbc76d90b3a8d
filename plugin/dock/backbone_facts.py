"""What a backbone needs and costs, in rich text, and where it stands in a list of them."""

from __future__ import annotations

import re
from collections import Counter
from html import escape
from typing import Any, Dict, List, Tuple

from qgis.PyQt.QtCore import QCoreApplication

NO_BACKBONE = "none"
# Of more bands than these the sensors are named; the tool tip names them all.
_MOST_BANDS = 13
_LINK = "#3f87cf"

Card = Dict[str, Any]


def _tr(text: str) -> str:
    return QCoreApplication.translate("BackboneFacts", text)


def no_backbone() -> Card:
    """A stand-in for the card of the decoder alone, which has none."""
    return {
        "id": NO_BACKBONE,
        "title": _tr("No backbone (the decoder alone)"),
        "summary": _tr("To see what a backbone is worth: Tilth's own small network, from nothing."),
        "runs": True,
    }


def grouped(cards: List[Card]) -> List[Tuple[str, List[Card]]]:
    """The cards under headings: what is here, what can be got, what serves to compare."""
    here = [card for card in cards if card.get("present") and card.get("runs")]
    plain = [c for c in cards if c.get("runs") and not c.get("needed") and not c.get("present")]
    absent = [c for c in cards if c.get("runs") and c.get("needed") and not c.get("present")]
    listed = [card for card in cards if not card.get("runs")]
    headings = [
        (_tr("On this computer"), here),
        (_tr("To download"), absent),
        (_tr("To compare with"), [*plain, no_backbone()]),
        (_tr("Listed only"), listed),
    ]
    return [(heading, group) for heading, group in headings if group]


def size_text(size: Any) -> str:
    """Bytes as people say them."""
    number = float(size or 0)
    if number >= 1e9:
        return f"{number / 1e9:.1f} GB"
    return f"{max(number / 1e6, 1):.0f} MB"


def bands_tip(card: Card) -> str:
    """All bands with their wavelengths."""
    lines = []
    for band in card.get("bands") or []:
        nm = band.get("wavelength_nm")
        lines.append(f"{band['name']}: {nm:.0f} nm" if nm else str(band["name"]))
    return "\n".join(lines)


def html(card: Card) -> str:
    """The card's facts as a table."""
    rows = "".join(
        f'<tr><td valign="top" style="padding-right:8px">{escape(name)}</td><td>{value}</td></tr>'
        for name, value in _facts(card)
        if value
    )
    return f'<table cellspacing="0" cellpadding="1">{rows}</table>' if rows else ""


def _facts(card: Card) -> List[Tuple[str, str]]:
    # Some cards say more after the address.
    source = str(card.get("source") or "").partition(" ")[0]
    source = source if source.startswith("http") else ""
    return [
        (_tr("Bands"), escape(_bands(card))),
        (_tr("Pixels"), escape(_pixels(card))),
        (_tr("Memory"), escape(_memory(card))),
        (_tr("Size"), escape(_size(card))),
        (_tr("Licence"), _link(card.get("licence"), card.get("licence_url"))),
        (_tr("Source"), _link(_site(source), source)),
    ]


def _bands(card: Card) -> str:
    bands = card.get("bands") or []
    if card.get("any_bands"):
        return _tr("any")
    names = [str(band["name"]) for band in bands]
    if len(names) > _MOST_BANDS:
        groups = Counter(str(band.get("group") or "") for band in bands)
        names = [f"{group or _tr('others')} ({count})" for group, count in groups.items()]
    text = ", ".join(names)
    dates = card.get("several_dates") or 1
    return text + ("; " + _tr("up to {} dates").format(dates) if dates > 1 else "")


def _pixels(card: Card) -> str:
    low, high = card.get("ground_resolution_m") or (0, 0)
    if not high:
        return ""
    return f"{low:g} m" if low == high else _tr("{low:g} to {high:g} m").format(low=low, high=high)


def _memory(card: Card) -> str:
    memory = card.get("memory_gb")
    if not memory:
        return ""
    return _tr("{train:.2g} GB to train, {run:.2g} GB to map").format(
        train=memory[0], run=memory[1]
    )


def _size(card: Card) -> str:
    count = card.get("parameters")
    if not isinstance(count, (int, float)) or count <= 0:
        return ""
    return _tr("{:.3g} million parameters").format(count / 1e6)


def _site(url: str) -> str:
    """An address as people read it."""
    return re.sub(r"^https?://(www\.)?|/$", "", url)


def _link(text: Any, url: Any) -> str:
    """A text that leads to an address, where there is one."""
    if not str(url or "").startswith("http"):
        return escape(str(text or ""))
    return f'<a href="{escape(str(url))}" style="color:{_LINK}">{escape(str(text))}</a>'
