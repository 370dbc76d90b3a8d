"""One headless QGIS for all tests of the run, with a throwaway profile and a throwaway home."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any, Iterator

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE))
_folder = tempfile.TemporaryDirectory(prefix="tilth-qgis-")
# Before QGIS is imported: it reads them once.
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ["QGIS_CUSTOM_CONFIG_PATH"] = str(Path(_folder.name) / "profile")
os.environ["TILTH_HOME"] = str(Path(_folder.name) / "home")
if (ROOT / ".venv" / "bin" / "python").exists():
    os.environ.setdefault("TILTH_PYTHON", str(ROOT / ".venv" / "bin" / "python"))

from qgis.core import QgsApplication, QgsProject  # noqa: E402

_status = [0]
# Widgets that Python collects after their application is gone crash: it lives to the end.
_applications = []


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Remember what came of the run."""
    _status[0] = int(exitstatus)


@pytest.hookimpl(tryfirst=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave with the run's own status, once everything is reported. QGIS's and Qt's objects that
    Python still holds are destroyed in no particular order at the interpreter's end, which now and
    then crashes and then says nothing about the tests."""
    _folder.cleanup()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(_status[0])


@pytest.fixture(scope="session", autouse=True)
def qgis_app() -> Iterator[QgsApplication]:
    """The application, with widgets, providers and the task manager's threads."""
    app = QgsApplication([], True)
    app.initQgis()
    _applications.append(app)
    yield app
    app.taskManager().cancelAll()
    QgsProject.instance().clear()


@pytest.fixture
def project(qgis_app: QgsApplication) -> Iterator[QgsProject]:
    """The current project, empty before and after the test."""
    instance = QgsProject.instance()
    instance.clear()
    yield instance
    instance.clear()


@pytest.fixture
def dock(project: QgsProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The dock in a window, with a home of its own and no engine."""
    from dock_window import shown_dock

    monkeypatch.setenv("TILTH_HOME", str(tmp_path))
    monkeypatch.delenv("TILTH_PYTHON", raising=False)
    with shown_dock() as made:
        yield made
