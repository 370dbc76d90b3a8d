"""Where Tilth keeps what it makes: the environment, uv, the logs."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path

from ..engine.home import home

FOLDER = Path(__file__).resolve().parent
REQUIREMENTS = FOLDER / "requirements.lock"


def environment_folder() -> Path:
    """The managed environment: the one that the dock's button makes."""
    return home() / "environment"


def python_of(target: Path, platform: str = sys.platform) -> Path:
    """The interpreter of the environment at ``target``."""
    return target / "Scripts" / "python.exe" if platform == "win32" else target / "bin" / "python"


def log_file() -> Path:
    """What uv said, for the post-mortem."""
    return home() / "logs" / "environment.log"


def lock_file(target: Path) -> Path:
    """The file that two makers of one environment compete for; never inside the environment."""
    key = hashlib.sha256(os.path.normcase(str(target.absolute())).encode("utf-8")).hexdigest()
    return home() / "locks" / f"environment-{key[:12]}.lock"


def use_file(target: Path) -> Path:
    """The file that processes hold which run in the environment."""
    return lock_file(target).with_suffix(".use")
