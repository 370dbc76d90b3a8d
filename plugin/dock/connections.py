"""Signals of objects that outlive the dock, so that every connection can be undone."""

from __future__ import annotations

import contextlib
from typing import Any, Callable, Iterable, List, Optional, Tuple

from qgis.core import QgsMapLayer


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


class Places:
    """Where layers lie and what they read: tells when one is mended that the user has chosen."""

    def __init__(self, tell: Callable[[], None]) -> None:
        self._tell = tell
        self._followed: List[Connections] = []

    def follow(self, layers: Iterable[Optional[QgsMapLayer]]) -> None:
        """Follow these layers, and no others."""
        self.shut_down()
        for layer in layers:
            if layer is None:
                continue
            made = Connections()
            made.add(layer.crsChanged, self._tell)
            made.add(layer.dataSourceChanged, self._tell)
            # Signals of a layer that is gone can't be disconnected: QGIS crashes.
            made.add(layer.willBeDeleted, made.clear)
            self._followed.append(made)

    def shut_down(self) -> None:
        """Follow nothing."""
        followed, self._followed = self._followed, []
        for made in followed:
            made.clear()
