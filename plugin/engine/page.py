"""What all of Tilth's HTML pages are made of: one file that needs nothing else.

Names of classes, files and warnings are a stranger's text: all of it is escaped, and colours are
checked before they reach a style.
"""

from __future__ import annotations

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


def write(path: str | Path, title: str, parts: Iterable[str]) -> None:
    """Write a page of parts (HTML) with its style. Raises TilthError where it can't be written."""
    page = (
        "<!DOCTYPE html>\n<html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        "<meta http-equiv='Content-Security-Policy' content=\"default-src 'none'; "
        "style-src 'unsafe-inline'\">"
        f"<title>{text(title)}</title><style>{_STYLE}</style></head><body><main>\n"
        + "\n".join(part for part in parts if part)
        + "\n</main></body></html>\n"
    )
    with atomic_path(path) as beside:
        beside.write_text(page, encoding="utf-8", errors="replace")


def head(title: str, kind: str, lead: str) -> str:
    """What stands above all: the kind of page, its title, and a line below."""
    return (
        f"<header><p class='soft'>Tilth · {text(kind)}</p><h1>{text(title)}</h1>"
        f"<p>{text(lead)}</p></header>"
    )


def warning_list(lines: Sequence[Any]) -> str:
    """A list of warnings; empty where there is none."""
    if not lines:
        return ""
    items = "".join(f"<li>{text(line)}</li>" for line in lines)
    return f"<h2>Warnings</h2><ul class='warnings'>{items}</ul>"


def details(pairs: Sequence[tuple[str, Any]]) -> str:
    """A table of names and values."""
    rows = "".join(f"<tr><th>{text(key)}</th><td>{text(value)}</td></tr>" for key, value in pairs)
    return f"<table class='details'>{rows}</table>"


def name_cell(entry: dict[str, Any]) -> str:
    """The cell of a class: its colour and name."""
    colour = str(entry.get("colour") or "")
    chip = f"<span class='chip' style='background: {colour}'></span>" if is_colour(colour) else ""
    return f"<td class='name'>{chip}{text(entry.get('name', ''))}</td>"


def header(*names: str) -> str:
    """The cells of a table's head."""
    return "".join(f"<th>{text(name)}</th>" for name in names)


def table(head: str, rows: Sequence[str]) -> str:
    """A table of a head and rows, which scrolls where it is too wide."""
    return f"<div class='scroll'><table><tr>{head}</tr>{''.join(rows)}</table></div>"


def text(value: Any) -> str:
    """Any value as text in which nothing is markup."""
    return escape(str(value), quote=True)


def number(value: Any) -> str:
    """A figure with three decimals, a dash where there is none."""
    return "–" if not isinstance(value, (int, float)) else f"{value:.3f}"


def percent(value: Any) -> str:
    """A share in percent, a dash where there is none."""
    return "–" if not isinstance(value, (int, float)) else f"{value:.1%}"


def count(value: Any) -> str:
    """A whole number with its thousands apart."""
    return f"{value:,}".replace(",", "\u202f") if isinstance(value, int) else "–"


def metres(value: Any) -> str:
    """A length in metres."""
    return f"{value:.4g} m" if isinstance(value, (int, float)) and value > 0 else "unknown"
