"""A real QGIS window to test in: a fresh profile, a script inside, a report back.

The script (tests/desktop/inside/NAME.py) drives the dock's own buttons and writes its report as
JSON; the test reads it. QGIS runs on the display that there is, else on one of its own.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, Optional

import pytest

from demo import _fresh_profile as fresh_profile

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SAMPLE = ROOT / "resources" / "sample"


def qgis_path(path: str) -> str:
    """A PATH on which QGIS's own Python comes first: the first one there becomes QGIS's."""
    return os.pathsep.join([str(Path(sys.base_prefix) / "bin"), path])


class Qgis:
    """One run of QGIS with a script inside."""

    def __init__(self, environ: Dict[str, str], folder: Path) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.report_file = folder / "report.json"
        self.log = folder / "qgis.log"
        self.process: Optional[subprocess.Popen] = None
        self.environ = {
            **environ,
            "TILTH_HOME": str(self.home),
            "TILTH_PYTHON": str(ROOT / ".venv" / "bin" / "python"),
            "PATH": qgis_path(environ["PATH"]),
            "TILTH_TEST_INSIDE": str(HERE / "inside"),
            "TILTH_TEST_REPORT": str(self.report_file),
            "TILTH_TEST_SCENE": str(SAMPLE),
            "TILTH_TEST_PICTURES": str(ROOT / "build" / "screenshots"),
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def start(self, script: str, **variables: str) -> subprocess.Popen:
        """Start QGIS; an empty variable is taken out of its environment."""
        self.report_file.unlink(missing_ok=True)
        environ = {**self.environ, **variables}
        command = [str(shutil.which("qgis")), "--nologo", "--noversioncheck"]
        command += ["--profiles-path", str(fresh_profile(self.folder / "qgis"))]
        command += ["--code", str(HERE / "inside" / f"{script}.py")]
        with self.log.open("wb") as sink:
            self.process = subprocess.Popen(
                command,
                env={name: value for name, value in environ.items() if value},
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self.process

    def run(self, script: str, seconds: float = 240.0, **variables: str) -> Dict[str, Any]:
        """Run the script to its end; its report."""
        process = self.start(script, **variables)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            pytest.fail(f"QGIS did not end within {seconds} s\n{self.tail()}")
        finally:
            self.kill()
        if not self.report_file.is_file():
            pytest.fail(f"QGIS left no report, exit code {process.returncode}\n{self.tail()}")
        report: Dict[str, Any] = json.loads(self.report_file.read_text(encoding="utf-8"))
        if report["error"]:
            pytest.fail(f"{report['error']}\n{self.tail()}")
        return report

    def kill(self) -> None:
        """End QGIS, and whatever it started in its group."""
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def tail(self) -> str:
        """The end of what QGIS printed."""
        return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-40:])
