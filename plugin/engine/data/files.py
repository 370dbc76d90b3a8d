"""Outputs that appear whole or not at all, and file faults told as one clear line."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ..errors import TilthError

_FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))
_DENIED = (errno.EACCES, errno.EPERM, errno.EROFS)


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Give a path to write beside ``path``; rename it to ``path`` when the block succeeds.

    Whatever happens, no partial file is left. The temporary name keeps the suffix, since GDAL
    tells formats by it. Raises TilthError where the folder is missing or can't be written, or
    where the disk is full.
    """
    target = Path(path)
    folder = target.absolute().parent
    with file_faults(target):
        if not folder.is_dir():
            raise TilthError(f"{target}: its folder {folder} does not exist; make it first")
        if target.is_dir():
            raise TilthError(f"{target}: this is a folder; give a file name")
        handle, name = tempfile.mkstemp(suffix=target.suffix, prefix=".tilth-", dir=folder)
        os.close(handle)
        beside = Path(name)
        try:
            yield beside
            _open_to_all(beside)
            os.replace(beside, target)  # noqa: PTH105  one call on every system
        finally:
            _remove(beside)


def check_output(path: str) -> None:
    """Raise TilthError where a file can't be written, before any time is spent."""
    with contextlib.suppress(_Tried), atomic_path(path):
        raise _Tried


class _Tried(Exception):  # noqa: N818  it is no error
    """Leaves atomic_path before it renames anything."""


def stamp(path: str | Path) -> list[int]:
    """Size and time of a file, by which two looks at it tell whether it is still the same one.

    Nothing where there is none, as with an image from a server.
    """
    try:
        about = Path(path).stat()
    except OSError:
        return []
    return [about.st_size, about.st_mtime_ns]


@contextlib.contextmanager
def file_faults(path: str | Path) -> Iterator[None]:
    """Turn the OSErrors of the block that a person can mend into TilthErrors about ``path``."""
    try:
        yield
    except OSError as error:
        message = fault_text(path, error)
        if not message:
            raise
        raise TilthError(message) from error


def fault_text(path: str | Path, error: OSError) -> str:
    """The line for a file fault, or an empty text where ``error`` is none that we know."""
    reason = str(error)
    if error.errno in _FULL or "No space left" in reason:
        return f"{path}: the disk is full; free some space or choose another place"
    if error.errno in _DENIED or "Permission denied" in reason:
        return f"{path}: no permission to write here; choose another place or close the file"
    if error.errno == errno.ENOENT:
        return f"{path}: the file or its folder does not exist"
    if error.errno == errno.ENAMETOOLONG:
        return f"{path}: the name is too long; choose a shorter one"
    return ""


def _open_to_all(path: Path) -> None:
    # mkstemp makes files that only their owner can read; a shared map should follow the umask.
    mask = os.umask(0)
    os.umask(mask)
    with contextlib.suppress(OSError):
        path.chmod(0o666 & ~mask)


def _remove(path: Path) -> None:
    """Remove the temporary file and what GDAL may have written beside it."""
    for leftover in (path, Path(f"{path}.aux.xml"), Path(f"{path}.ovr"), Path(f"{path}.msk")):
        with contextlib.suppress(OSError):
            leftover.unlink()
