"""A Python of the user's own: has it what the engine needs?"""

from __future__ import annotations

import json
from typing import Any, Dict

from ..engine.errors import TilthError
from ..environment.child import output_of
from ..environment.create import MODULES
from ..environment.paths import FOLDER

LEAST = (3, 10)
_SECONDS = 300.0


def verify(python: str) -> Dict[str, Any]:
    """In a task's thread: import everything there. Raises TilthError with what is missing."""
    probe = str(FOLDER / "probe.py")
    text = output_of([python, "-I", "-X", "utf8", probe, *MODULES], _SECONDS)
    try:
        found = json.loads(text.splitlines()[-1])
    except (IndexError, ValueError):
        raise TilthError(
            f"{python} did not answer as a Python does: choose the interpreter itself, such as"
            " bin/python of a virtual environment, or python.exe"
        ) from None
    version = tuple(int(part) for part in str(found["python"]).split(".")[:2])
    if version < LEAST:
        raise TilthError(f"{python} is Python {found['python']}: the engine needs 3.10 or newer")
    if found["failed"]:
        missing = ", ".join(sorted(found["failed"]))
        raise TilthError(f"{python} lacks packages that the engine needs: {missing}")
    return dict(found)
