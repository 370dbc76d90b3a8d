"""The command ``tilth`` in a process of its own, with the short epochs of the tests."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent

if __name__ == "__main__":
    runpy.run_path(str(HERE.parents[1] / "plugin" / "engine" / "launch.py"))
    sys.path.insert(0, str(HERE))
    from tilth_engine.cli import main
    from worlds import quick

    with quick():
        sys.exit(main())
