"""uv's words, and what it has unpacked so far, as a rising fraction and a message for people."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Callable, Dict, Optional

Progress = Callable[[float, str], None]
_SIZE = re.compile(r"\s*Downloading (\S+) \(([\d.]+)\s*([KMG]?)i?B\)")
_DONE = re.compile(r"\s*Downloaded (\S+)")
_UNITS = {"": 1e-6, "K": 1e-3, "M": 1.0, "G": 1e3}
_PACKED = 0.6  # of a wheel's unpacked size; a little pessimistic, so that the bar need not wait


class Stage:
    """A part of the whole, from ``start`` to ``end``; the fraction never falls."""

    def __init__(self, report: Progress, start: float, end: float) -> None:
        self._report, self._start, self._end = report, start, end
        self._reached = 0.0

    def at(self, fraction: float, message: str) -> None:
        """``fraction`` of this stage is done."""
        self._reached = max(self._reached, min(fraction, 1.0))
        self._report(self._start + (self._end - self._start) * self._reached, message)


class Installation:
    """Follows ``uv pip install``, whose log names the large files as they start and end.

    Between the lines it looks into uv's cache, where files lie in ``.tmp…`` folders while they
    arrive: a single one can take a quarter of an hour.
    """

    def __init__(self, stage: Stage, what: str, cache: Optional[Path] = None) -> None:
        self._stage, self._what, self._cache = stage, what, cache
        self._sizes: Dict[str, float] = {}
        self._done = 0.0
        self._shown = 0.0

    def line(self, line: str) -> None:
        """One line of uv's output."""
        size, done = _SIZE.match(line), _DONE.match(line)
        if size:
            name, number, unit = size.groups()
            self._sizes[name] = float(number) * _UNITS[unit]
        elif done:
            self._done += self._sizes.pop(done.group(1), 0.0)
        elif line.startswith("Resolved"):
            self._stage.at(0.02, f"{self._what}: the packages are known")
        elif line.startswith("Prepared"):
            self._stage.at(0.9, f"{self._what}: downloaded, now installing")
        elif line.startswith("Installed"):
            self._stage.at(1.0, f"{self._what}: installed")
        if size or done:
            self._show(0.0)

    def look(self) -> None:
        """Count what has arrived of the files under way."""
        if self._cache is not None and self._sizes:
            self._show(_megabytes_arriving(self._cache) * _PACKED)

    def _show(self, arriving: float) -> None:
        waiting = sum(self._sizes.values())
        total = self._done + waiting
        self._shown = max(self._shown, self._done + min(arriving, waiting))
        message = f"{self._what}: {self._shown:.0f} of {total:.0f} MB downloaded"
        self._stage.at(0.05 + 0.85 * self._shown / max(total, 1.0), message)


def _megabytes_arriving(cache: Path) -> float:
    """The sizes of the files in the cache's temporary folders."""
    total = 0
    for folder in cache.glob(".tmp*"):
        for parent, _, names in os.walk(folder):
            for name in names:
                try:
                    total += (Path(parent) / name).stat().st_size
                except OSError:  # moved to its place meanwhile
                    continue
    return total / 1e6
