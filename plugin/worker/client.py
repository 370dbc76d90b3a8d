"""The client of one worker process: a job in, events out, a result back."""

from __future__ import annotations

import os
import queue
import threading
import time
import uuid
from pathlib import Path
from typing import Any, Callable, Dict, Mapping, Optional, Sequence, Union

from ..engine import jobs, protocol
from ..engine.errors import TilthError
from ..environment import explain, paths
from ..environment.child import child_environment
from ..environment.exclusive import in_use
from . import faults, process
from .faults import WorkerError

__all__ = ["Event", "IsCancelled", "OnEvent", "WorkerClient", "WorkerError"]

Event = Dict[str, Any]
OnEvent = Callable[[Event], None]
IsCancelled = Callable[[], bool]

CANCEL_SECONDS = 2.0
START_SECONDS = 180.0
_QUIT_SECONDS = 1.0
_POLL_SECONDS = 0.1


def progress(fraction: float, message: str) -> Event:
    """A progress event of the plugin's own, like those of the engine."""
    return {
        "event": "progress",
        "fraction": fraction,
        "message": message,
        "seconds_left": None,
    }


class WorkerClient:
    """Runs jobs, one at a time, in a worker process that lives on between them.

    The process is started by the first job and again after it went. Every method may be called
    from any thread; ``run`` blocks and belongs into a task's thread.
    """

    def __init__(
        self,
        python: Union[str, Path],
        log_folder: Union[str, Path],
        *,
        argv: Optional[Sequence[str]] = None,
        environment: Optional[Mapping[str, str]] = None,
        start_seconds: float = START_SECONDS,
        cancel_seconds: float = CANCEL_SECONDS,
    ) -> None:
        self.python = Path(python)
        self._log_folder = Path(log_folder)
        self._argv = list(argv) if argv is not None else process.command(self.python)
        self._environment = environment
        self._start_seconds = start_seconds
        self._cancel_seconds = cancel_seconds
        self._state = threading.Lock()
        self._process: Optional[process.WorkerProcess] = None
        self._ready = False
        self._busy = False
        self._closed = False

    @property
    def busy(self) -> bool:
        """Whether a job is running."""
        return self._busy

    @property
    def pid(self) -> Optional[int]:
        """The number of the worker process, None where there is none."""
        worker = self._process
        return worker.pid if worker is not None and worker.exit_code is None else None

    @property
    def log(self) -> str:
        """The path of the log of the present or last process, or empty."""
        worker = self._process
        return str(worker.log) if worker is not None else ""

    def run(
        self,
        job: Any,
        on_event: Optional[OnEvent] = None,
        is_cancelled: Optional[IsCancelled] = None,
    ) -> Dict[str, Any]:
        """Run a job and return its result. Raises WorkerError.

        ``on_event`` gets every event but the last, in this thread. A job that was cancelled is
        asked to stop; a worker that does not within two seconds is killed.
        """
        listen = on_event or (lambda event: None)
        cancelled = is_cancelled or (lambda: False)
        try:
            job.check()
        except TilthError as error:
            raise WorkerError("input", str(error)) from error
        self._claim()
        try:
            return self._run(jobs.to_json(job), listen, cancelled)
        finally:
            self._busy = False

    def close(self) -> None:
        """End the worker, now. A job that runs ends as cancelled. May be called again."""
        with self._state:
            self._closed = True
            worker, self._process = self._process, None
        if worker is not None:
            worker.end(_QUIT_SECONDS if self._ready and not self._busy else 0.0)

    def _claim(self) -> None:
        with self._state:
            if self._closed:
                raise WorkerError("cancelled", "The engine was shut down.")
            if self._busy:
                raise RuntimeError("a worker runs one job at a time; the pool hands them out")
            self._busy = True

    def _run(self, job: Event, listen: OnEvent, cancelled: IsCancelled) -> Dict[str, Any]:
        retried = False
        while True:
            worker = self._started(listen, cancelled)
            exchange = _Exchange(worker, listen, cancelled, self._cancel_seconds)
            try:
                return exchange.run(job)
            except _Gone as gone:
                code = self._drop(worker)
                if self._closed or gone.wanted:
                    raise WorkerError("cancelled", "Cancelled.") from gone
                # It may have gone while it was idle, and this job just came too late.
                if retried or gone.started:
                    raise faults.died(code, worker.log) from gone
                retried = True
            except WorkerError as error:
                if error.kind == "protocol":
                    self._drop(worker)
                raise
            except BaseException:
                # The listener failed: nobody waits for this job any more.
                self._drop(worker)
                raise

    def _started(self, listen: OnEvent, cancelled: IsCancelled) -> process.WorkerProcess:
        """The worker process, ready for a job.

        Cancelling does not stop one that is starting: it will serve the next job.
        """
        worker = self._process
        if worker is not None and worker.exit_code is not None:
            self._drop(worker)
            worker = None
        if worker is not None and self._ready:
            return worker
        listen(progress(0.0, "Starting the engine"))
        if worker is None:
            worker = self._start()
        try:
            _await_ready(worker, cancelled, self._start_seconds)
        except _Gone as gone:
            if gone.wanted and not self._closed:
                raise WorkerError("cancelled", "Cancelled.") from gone
            code = self._drop(worker)
            if self._closed:
                raise WorkerError("cancelled", "Cancelled.") from gone
            raise faults.died(code, worker.log) from gone
        except BaseException:
            self._drop(worker)
            raise
        self._ready = True
        return worker

    def _start(self) -> process.WorkerProcess:
        environment = self._environment
        if environment is None:
            environment = child_environment(os.environ)
        with self._state:
            if self._closed:
                raise WorkerError("cancelled", "The engine was shut down.")
            self._ready = False
            try:
                log = process.new_log(self._log_folder)
                # Else another QGIS could remove the environment meanwhile.
                with in_use(paths.use_file(self.python.parent.parent)) as held:
                    self._process = process.WorkerProcess(self._argv, environment, log, held)
            except OSError as error:
                raise WorkerError(
                    "environment", f"The engine could not be started: {explain.refused(error)}"
                ) from error
            return self._process

    def _drop(self, worker: process.WorkerProcess) -> int:
        """End a process that is of no more use; its exit code."""
        with self._state:
            if self._process is worker:
                self._process = None
            self._ready = False
        return worker.end()


