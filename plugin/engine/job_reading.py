"""Dataclasses read from what JSON holds, with every entry's type checked.

Read by both halves of Tilth, as jobs.py is. Standard library only, Python 3.9 syntax.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Dict, Tuple, Type

from .errors import TilthError

Nested = Dict[str, Type[Any]]
_TYPES: Dict[str, Tuple[Any, ...]] = {
    "str": (str,),
    "bool": (bool,),
    "int": (int,),
    "float": (int, float),
    "Optional[int]": (int, type(None)),
    "Optional[float]": (int, float, type(None)),
    "List[str]": (list,),
    "List[int]": (list,),
    "Dict[str, Any]": (dict,),
}


def build(cls: Type[Any], values: Dict[str, Any], where: str, nested: Nested) -> Any:
    """A dataclass from its entries; `nested` has the dataclasses behind the names of types.

    `where` is said where TilthError is raised: an unknown or missing entry, or a wrong type.
    """
    known = {item.name: item for item in dataclasses.fields(cls)}
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise TilthError(f"job {where}: unknown entry {unknown[0]!r}")
    missing = [
        name
        for name, item in known.items()
        if name not in values
        and item.default is dataclasses.MISSING
        and item.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise TilthError(f"job {where}: the entry {missing[0]!r} is missing")
    return cls(**{n: entry(known[n], value, where, nested) for n, value in values.items()})


def entry(item: dataclasses.Field, value: Any, where: str, nested: Nested) -> Any:
    """The value of one entry of a dataclass. Raises TilthError where it is of another type."""
    place = f"{where}.{item.name}"
    kind = str(item.type)
    inner = nested.get(kind)
    if inner is not None:
        if kind.startswith("List"):
            if not isinstance(value, list):
                raise TilthError(f"job {place}: a list is expected")
            return [build(inner, _object(part, place), place, nested) for part in value]
        if value is None and kind.startswith("Optional"):
            return None
        return build(inner, _object(value, place), place, nested)
    if not _fits(value, _TYPES[kind]):
        raise TilthError(f"job {place}: {value!r} is not of type {kind}")
    if isinstance(value, list):
        kinds = (str,) if kind == "List[str]" else (int,)
        if not all(_fits(part, kinds) for part in value):
            raise TilthError(f"job {place}: {value!r} is not of type {kind}")
    return value


def _fits(value: Any, allowed: Tuple[Any, ...]) -> bool:
    """Whether a value is of one of the types; True is no number here."""
    return isinstance(value, allowed) and (bool in allowed or not isinstance(value, bool))


def _object(value: Any, place: str) -> Dict[str, Any]:
    if not isinstance(value, dict):
        raise TilthError(f"job {place}: a JSON object is expected")
    return value
