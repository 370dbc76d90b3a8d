"""Texts for what takes a text for HTML where it looks like it: tooltips and questions."""

from __future__ import annotations

from html import escape


def plain(text: str) -> str:
    """The text so that Qt shows it letter by letter: names and paths are anyone's, and a tag in
    one could load a picture from anywhere."""
    # What Qt::mightBeRichText looks for.
    if "<" not in text and "&lt;" not in text:
        return text
    return "<span>" + escape(text).replace("\n", "<br>") + "</span>"
