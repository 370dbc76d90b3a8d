"""Fields and values of vector layers, the same on every QGIS, as text where they mean classes."""

from __future__ import annotations

from typing import Any

from qgis.core import NULL, Qgis, QgsField
from qgis.PyQt.QtCore import QMetaType, QVariant

# Qt's numbers of the types that matter; QVariant and QMetaType share them.
_INTEGERS = (2, 3, 4, 5)  # int, unsigned int, long long, unsigned long long
_LONG_LONG = 4
_DOUBLE = 6
_STRING = 10
_NUMBERS = {"integer": _LONG_LONG, "number": _DOUBLE, "text": _STRING}


def kind_of(field: QgsField) -> str:
    """What a field holds: "integer", "number" or "text" (also true and false)."""
    number = _number(field.type())
    if number in _INTEGERS:
        return "integer"
    return "number" if number == _DOUBLE else "text"


def new_field(name: str, kind: str, length: int = 0) -> QgsField:
    """A field of this kind."""
    kinds = QMetaType.Type if Qgis.QGIS_VERSION_INT >= 33800 else QVariant.Type
    return QgsField(name, kinds(_NUMBERS[kind]), "", length)


def is_null(value: Any) -> bool:
    """Whether a value is none; so is a text of blanks."""
    return value is None or value == NULL or (isinstance(value, str) and not value.strip())


def as_kind(value: Any, kind: str) -> Any:
    """A value as a field of this kind holds it."""
    if value is None or value == NULL:
        return None
    if kind == "integer":
        return int(value)
    return float(value) if kind == "number" else as_text(value)


def as_text(value: Any) -> str:
    """A value as text, as the engine and QGIS's styles have it: 3.0 is "3", true is "true"."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value == value and int(value) == value:
        return str(int(value))
    if hasattr(value, "toString") and not isinstance(value, str):
        return str(value.toString())
    return str(value)


def _number(kind: Any) -> int:
    return int(getattr(kind, "value", kind))
