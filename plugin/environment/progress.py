"""uv's words as a rising fraction and a message for people."""

from __future__ import annotations

import re
from typing import Callable, Dict

Progress = Callable[[float, str], None]
_SIZE = re.compile(r"\s*Downloading (\S+) \(([\d.]+)\s*([KMG]?)i?B\)")
_DONE = re.compile(r"\s*Downloaded (\S+)")
_UNITS = {"": 1e-6, "K": 1e-3, "M": 1.0, "G": 1e3}


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
    """Follows ``uv pip install``, whose log names the large files as they start and end."""

    def __init__(self, stage: Stage, what: str) -> None:
        self._stage, self._what = stage, what
        self._sizes: Dict[str, float] = {}
        self._done = 0.0

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
            total = self._done + sum(self._sizes.values())
            message = f"{self._what}: {self._done:.0f} of {total:.0f} MB downloaded"
            self._stage.at(0.05 + 0.85 * self._done / max(total, 1.0), message)
