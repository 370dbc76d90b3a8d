"""Where outputs go: as the user names them, and numbered where something is there."""

from __future__ import annotations

import os
from pathlib import Path


def named(text: str, folder: Path, *suffixes: str) -> Path:
    """The file that a text names, with the first of the suffixes where it has none of them. A name
    without a folder is one in ``folder``."""
    # Path's own raises while "~" is the first letter of a name.
    path = folder / os.path.expanduser(text)  # noqa: PTH111
    return path if path.suffix.lower() in suffixes else Path(f"{path}{suffixes[0]}")
