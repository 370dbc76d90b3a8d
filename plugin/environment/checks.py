"""What must hold before anything is made, and before anything is deleted."""

from __future__ import annotations

import shutil
import sys
import uuid
from pathlib import Path
from typing import List

from .faults import EnvironmentError_

LONGEST_INSIDE = 150  # of the files that PyTorch installs (measured: 126), and room for more
_REMOVED = ".tilth-removed-"


def check_room(target: Path, needed: float) -> None:
    """Say so before hours of downloading where the disk is too full."""
    folder = target
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free / 1e9
    if free < needed:
        raise EnvironmentError_(
            f"The disk of {folder} has {free:.1f} GB free and the environment needs {needed:.1f}: "
            "make room, or set TILTH_HOME to a folder on another disk."
        )


def check_path_length(target: Path, platform: str = sys.platform) -> None:
    """Windows' limit of 260 characters, unless the machine has lifted it."""
    longest = len(str(target)) + len(r"\Lib\site-packages" "\\") + LONGEST_INSIDE
    if platform == "win32" and longest >= 260 and not _long_paths_enabled():
        raise EnvironmentError_(
            f"{target} is too long a path for Windows: set TILTH_HOME to a shorter one, such as "
            r"C:\tilth, or enable long paths in Windows."
        )


def _long_paths_enabled() -> bool:
    if sys.platform != "win32":
        return False
    import winreg

    key = r"SYSTEM\CurrentControlSet\Control\FileSystem"
    try:
        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, key) as opened:
            return winreg.QueryValueEx(opened, "LongPathsEnabled")[0] == 1
    except OSError:
        return False


def refuse_others(target: Path) -> None:
    """Never delete or fill a folder that is not an environment of ours."""
    if not target.exists():
        return
    if not target.is_dir() or (any(target.iterdir()) and not _made_by_us(target)):
        raise EnvironmentError_(
            f"{target} was not made by Tilth and is left as it is: move it away first."
        )


def _made_by_us(target: Path) -> bool:
    """create() gives its environments this prompt."""
    try:
        return "prompt = tilth" in (target / "pyvenv.cfg").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False


def delete(folder: Path) -> None:
    """Remove a folder, or leave it whole: what is in use can't be removed on Windows.

    It gets another name first, at once or not at all, so that half an environment never passes for
    one. What could not be removed then goes the next time.
    """
    for left in _left(folder):
        shutil.rmtree(left, ignore_errors=True)
    aside = folder.with_name(f"{folder.name}{_REMOVED}{uuid.uuid4().hex[:6]}")
    try:
        folder.rename(aside)
    except OSError as error:
        raise EnvironmentError_(
            f"{folder} could not be removed ({error}): close what uses it, then try again."
        ) from error
    try:
        shutil.rmtree(aside)
    except OSError as error:
        raise EnvironmentError_(
            f"{aside} could not be removed ({error}): close what uses it, then delete it."
        ) from error


def _left(folder: Path) -> List[Path]:
    """What earlier removals of this folder have left."""
    start = folder.name + _REMOVED
    return [path for path in folder.parent.iterdir() if path.name.startswith(start)]
