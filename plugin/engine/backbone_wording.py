"""Backbones for people, on the command line: the list, all of one, and what a fetch left."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

_WIDTH = 100
_KEY = 12
# A space that no line breaks at.
_TIED = "\u00a0"


def list_text(cards: Sequence[dict[str, Any]]) -> str:
    """The backbones in a table: those that can be used now come first."""
    ready = [card for card in cards if card["runs"] and (card["present"] or not card["needed"])]
    wanting = [card for card in cards if card["runs"] and card not in ready]
    listed = [card for card in cards if not card["runs"]]
    rows = [_cells(card) for card in cards]
    id_, size, count, licence = (max(len(row[column]) for row in rows) for column in range(4))
    size, count = max(size, 4), max(count, 6)

    def line(cells: Sequence[str]) -> str:
        numbers = f"{cells[1]:>{size}} {cells[2]:>{count}}"
        return f"{cells[0]:<{id_}}  {numbers}  {cells[3]:<{licence}}  {cells[4]}".rstrip()

    lines = [line(("BACKBONE", "SIZE", "PARAMS", "LICENCE", "TITLE"))]
    for title, some in (
        ("Ready to use", ready),
        ("Weights to get: tilth backbones fetch ID", wanting),
        ("Listed only: Tilth can't run these yet", listed),
    ):
        if some:
            lines += ["", title, *(line(_cells(card)) for card in some)]
    lines += ["", "SIZE is that of the weights: on this machine, or to download."]
    if any(card["binding"] for card in cards):
        lines.append("* The licence binds you to more than naming the authors: read it first.")
    lines.append("All of one: tilth backbones show ID. timm:NAME is any model of timm.")
    return "\n".join(lines)


def show_text(card: dict[str, Any]) -> str:
    """All that is known of one backbone."""
    low, high = card["ground_resolution_m"]
    side, patch = card["native_size"], card["patch"]
    entries = [
        ("About", [card["summary"]]),
        ("Weights", _weights(card)),
        ("Licence", _licence(card)),
        ("Bands", _bands(card)),
        ("Values", [card["units"]]),
        ("Dates", _dates(card)),
        ("Pixel size", [f"{low:g} m" if low == high else f"{low:g} to {high:g} m"]),
        ("Image size", [f"{side} x {side} pixels, in patches of {patch} x {patch}"]),
        ("Parameters", [f"{card['parameters'] / 1e6:.1f} million"]),
        ("Memory", _memory(card)),
        ("Source", [card["source"]] if card["source"] else []),
        ("Cite", [card["citation"]] if card["citation"] else []),
    ]
    lines = [f"{card['title']} ({card['id']})"]
    for key, texts in entries:
        for number, text in enumerate(texts):
            first = f"  {key if number == 0 else '':<{_KEY}}"
            lines += textwrap.wrap(
                text, _WIDTH, initial_indent=first, subsequent_indent=" " * (_KEY + 2),
                break_long_words=False, break_on_hyphens=False,
            )  # fmt: skip
    return "\n".join(lines).replace(_TIED, " ")


def fetched_text(result: dict[str, Any]) -> str:
    """What fetching or adding weights left."""
    by = {"card": "is the one that Tilth knows", "hub": "is the one that the hub states"}
    trust = by.get(result["verified"], "nobody has stated")
    lines = [
        f"{result['backbone']}: {result['title']}, {result['size'] / 1e6:.1f} MB in "
        f"{result['folder']}",
        f"sha256 {result['sha256']}, which {trust}",
        f"licence {result['licence']}",
    ]
    if result["revision"]:
        lines.insert(1, f"revision {result['revision']}")
    return "\n".join(lines)


def _cells(card: dict[str, Any]) -> tuple[str, str, str, str, str]:
    """A row of the table: id, size of the weights, parameters, licence, title."""
    size = card["stored_bytes"] if card["present"] else card["size_bytes"]
    # What follows the licence's name is for those who are about to accept it.
    licence = card["licence"].split(":")[0] + ("*" if card["binding"] else "")
    needless = not card["needed"] and not card["present"] and card["runs"]
    millions = card["parameters"] / 1e6
    count = f"{millions:.0f} M" if millions >= 10 else f"{millions:.1f} M"
    return card["id"], "none" if needless else _size(size), count, licence, card["title"]


def _size(size: int) -> str:
    """A number of bytes: 23 MB, 1.3 GB."""
    return f"{size / 1e6:.0f} MB" if size < 1e9 else f"{size / 1e9:.1f} GB"


def _weights(card: dict[str, Any]) -> list[str]:
    """Whether the weights are here, and what to do where they aren't."""
    if not card["runs"]:
        return ["listed only: Tilth can't run this backbone yet"]
    if card["present"]:
        return [f"here: {_size(card['stored_bytes'])} in {card['folder']}"]
    if not card["needed"]:
        return ["none needed: it starts from random ones"]
    add = f"tilth backbones add {card['id']} --file FILE"
    if not card["repository"]:
        return [f"not here; get the file from {card['source']}, then:", add]
    accept = " --accept-licence" if card["binding"] else ""
    return [
        f"not here; to download: {_size(card['size_bytes'])}",
        f"tilth backbones fetch {card['id']}{accept}",
        f"or, where you have the file {card['file']}:",
        add,
    ]


def _licence(card: dict[str, Any]) -> list[str]:
    lines = [card["licence"]]
    if card["binding"]:
        lines.append("it binds you to more than naming the authors: read it first")
    return [*lines, *filter(None, [card["licence_url"]])]


def _bands(card: dict[str, Any]) -> list[str]:
    """The bands that it was trained on, a line for each sensor."""
    groups: dict[str, list[str]] = {}
    for band in card["bands"]:
        length = band["wavelength_nm"]
        text = band["name"] if length is None else f"{band['name']} ({length:.0f} nm)"
        text = text.replace(" ", _TIED)
        groups.setdefault(band["group"], []).append(text)
    lines = [
        ", ".join(names) if group in ("", *names) else f"{group}: {', '.join(names)}"
        for group, names in groups.items()
    ]
    if card["any_bands"]:
        lines.append("any other whose wavelength is known" if lines else "any")
    return lines


def _dates(card: dict[str, Any]) -> list[str]:
    most = card["several_dates"]
    text = "one" if most == 1 else f"one, or a series of up to {most}"
    told = "; can be told date and place (--time-location)" if card["time_location"] else ""
    return [text + told]


def _memory(card: dict[str, Any]) -> list[str]:
    if card["memory_gb"] is None:
        return ["not measured"]
    training, mapping = card["memory_gb"]
    return [
        f"{training:g} GB to train (LoRA, 8 chips in a step), {mapping:g} GB to map, at the image "
        "size above"
    ]
