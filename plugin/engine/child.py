"""A worker of this engine in a process of its own, for jobs that are measured apart."""

from __future__ import annotations

import contextlib
import queue
import subprocess  # nosec B404
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import protocol
from .errors import TilthError

LAUNCHER = Path(__file__).with_name("launch.py")
_NO_WINDOW = 0x08000000
_POLL_SECONDS = 0.1
_KILLED = -9


def command() -> list[str]:
    """What starts a worker, as the plugin starts it."""
    return [sys.executable, "-I", "-u", "-X", "utf8", str(LAUNCHER), "worker"]


class ChildError(TilthError):
    """A job in a child failed; `kind` is that of its error event, or "died"."""

    def __init__(self, message: str, kind: str) -> None:
        super().__init__(message)
        self.kind = kind


class Child:
    """A worker process, to be used in a ``with`` block; it is gone at the block's end.

    It ends by itself where this process is killed, as its standard input closes then.
    """

    def __init__(self, log: Path) -> None:
        """``log`` takes what libraries print."""
        with log.open("ab") as errors:
            self._process = subprocess.Popen(  # nosec B603 # a fixed list of arguments, no shell
                command(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                creationflags=_NO_WINDOW if sys.platform == "win32" else 0,
            )
        self._events: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._jobs = 0
        threading.Thread(target=self._listen, daemon=True).start()

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *fault: object) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def run(
        self, job: dict[str, Any], hear: Callable[[dict[str, Any]], None], check: Callable[[], None]
    ) -> dict[str, Any]:
        """A job's result. ``check`` is called often and may raise; ``hear`` gets the events.

        Raises ChildError where the job fails or the process dies.
        """
        self._jobs += 1
        name = str(self._jobs)
        self._send(protocol.run(name, job))
        while True:
            check()
            try:
                event = self._events.get(timeout=_POLL_SECONDS)
            except queue.Empty:
                continue
            if event is None:
                raise self._dead()
            if event.get("id") != name:
                continue
            if event["event"] == "result":
                return dict(event["result"])
            if event["event"] == "error":
                log = f" (details are in {event['log']})" if event["log"] else ""
                raise ChildError(event["message"] + log, event["kind"])
            hear(event)

    def _send(self, message: dict[str, Any]) -> None:
        pipe = self._process.stdin
        try:
            if pipe is not None:
                pipe.write(protocol.encode(message))
                pipe.flush()
        except OSError as error:
            raise self._dead() from error

    def _dead(self) -> ChildError:
        code = self._process.wait()
        text = f"its process ended unexpectedly (exit code {code})"
        if code == _KILLED:
            text = "the system killed its process, most likely because memory ran out"
        return ChildError(text, "died")

    def _listen(self) -> None:
        """Take events until the output ends."""
        pipe = self._process.stdout
        # A pipe that is closed while it is read ends the thread, as the end of the output does.
        with contextlib.suppress(OSError, ValueError):
            for line in pipe or ():
                with contextlib.suppress(protocol.ProtocolError):
                    self._events.put(protocol.decode(line))
        self._events.put(None)
