"""The threads that QGIS runs its tasks in: one a core, of which ours must not use up all."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Iterator

from qgis.core import QgsApplication
from qgis.PyQt.QtCore import QThreadPool


def pool_of_tasks() -> QThreadPool:
    """The manager's own threads (QGIS 3.40) or Qt's global ones (3.22)."""
    return QgsApplication.taskManager().findChild(QThreadPool) or QThreadPool.globalInstance()


@contextmanager
def thread_lent(pool: QThreadPool) -> Iterator[None]:
    """Give the pool one more thread meanwhile."""
    pool.releaseThread()
    try:
        yield
    finally:
        pool.reserveThread()
