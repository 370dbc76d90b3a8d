"""What went wrong with a worker, in words for people."""

from __future__ import annotations

import signal
from pathlib import Path

# How a process ends on Windows, as the exit code that Python gives.
_WINDOWS = {
    0xC0000005: "it crashed: access violation",
    0xC0000017: "most likely out of memory",
    0xC000009A: "most likely out of memory",
    0xC000012D: "most likely out of memory",
    0xC00000FD: "it crashed: stack overflow",
    0xC0000135: "a library is missing; install the Microsoft Visual C++ runtime",
    0xC000013A: "it was interrupted",
    0xC0000142: "a library did not start; install the Microsoft Visual C++ runtime",
    0xC0000409: "it crashed",
}
_SIGNALS = {
    "SIGKILL": "killed, most likely out of memory",
    "SIGSEGV": "it crashed: segmentation fault",
    "SIGABRT": "it crashed: aborted",
    "SIGBUS": "it crashed: bus error, possibly a full disk",
    "SIGILL": "it crashed: this processor lacks an instruction that a library needs",
    "SIGTERM": "it was asked to end",
    "SIGINT": "it was interrupted",
}
_LOG_TAIL = 64 * 1024


class WorkerError(Exception):
    """A job that gave no result.

    ``kind`` is one of the engine's (``input``, ``cancelled``, ``memory``, ``internal``) or of the
    client's: ``died`` (the process ended in the middle), ``protocol`` (it does not speak as it
    should), ``environment`` (there is no engine to start). ``message`` is one line, ``log`` the
    path of a log file or empty.
    """

    def __init__(self, kind: str, message: str, log: str = "") -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.log = log


def exit_text(code: int) -> str:
    """An exit code in words, such as "exit code -9: killed, most likely out of memory"."""
    reason = _reason(code)
    return f"exit code {code}: {reason}" if reason else f"exit code {code}"


def _reason(code: int) -> str:
    if code == 0:
        return "it ended by itself"
    unsigned = code & 0xFFFFFFFF
    if unsigned in _WINDOWS:
        return _WINDOWS[unsigned]
    # A shell or a container in between turns signal 9 into exit code 137.
    number = -code if code < 0 else code - 128
    try:
        return _SIGNALS.get(signal.Signals(number).name, "") if 0 < number < 65 else ""
    except ValueError:
        return ""


def died(code: int, log: Path) -> WorkerError:
    """The error for a worker that ended in the middle of a job."""
    parts = [f"The engine stopped ({exit_text(code)})."]
    last = last_line(log)
    if last and code > 0:
        parts.append(f"The last line of its log: {last}.")
    parts.append(f"Its log is {log}")
    return WorkerError("died", " ".join(parts), str(log))


def last_line(log: Path) -> str:
    """The last line of a log that says something, shortened; empty where there is none."""
    try:
        with log.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - _LOG_TAIL))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    told = [line.strip() for line in lines if line.strip()]
    return told[-1][:300].rstrip(".") if told else ""
