"""The worker: jobs in as JSON lines on standard input, events out on standard output."""

from __future__ import annotations

import contextlib
import os
import queue
import sys
import threading
from typing import Any, BinaryIO, NoReturn

from . import protocol
from .errors import TilthError
from .events import Reporter
from .jobs import from_json
from .run import Runner, failure
from .version import VERSION

IDLE_SECONDS = 300.0
NICENESS = 10
# Of an error's text; a letter takes six bytes of a line at most.
MOST_LETTERS = 20_000


class Worker:
    """Runs one job at a time on the main thread; a thread of its own reads the requests."""

    def __init__(self, source: BinaryIO, sink: BinaryIO) -> None:
        self._source = source
        self._sink = sink
        self._writing = threading.Lock()
        self._requests: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._waiting: set[str] = set()
        self._cancelled: set[str] = set()
        self._runner = Runner()

    def serve(self) -> None:
        """Work until the requests end or one says quit."""
        threading.Thread(target=self._listen, daemon=True).start()
        self._send(
            {
                "event": "ready",
                "protocol": protocol.VERSION,
                "version": VERSION,
                "pid": os.getpid(),
            }
        )
        while True:
            try:
                request = self._requests.get(timeout=IDLE_SECONDS)
            except queue.Empty:
                self._runner.release()
                continue
            if request is None:
                return
            self._work(str(request.get("id", "")), request.get("job"))

    def _work(self, job_id: str, data: Any) -> None:
        def emit(event: dict[str, Any]) -> None:
            self._send({**event, "id": job_id})

        def is_cancelled() -> bool:
            return job_id in self._cancelled

        emit({"event": "started"})
        try:
            reporter = Reporter(emit, is_cancelled)
            reporter.check()
            emit({"event": "result", "result": self._runner.run(from_json(data), reporter)})
        except Exception as error:
            self._fail(job_id, error)
        self._waiting.discard(job_id)
        self._cancelled.discard(job_id)

    def _listen(self) -> None:
        """Take requests until the end of the input; then the plugin is gone, and so are we."""
        for line in iter(lambda: self._source.readline(protocol.MAX_LINE), b""):
            if not line.strip():
                continue
            try:
                message = protocol.decode(line)
            except protocol.ProtocolError as error:
                self._refuse("", str(error))
                continue
            self._take(message)
        # A job may be deep inside a library call: nothing short of this ends the process now.
        os._exit(0)

    def _take(self, message: dict[str, Any]) -> None:
        request, job_id = message.get("request"), str(message.get("id", ""))
        if request == "run":
            self._waiting.add(job_id)
            self._requests.put(message)
        elif request == "cancel":
            # A cancel may come too late; it must not wait for another job of that name.
            if job_id in self._waiting:
                self._cancelled.add(job_id)
        elif request == "quit":
            self._requests.put(None)
        else:
            self._refuse(job_id, f"unknown request {request!r}")

    def _refuse(self, job_id: str, reason: str) -> None:
        self._fail(job_id, TilthError(f"worker: {reason}"))

    def _fail(self, job_id: str, error: Exception) -> None:
        event = failure(error)
        self._send({**event, "message": event["message"][:MOST_LETTERS], "id": job_id})

    def _send(self, event: dict[str, Any]) -> None:
        """Write an event. Raises ProtocolError for one that the plugin wouldn't read: it takes a
        line that is too long for noise, and would wait for the job's end for ever."""
        line = protocol.encode(event)
        if len(line) > protocol.MAX_LINE:
            raise protocol.ProtocolError(
                f"a {event['event']} of {len(line)} bytes is too long to be told"
            )
        with self._writing, contextlib.suppress(BrokenPipeError):
            self._sink.write(line)
            self._sink.flush()


def main() -> NoReturn:
    """Serve on the standard streams; whatever libraries print goes to standard error."""
    lower_priority()
    sink = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    Worker(sys.stdin.buffer, sink).serve()
    # An orderly end would wait for the thread that reads the input, and abort.
    sys.stderr.flush()
    os._exit(0)


def lower_priority() -> None:
    """Let QGIS go first; a worker of a worker goes no lower.

    On Windows the plugin starts the worker at a lower priority instead.
    """
    if hasattr(os, "nice"):
        with contextlib.suppress(OSError):
            os.nice(max(0, NICENESS - os.nice(0)))
