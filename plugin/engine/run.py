"""One way to run any job, for the worker and the command line alike."""

from __future__ import annotations

import errno
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

from .errors import Cancelled, OutOfMemoryError, TilthError
from .events import Reporter
from .jobs import (
    AddJob,
    CompareJob,
    DescribeJob,
    EvaluateJob,
    FetchJob,
    InspectJob,
    PlanJob,
    PredictJob,
    RemoveJob,
    TrainJob,
)


class Runner:
    """Runs jobs, and keeps what the next one can use again (the model of the last map)."""

    def __init__(self) -> None:
        self._models: Any = None

    def run(self, job: Any, reporter: Reporter) -> dict[str, Any]:
        """The job's result. Raises TilthError, Cancelled, or whatever goes wrong inside.

        The verbs are imported here, since PyTorch takes seconds to load and ``inspect`` should
        not wait for it.
        """
        if isinstance(job, TrainJob):
            from .train import train

            return train(job, reporter)
        if isinstance(job, PlanJob):
            from .planning import plan

            return plan(job, reporter)
        if isinstance(job, CompareJob):
            from .compare import compare

            return compare(job, reporter)
        if isinstance(job, PredictJob):
            from .predict import Models, predict

            self._models = self._models or Models()
            return predict(job, reporter, self._models)
        if isinstance(job, EvaluateJob):
            from .evaluate import evaluate

            return evaluate(job)
        if isinstance(job, InspectJob):
            from .inspection import inspect

            return inspect(job)
        if isinstance(job, DescribeJob):
            from .describe import describe

            return describe(job)
        if isinstance(job, FetchJob):
            from .weights import fetch_weights

            return fetch_weights(job, reporter)
        if isinstance(job, AddJob):
            from .weights import add_weights

            return add_weights(job, reporter)
        if isinstance(job, RemoveJob):
            from .weights import remove_weights

            return remove_weights(job)
        raise TilthError(f"job: {type(job).__name__} can't be run")

    def release(self) -> None:
        """Give the device's memory back, after some idle time."""
        if self._models is not None:
            self._models.forget()


def failure(error: BaseException) -> dict[str, Any]:
    """The ``error`` event for an exception; an unforeseen one leaves its traceback in a log."""
    if isinstance(error, (Cancelled, KeyboardInterrupt)):
        return _event("cancelled", "cancelled")
    if isinstance(error, OutOfMemoryError):
        return _event("memory", str(error))
    if isinstance(error, TilthError):
        return _event("input", str(error))
    if isinstance(error, MemoryError):
        return _event("memory", "the computer's memory is full; close other programs")
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return _event("input", f"the disk is full ({error.filename or 'temporary folder'})")
    log = _write_log(error)
    text = f"internal error: {type(error).__name__}: {str(error)[:300]}"
    return _event("internal", text, log)


def _event(kind: str, message: str, log: str = "") -> dict[str, Any]:
    line = " ".join(message.split())
    return {"event": "error", "kind": kind, "message": line, "log": log}


def _write_log(error: BaseException) -> str:
    text = "".join(traceback.format_exception(error))
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="tilth-", suffix=".log", delete=False, encoding="utf-8"
        ) as file:
            file.write(text)
        return str(Path(file.name))
    except OSError:
        sys.stderr.write(text)
        return ""