class _Gone(Exception):  # noqa: N818 - a turn of events, not a fault
    """The process is gone, or has to go: ``wanted`` where the user cancelled."""

    def __init__(self, wanted: bool = False, started: bool = False) -> None:
        super().__init__()
        self.wanted = wanted
        self.started = started


class _Exchange:
    """One job's conversation with a worker."""

    def __init__(
        self,
        worker: process.WorkerProcess,
        listen: OnEvent,
        cancelled: IsCancelled,
        cancel_seconds: float,
    ) -> None:
        self._worker = worker
        self._listen = listen
        self._cancelled = cancelled
        self._cancel_seconds = cancel_seconds
        self._id = uuid.uuid4().hex
        self._deadline: Optional[float] = None
        self._started = False

    def run(self, job: Event) -> Dict[str, Any]:
        if not self._worker.send(protocol.run(self._id, job)):
            raise _Gone()
        while True:
            self._check_cancel()
            try:
                event = _next(self._worker)
            except _Gone as gone:
                raise _Gone(self._deadline is not None, self._started) from gone
            if event is not None and event.get("id") == self._id:
                self._started = True
                if event["event"] in ("result", "error"):
                    return self._outcome(event)
                self._listen(event)

    def _check_cancel(self) -> None:
        """Pass a wish to stop on, and lose patience in the end."""
        if self._deadline is None:
            if self._cancelled():
                self._deadline = time.monotonic() + self._cancel_seconds
                self._worker.send(protocol.cancel(self._id))
        elif time.monotonic() > self._deadline:
            raise _Gone(wanted=True, started=self._started)

    def _outcome(self, event: Event) -> Dict[str, Any]:
        # A result that came before the wish to stop was heard is a result.
        if event["event"] == "result":
            result = event.get("result")
            if isinstance(result, dict):
                return result
            raise WorkerError("protocol", "The engine gave no result.", str(self._worker.log))
        raise WorkerError(
            str(event.get("kind") or "internal"),
            str(event.get("message") or "The engine failed without a reason."),
            str(event.get("log") or ""),
        )


def _next(worker: process.WorkerProcess) -> Optional[Event]:
    """The next event, or None after a short while without one. Raises _Gone at the end."""
    try:
        event = worker.messages.get(timeout=_POLL_SECONDS)
    except queue.Empty:
        if worker.exit_code is not None:
            # Children of a dead worker may still hold its output open; without them it ends.
            worker.kill()
        if worker.noisy:
            raise WorkerError(
                "protocol",
                f"The engine's output could not be read. Its log is {worker.log}",
                str(worker.log),
            ) from None
        return None
    if event is None:
        raise _Gone()
    return event


def _await_ready(worker: process.WorkerProcess, cancelled: IsCancelled, seconds: float) -> None:
    """Wait for a new worker's first word. Raises WorkerError or _Gone."""
    deadline = time.monotonic() + seconds
    while True:
        if cancelled():
            raise _Gone(wanted=True)
        event = _next(worker)
        if event is not None:
            _check_ready(event, worker)
            return
        if time.monotonic() > deadline:
            raise WorkerError(
                "protocol",
                f"The engine did not start within {seconds:.0f} seconds. Its log is {worker.log}",
                str(worker.log),
            )


def _check_ready(event: Event, worker: process.WorkerProcess) -> None:
    """Raise WorkerError where the engine is not of this plugin's version."""
    version = event.get("protocol") if event["event"] == "ready" else None
    if version == protocol.VERSION:
        return
    age = "unknown"
    if isinstance(version, int):
        age = "older" if version < protocol.VERSION else "newer"
    raise WorkerError(
        "protocol",
        f"The engine does not fit this plugin (its protocol is {age}: {version!r}, needed is "
        f"{protocol.VERSION}). Restart QGIS, and install the plugin again if that does not help.",
        str(worker.log),
    )
