"""A number in a file's name where the file is taken."""

from __future__ import annotations

from pathlib import Path
from typing import Callable


def numbered(path: Path, taken: Callable[[Path], bool]) -> Path:
    """The path, or the first of name_2, name_3 and so on that is not taken."""
    candidate, number = path, 1
    while taken(candidate):
        number += 1
        candidate = path.with_name(f"{path.stem}_{number}{path.suffix}")
    return candidate
