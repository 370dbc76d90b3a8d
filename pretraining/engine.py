"""Makes the engine importable as `tilth_engine` for the scripts of this folder."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def register() -> None:
    """Register plugin/engine as the package `tilth_engine`, unless one is installed."""
    if "tilth_engine" in sys.modules or importlib.util.find_spec("tilth_engine") is not None:
        return
    init = ROOT / "plugin" / "engine" / "__init__.py"
    spec = importlib.util.spec_from_file_location(
        "tilth_engine", init, submodule_search_locations=[str(init.parent)]
    )
    if spec is None or spec.loader is None:
        raise ImportError(f"{init} can't be loaded")
    module = importlib.util.module_from_spec(spec)
    sys.modules["tilth_engine"] = module
    spec.loader.exec_module(module)
