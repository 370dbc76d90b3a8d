"""One headless QGIS for all tests of the run, with a throwaway profile and a throwaway home."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Iterator

import pytest

ROOT = Path(__file__).resolve().parents[2]
_folder = tempfile.TemporaryDirectory(prefix="tilth-qgis-")
# Before QGIS is imported: it reads them once.
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ["QGIS_CUSTOM_CONFIG_PATH"] = str(Path(_folder.name) / "profile")
os.environ["TILTH_HOME"] = str(Path(_folder.name) / "home")
if (ROOT / ".venv" / "bin" / "python").exists():
    os.environ.setdefault("TILTH_PYTHON", str(ROOT / ".venv" / "bin" / "python"))

from qgis.core import QgsApplication, QgsProject  # noqa: E402


@pytest.fixture(scope="session", autouse=True)
def qgis_app() -> Iterator[QgsApplication]:
    """The application, with widgets, providers and the task manager's threads."""
    app = QgsApplication([], True)
    app.initQgis()
    yield app
    app.taskManager().cancelAll()
    QgsProject.instance().clear()
    app.exitQgis()
    _folder.cleanup()


@pytest.fixture
def project(qgis_app: QgsApplication) -> Iterator[QgsProject]:
    """The current project, empty before and after the test."""
    instance = QgsProject.instance()
    instance.clear()
    yield instance
    instance.clear()
