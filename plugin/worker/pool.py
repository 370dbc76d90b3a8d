"""The workers of one QGIS: at most two, so that mapping goes on beside training."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Union

from ..environment.faults import EnvironmentError_
from .client import IsCancelled, OnEvent, WorkerClient, WorkerError, progress

MOST_WORKERS = 2
_WAIT_SECONDS = 0.1
# Jobs that take long and much memory: one of each kind at a time.
_ALONE = ("train", "predict", "evaluate", "fetch")
_NAMES = {
    "train": "training",
    "predict": "mapping",
    "evaluate": "evaluation",
    "fetch": "download",
}


@dataclass
class _Slot:
    """A place for a worker, with what it does now and what it did last."""

    client: Optional[WorkerClient] = None
    job: str = ""
    last: str = ""

    @property
    def alive(self) -> bool:
        return self.client is not None and self.client.pid is not None


class WorkerPool:
    """Hands jobs to workers; where none is free, the job waits and says so."""

    def __init__(
        self,
        python_of: Callable[[], Optional[Path]],
        log_folder: Union[str, Path],
        *,
        client: Callable[[Path, Path], WorkerClient] = WorkerClient,
    ) -> None:
        """``python_of`` gives the engine's interpreter, None where there is none yet."""
        self._python_of = python_of
        self._log_folder = Path(log_folder)
        self._new_client = client
        self._slots = [_Slot() for _ in range(MOST_WORKERS)]
        self._ends: List[threading.Thread] = []
        self._changed = threading.Condition()
        self._closed = False

    @property
    def running(self) -> List[str]:
        """The kinds of the jobs that run now."""
        return [slot.job for slot in self._slots if slot.job]

    @property
    def pids(self) -> List[int]:
        """The numbers of the worker processes that are alive."""
        clients = [slot.client for slot in self._slots if slot.client is not None]
        return [pid for pid in (client.pid for client in clients) if pid is not None]

    def run(
        self,
        job: Any,
        on_event: Optional[OnEvent] = None,
        is_cancelled: Optional[IsCancelled] = None,
    ) -> Dict[str, Any]:
        """Run a job in a worker and return its result; blocks. Raises WorkerError."""
        python = self._python()
        slot = self._claim(job.kind, on_event or _deaf, is_cancelled or _never)
        try:
            client = self._client(slot, python)
            return client.run(job, on_event, is_cancelled)
        finally:
            with self._changed:
                slot.job, slot.last = "", slot.job
                self._changed.notify_all()

    def restart(self) -> None:
        """End the workers that are idle: the next job starts one of the environment as it is.

        Waits for nothing, since the event loop may call it.
        """
        with self._changed:
            idle = [slot for slot in self._slots if not slot.job]
            self._end([slot.client for slot in idle if slot.client])
            for slot in idle:
                slot.client = None

    def end_idle(self) -> None:
        """The same, but returns once they are gone; for a task's thread."""
        self.restart()
        self._await_ends()

    def close(self) -> None:
        """End all workers; running and waiting jobs end as cancelled. May be called again."""
        with self._changed:
            self._closed = True
            self._end([slot.client for slot in self._slots if slot.client])
            self._changed.notify_all()
        self._await_ends()

    def _end(self, clients: List[WorkerClient]) -> None:
        """End each in a thread of its own, where its process is waited for."""
        self._ends = [thread for thread in self._ends if thread.is_alive()]
        for client in clients:
            thread = threading.Thread(target=client.close, name="tilth-worker-end", daemon=True)
            thread.start()
            self._ends.append(thread)

    def _await_ends(self) -> None:
        with self._changed:
            ends = list(self._ends)
        for thread in ends:
            thread.join()

    def _python(self) -> Path:
        try:
            python = self._python_of()
        except EnvironmentError_ as error:
            raise WorkerError("environment", str(error)) from error
        if python is None:
            raise WorkerError(
                "environment", "The engine is not installed yet: install it from Tilth's dock."
            )
        return Path(python)

    def _claim(self, kind: str, listen: OnEvent, cancelled: IsCancelled) -> _Slot:
        """A slot for a job of this kind, once there is one."""
        told = ""
        while True:
            with self._changed:
                if self._closed or cancelled():
                    raise WorkerError("cancelled", "Cancelled.")
                slot = self._free(kind)
                if slot is not None:
                    slot.job = kind
                    return slot
                waits_for = self._obstacle(kind)
                if waits_for == told:
                    self._changed.wait(_WAIT_SECONDS)
            if waits_for != told:
                told = waits_for
                listen(progress(0.0, f"Waiting for the {waits_for} to finish"))

    def _free(self, kind: str) -> Optional[_Slot]:
        if kind in _ALONE and kind in self.running:
            return None
        free = [slot for slot in self._slots if not slot.job]
        # A live worker has its imports done; one that did the same has its model loaded too.
        return max(free, key=lambda slot: (slot.alive, slot.last == kind), default=None)

    def _obstacle(self, kind: str) -> str:
        running = self.running
        blocking = kind if kind in running else running[0]
        return _NAMES.get(blocking, "other work")

    def _client(self, slot: _Slot, python: Path) -> WorkerClient:
        """The slot's client, a new one where the interpreter is another than before."""
        old = slot.client
        if old is not None and old.python == python:
            return old
        if old is not None:
            old.close()
        with self._changed:
            if self._closed:
                raise WorkerError("cancelled", "The engine was shut down.")
            slot.client = self._new_client(python, self._log_folder)
            return slot.client


def _deaf(event: Dict[str, Any]) -> None:
    """Listen to nothing."""


def _never() -> bool:
    """Never cancelled."""
    return False
