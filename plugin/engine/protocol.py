"""How a job travels: one JSON object a line, requests in, events out.

One of the two modules that both halves of Tilth read (the other is jobs.py). Standard library
only, Python 3.9 syntax.

Requests (plugin to worker), told apart by ``request``::

    {"request": "run", "id": "...", "job": {"kind": "train", ...}}
    {"request": "cancel", "id": "..."}
    {"request": "quit"}

Events (worker to plugin), told apart by ``event``; all but ``ready`` carry the job's ``id``::

    {"event": "ready", "protocol": 1, "version": "...", "pid": 123}
    {"event": "started"}
    {"event": "progress", "fraction": 0.5, "message": "...", "seconds_left": 12.0 or null}
    {"event": "metrics", "epoch": 3, "epochs": 40, "values": {"train_loss": ..., ...}}
    {"event": "row", "row": {"choice": "...", "seed": 0, "score": 0.9, ...},
     "choices": [{"choice": "...", "score": 0.9, ...}, ...]}
    {"event": "notice", "level": "info" or "warning", "message": "..."}
    {"event": "result", "result": {...}}
    {"event": "error", "kind": "input", "cancelled", "memory" or "internal",
     "message": "...", "log": "path of the log file, or empty"}

A job ends with exactly one ``result`` or ``error``. Jobs are run one at a time, in the order in
which they came.
"""

from __future__ import annotations

import json
from typing import Any, Dict

VERSION = 1
# A line longer than this is no event of ours; reading it whole would only fill the memory.
MAX_LINE = 4 * 1024 * 1024


class ProtocolError(Exception):
    """A line that is not a message of this protocol."""


def encode(message: Dict[str, Any]) -> bytes:
    """The message as one line of UTF-8 JSON, newline included. NaN becomes null."""
    text = json.dumps(_finite(message), ensure_ascii=False, allow_nan=False) + "\n"
    # Bytes of a file's name that are no text are lone surrogates, which UTF-8 has not; escaped
    # with a backslash they are good JSON.
    return text.encode("utf-8", "backslashreplace")


def decode(line: bytes) -> Dict[str, Any]:
    """The message in a line. Raises ProtocolError when it is not a JSON object in UTF-8."""
    if len(line) > MAX_LINE:
        raise ProtocolError(f"a line of {len(line)} bytes is too long")
    try:
        message = json.loads(line.decode("utf-8"))
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise ProtocolError(f"not a JSON line: {line[:200]!r}") from error
    if not isinstance(message, dict):
        raise ProtocolError(f"not a JSON object: {line[:200]!r}")
    return message


def run(job_id: str, job: Dict[str, Any]) -> Dict[str, Any]:
    """The request to run a job."""
    return {"request": "run", "id": job_id, "job": job}


def cancel(job_id: str) -> Dict[str, Any]:
    """The request to stop a job."""
    return {"request": "cancel", "id": job_id}


def _finite(value: Any) -> Any:
    """The value with NaN and infinities, which JSON has not, as None."""
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value
