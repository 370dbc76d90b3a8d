"""Start the engine from the plugin's folder: ``python -I -u -X utf8 launch.py worker``.

The environment holds the dependencies only, so that plugin and engine are always of one version.
The folder is registered as ``tilth_engine`` at module level, so that children that Python spawns
(they import this file again as ``__mp_main__``) find it too.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

NAME = "tilth_engine"


def register(folder: Path) -> None:
    """Make ``folder`` importable as ``tilth_engine``, whatever it is called on disk."""
    if NAME in sys.modules:
        return
    spec = importlib.util.spec_from_file_location(
        NAME, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    if spec is None or spec.loader is None:
        raise ImportError(f"{folder} is not the engine's folder")
    module = importlib.util.module_from_spec(spec)
    sys.modules[NAME] = module
    spec.loader.exec_module(module)


register(Path(__file__).resolve().parent)

if __name__ == "__main__":
    from tilth_engine.cli import main

    sys.exit(main())
