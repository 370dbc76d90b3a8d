"""Tests in a real QGIS window, on the display that there is, else on one of its own."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Dict, Iterator

import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "scripts")]

from qgis_window import Qgis  # noqa: E402
from with_display import display  # noqa: E402


@pytest.fixture(scope="session")
def screen() -> Iterator[Dict[str, str]]:
    """An environment with a display."""
    if os.environ.get("DISPLAY"):
        yield dict(os.environ)
        return
    with display() as environ:
        yield environ


@pytest.fixture
def qgis(screen: Dict[str, str], tmp_path: Path) -> Iterator[Qgis]:
    """A QGIS to start."""
    window = Qgis(screen, tmp_path)
    yield window
    window.kill()
