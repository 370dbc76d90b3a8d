"""What a job tells while it runs, and how it learns that it should stop."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from .errors import Cancelled

Emit = Callable[[dict[str, Any]], None]


class Reporter:
    """Turns a job's course into the events of protocol.py.

    ``emit`` gets each event as a dictionary; ``is_cancelled`` is asked at every step.
    """

    def __init__(self, emit: Emit, is_cancelled: Callable[[], bool] = lambda: False) -> None:
        self._emit = emit
        self._is_cancelled = is_cancelled
        self._started = time.monotonic()
        self._sent = -1.0
        self.warnings: list[str] = []

    def progress(self, fraction: float, message: str, seconds_left: float | None = None) -> None:
        """Tell how far the job is (0 to 1). Raises Cancelled when the user asked to stop."""
        self.check()
        now = time.monotonic()
        # Ten a second are enough for a progress bar; the last one always goes out.
        if fraction < 1.0 and now - self._sent < 0.1:
            return
        self._sent = now
        self._emit(
            {
                "event": "progress",
                "fraction": min(max(fraction, 0.0), 1.0),
                "message": message,
                "seconds_left": seconds_left,
            }
        )

    def metrics(self, epoch: int, epochs: int, values: dict[str, float | None]) -> None:
        """Tell an epoch's figures."""
        self._emit({"event": "metrics", "epoch": epoch, "epochs": epochs, "values": values})

    def row(self, row: dict[str, Any], choices: list[dict[str, Any]]) -> None:
        """Tell a finished run of a comparison, and how the choices stand with it."""
        self._emit({"event": "row", "row": row, "choices": choices})

    def info(self, message: str) -> None:
        """Tell something worth knowing."""
        self._emit({"event": "notice", "level": "info", "message": message})

    def warn(self, message: str) -> None:
        """Tell something that may spoil the result; it is kept for the report as well."""
        if message not in self.warnings:
            self.warnings.append(message)
            self._emit({"event": "notice", "level": "warning", "message": message})

    def check(self) -> None:
        """Raise Cancelled when the user asked to stop."""
        if self._is_cancelled():
            raise Cancelled

    @property
    def seconds(self) -> float:
        """Seconds since the job began."""
        return time.monotonic() - self._started


def silent() -> Reporter:
    """A reporter that nobody listens to."""
    return Reporter(lambda event: None)
