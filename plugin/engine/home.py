"""Where Tilth keeps what it makes and fetches.

One of the modules that both halves of Tilth read. Standard library only, Python 3.9 syntax.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Mapping, Optional


def home(environ: Optional[Mapping[str, str]] = None, platform: str = sys.platform) -> Path:
    """``TILTH_HOME``, or ``tilth`` in the platform's user-data folder."""
    environ = os.environ if environ is None else environ
    chosen = environ.get("TILTH_HOME", "").strip()
    if chosen:
        return Path(chosen).expanduser().absolute()
    user = Path.home()
    if platform == "win32":
        return Path(environ.get("LOCALAPPDATA") or user / "AppData" / "Local") / "tilth"
    if platform == "darwin":
        return user / "Library" / "Application Support" / "tilth"
    return Path(environ.get("XDG_DATA_HOME") or user / ".local" / "share") / "tilth"
