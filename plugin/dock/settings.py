"""The user's last choices, kept in QGIS's settings."""

from __future__ import annotations

from typing import Any, Mapping

from qgis.core import QgsSettings

PREFIX = "tilth/"


def text(key: str, default: str = "") -> str:
    """A choice that is text."""
    return str(QgsSettings().value(PREFIX + key, default) or default)


def number(key: str, default: float) -> float:
    """A choice that is a number."""
    try:
        return float(QgsSettings().value(PREFIX + key, default))
    except (TypeError, ValueError):
        return default


def flag(key: str, default: bool) -> bool:
    """A choice that is yes or no."""
    return str(QgsSettings().value(PREFIX + key, default)).lower() in ("true", "1")


def keep(key: str, value: Any) -> None:
    """Remember a choice."""
    keep_all({key: value})


def keep_all(values: Mapping[str, Any]) -> None:
    """Remember several choices. Each QgsSettings that has changed something writes the whole file
    when it goes, and waits for the disk: one does for all."""
    store = QgsSettings()
    for key, value in values.items():
        store.setValue(PREFIX + key, value)
