"""The engine is imported from the clone, as the worker imports it: through launch.py."""

from __future__ import annotations

import runpy
from pathlib import Path

runpy.run_path(str(Path(__file__).resolve().parents[2] / "plugin" / "engine" / "launch.py"))
