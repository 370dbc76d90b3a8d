"""One maker of an environment at a time, also across QGIS windows, and none removed in use.

A lock of the operating system on an open file: it goes with its holder, so that a killed QGIS
leaves no stale lock behind.
"""

from __future__ import annotations

import errno
import os
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Callable, Iterator, Optional

from .faults import EnvironmentCancelled

_BUSY = {errno.EACCES, errno.EAGAIN, errno.EDEADLK}
_POLL_SECONDS = 0.2
_LOCKED_BYTE = 1 << 30  # far behind the text, which others may then read on Windows too


@contextmanager
def exclusive(
    path: Path, is_cancelled: Callable[[], bool], on_wait: Callable[[str], None]
) -> Iterator[int]:
    """Hold ``path`` locked; wait for another holder, told once. Yields the file descriptor."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        told = False
        while not _try_lock(descriptor):
            if is_cancelled():
                raise EnvironmentCancelled("Stopped.")
            if not told:
                told = True
                holder = path.read_text(encoding="utf-8").strip() or "unknown"
                on_wait(f"Another Tilth (process {holder}) is making the environment: waiting")
            time.sleep(_POLL_SECONDS)
        os.ftruncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode("ascii"))
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def in_use(path: Path) -> Iterator[Optional[int]]:
    """A file descriptor that a child inherits: ``is_in_use`` until it has ended, too. None on
    Windows, where files that are in use can't be removed anyway."""
    if sys.platform == "win32":
        yield None
        return
    import fcntl

    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        # The child starts none the less where the file system knows no locks.
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        yield descriptor
    finally:
        os.close(descriptor)


def is_in_use(path: Path) -> bool:
    """Whether a process lives that was started in ``in_use``."""
    if sys.platform == "win32" or not path.exists():
        return False
    descriptor = os.open(path, os.O_RDWR)
    try:
        return not _try_lock(descriptor)
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    """True when the lock is ours, or where the file system knows no locks."""
    try:
        if sys.platform == "win32":
            import msvcrt

            os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
            try:
                msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
            finally:
                os.lseek(descriptor, 0, os.SEEK_SET)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in _BUSY
    return True
