"""Is there an environment, and is it whole? Cheap: no process is started."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any, Dict, NamedTuple, Optional

from .faults import EnvironmentError_
from .paths import REQUIREMENTS, environment_folder, python_of
from .torch_build import has_nvidia

RECORD = "tilth-environment.json"


class State(NamedTuple):
    """``name`` is "absent", "broken" or "ready"; ``reason`` says why it is broken."""

    name: str
    reason: str = ""


def state(target: Path, lock: Path = REQUIREMENTS) -> State:
    """The record is written last of all: without it, the environment is half-made."""
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return State("absent")
    record = read_record(target)
    if record is None:
        return State("broken", "its installation did not finish")
    if not python_of(target).is_file() or not _base(target).is_dir():
        return State("broken", "the Python that it was made with is gone")
    if record.get("lock_sha256") != lock_sha256(lock):
        return State("broken", "it was made for another version of Tilth")
    return State("ready")


def engine_python() -> Optional[Path]:
    """The interpreter that the worker runs in: ``TILTH_PYTHON``, else the managed one, or None."""
    chosen = os.environ.get("TILTH_PYTHON", "").strip()
    if chosen:
        path = Path(chosen).expanduser()
        if not path.is_file():
            raise EnvironmentError_(
                f"TILTH_PYTHON names {path}, where there is no file: correct it or unset it."
            )
        return path.absolute()
    target = environment_folder()
    return python_of(target) if state(target).name == "ready" else None


def size_text(platform: str = sys.platform, nvidia: Optional[bool] = None) -> str:
    """What making the environment costs, to be said before it starts."""
    nvidia = has_nvidia() if nvidia is None else nvidia
    if platform == "darwin":
        return "about 0.4 GB to download, 1.5 GB on disk"
    if nvidia:
        return "about 3 GB to download, 6 GB on disk"
    if platform == "win32":
        return "about 0.5 GB to download, 1.6 GB on disk"
    return "0.5 to 3 GB to download, 2 to 6 GB on disk"


def gigabytes_needed(platform: str = sys.platform, nvidia: Optional[bool] = None) -> float:
    """Free space to ask for: the environment at its largest, and room to unpack."""
    nvidia = has_nvidia() if nvidia is None else nvidia
    return 2.0 if platform == "darwin" or (platform == "win32" and not nvidia) else 6.5


def read_record(target: Path) -> Optional[Dict[str, Any]]:
    """What was done, as create() wrote it down; None where it never finished."""
    try:
        record = json.loads((target / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) else None


def write_record(target: Path, record: Dict[str, Any]) -> None:
    """Whole or not at all."""
    new = target / (RECORD + ".new")
    new.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    new.replace(target / RECORD)


def lock_sha256(lock: Path) -> str:
    """Of the text, whatever line ends git gave it."""
    return hashlib.sha256(lock.read_bytes().replace(b"\r\n", b"\n")).hexdigest()


def _base(target: Path) -> Path:
    """The folder of the interpreter that the environment stands on (pyvenv.cfg's ``home``)."""
    try:
        lines = (target / "pyvenv.cfg").read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return target / "pyvenv.cfg is missing"
    settings = dict(line.split("=", 1) for line in lines if "=" in line)
    home = {key.strip(): value.strip() for key, value in settings.items()}.get("home", "")
    return Path(home) if home else target / "pyvenv.cfg names no home"
