"""Keeps tasks alive from their start to their end, and ends them all at unload.

QGIS owns a task in C++ only: without a Python reference its signals and its ``run`` are collected
as garbage while it works.
"""

from __future__ import annotations

import time
from typing import List, Optional, Set, TypeVar

from qgis.core import QgsApplication, QgsTask
from qgis.PyQt.QtCore import QCoreApplication, QEventLoop

from ..worker.pool import WorkerPool
from .base import BaseTask
from .threads import pool_of_tasks, thread_lent

# The event loop waits no longer than this for a thread.
_START_SECONDS = 0.2
_tasks: Set[BaseTask] = set()
_Task = TypeVar("_Task", bound=BaseTask)


def start(task: _Task) -> _Task:
    """Hand a task to QGIS's task manager and keep it until it has ended."""
    _tasks.add(task)
    task.ended.connect(lambda: _tasks.discard(task))
    with thread_lent(pool_of_tasks()):
        QgsApplication.taskManager().addTask(task)
        _await_start(task)
    return task


def _await_start(task: BaseTask) -> None:
    """Let a thread take the task before any event is handled: milliseconds, as one is free.

    QGIS's manager, told that another task has ended, takes that one's runnable out of the queue of
    threads by an address which is free again by then. Where a waiting task's runnable has come to
    lie there, that task is lost: it waits for ever (seen in QGIS 3.22).
    """
    deadline = time.monotonic() + _START_SECONDS
    while task.status() == QgsTask.TaskStatus.Queued and time.monotonic() < deadline:
        time.sleep(0.0005)


def running() -> List[BaseTask]:
    """The tasks that have not ended yet."""
    return list(_tasks)


def stop_all(pool: Optional[WorkerPool] = None, seconds: float = 5.0) -> bool:
    """Cancel every task, wait until they have ended, and say whether they have.

    To be called in the main thread at unload. ``pool`` is closed, which ends its processes.
    """
    for task in running():
        task.cancel()
    if pool is not None:
        pool.close()
    deadline = time.monotonic() + seconds
    while _tasks and time.monotonic() < deadline:
        # The ends of tasks arrive as events. What the user does meanwhile has to wait.
        QCoreApplication.processEvents(QEventLoop.ProcessEventsFlag.ExcludeUserInputEvents, 50)
        time.sleep(0.005)
    return not _tasks
