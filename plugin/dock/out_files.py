"""Where outputs go: as the user names them, and numbered where something is there."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from qgis.core import QgsProject

from ..layers.numbering import numbered


def named(text: str, folder: Path, *suffixes: str) -> Path:
    """The file that a text names, with the first of the suffixes where it has none of them. A name
    without a folder is one in ``folder``."""
    # Path's own raises while "~" is the first letter of a name.
    path = folder / os.path.expanduser(text)  # noqa: PTH111
    return path if path.suffix.lower() in suffixes else Path(f"{path}{suffixes[0]}")


def report_of(adapter: Path) -> Path:
    """The file of an adapter's report."""
    return adapter.with_suffix(".html")


def free_adapter(path: Path) -> Path:
    """This file, or one with a number where it or its report exists."""
    return numbered(path, lambda file: _there(file) or _there(report_of(file)))


def free_file(path: Path) -> Path:
    """This file, or one with a number where it exists."""
    return numbered(path, _there)


def usual_folder() -> Path:
    """Where users look for what they made: beside the project, or at home."""
    return Path(QgsProject.instance().homePath() or Path.home())


def _there(file: Path) -> bool:
    # Unlike Path.exists, this doesn't raise where a folder may not be looked into.
    return os.path.lexists(file)


def reserve_adapter(path: Path) -> Path:
    """A free file that stays free for who asks here: another QGIS trains, too. An empty report
    keeps it, since an empty adapter would be listed."""
    while True:
        free = free_adapter(path)
        try:
            report_of(free).open("x").close()
        except FileExistsError:
            continue
        except OSError:
            pass  # the engine says why nothing can be written there
        return free


def release_adapter(path: Path) -> None:
    """Give back what was reserved and not used."""
    report = report_of(path)
    with contextlib.suppress(OSError):
        if not report.stat().st_size:
            report.unlink()
