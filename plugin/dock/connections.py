"""Signals of objects that outlive the dock, so that every connection can be undone."""

from __future__ import annotations

import contextlib
from typing import Any, Callable, List, Tuple


class Connections:
    """Connections made, and how to take all of them back."""

    def __init__(self) -> None:
        self._made: List[Tuple[Any, Callable[..., Any]]] = []

    def add(self, signal: Any, slot: Callable[..., Any]) -> None:
        """Connect, and remember."""
        signal.connect(slot)
        self._made.append((signal, slot))

    def clear(self) -> None:
        """Disconnect everything, also from objects that are gone by now."""
        made, self._made = self._made, []
        for signal, slot in made:
            with contextlib.suppress(TypeError, RuntimeError):
                signal.disconnect(slot)
