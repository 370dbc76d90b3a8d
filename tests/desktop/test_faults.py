"""What happens when a process dies."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Callable

from qgis_window import Qgis

WORKER_GONE_SECONDS = 3.0


def test_a_killed_worker_is_told_and_the_training_resumed(qgis: Qgis) -> None:
    report = qgis.run("worker_killed")
    assert "-9" in report["page_said"]
    assert "memory" in report["page_said"]
    assert "-9" in report["bar_said"]
    assert report["button"] == "Resume"
    assert report["result"], report["failed"]
    assert report["epochs_drawn"] == [1, 2, 3]
    assert not any("no checkpoint" in text for text in report["noticed"])
    assert report["runs_left"] == []


def test_the_worker_goes_when_qgis_is_killed(qgis: Qgis) -> None:
    qgis.start("qgis_killed")
    _wait(qgis.report_file.is_file, 120, "QGIS never trained")
    report = json.loads(qgis.report_file.read_text(encoding="utf-8"))
    assert report["error"] == ""
    assert report["workers"]
    os.kill(report["pid"], signal.SIGKILL)
    killed = time.monotonic()
    _wait(lambda: not any(map(_alive, report["workers"])), WORKER_GONE_SECONDS, "a worker lives on")
    print(f"the worker was gone {time.monotonic() - killed:.2f} s after QGIS was killed")


def _alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def _wait(ready: Callable[[], bool], seconds: float, otherwise: str) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.05)
