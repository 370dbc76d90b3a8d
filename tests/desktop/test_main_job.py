"""The main job in the real QGIS window, from an empty home to a styled map."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Dict

import pytest
from qgis_window import Qgis

# Asserted loosely: test machines are busy. The figures are printed.
LATEST_MS = 1000


def without_uv(path: str) -> str:
    """PATH without the folders that have a uv."""
    folders = path.split(os.pathsep)
    return os.pathsep.join(f for f in folders if f and not (Path(f) / "uv").exists())


@pytest.fixture
def report(qgis: Qgis) -> Dict[str, Any]:
    path = without_uv(qgis.environ["PATH"])
    return qgis.run("main_job", 440, TILTH_PYTHON="", PATH=path)


def test_installs_trains_and_maps(report: Dict[str, Any], capsys: pytest.CaptureFixture) -> None:
    with capsys.disabled():
        _print_figures(report)
    _check_installation(report)
    _check_training(report)
    _check_map(report)
    assert report["modules"] == [], "the plugin's Python must not load the engine's libraries"
    for part in ("training", "mapping"):
        assert report[f"lateness_{part}"]["p99"] < LATEST_MS


def _print_figures(report: Dict[str, Any]) -> None:
    print(f"\nengine installed in {report['installed_in']} s; {report['plan']}")
    for part in ("idle", "training", "mapping"):
        late = report[f"lateness_{part}"]
        print(
            f"lateness of a 10 ms timer in QGIS's event loop, {part}: "
            f"99th percentile {late['p99']} ms, maximum {late['maximum']} ms "
            f"(median {late['median']} ms, {late['ticks']} ticks)"
        )


def _check_installation(report: Dict[str, Any]) -> None:
    assert report["uv"] == ""
    assert report["state_before"] == "absent"
    assert report["panel_shown"]
    assert "GB to download" in report["size_said"]
    for page, bar in report["refused"]:
        assert "not installed" in page
        assert "GB" in page
        assert bar == page
    assert report["progress_said"]
    assert report["state_after"] == "ready"


def _check_training(report: Dict[str, Any]) -> None:
    assert report["plan"]
    assert report["epochs_drawn"] == 4
    assert report["score"]["macro_f1"] > 0.4
    assert "macro-F1" in report["result_said"]
    assert Path(report["adapter"]).is_file()
    assert Path(report["report"]).is_file()


def _check_map(report: Dict[str, Any]) -> None:
    assert report["image_chosen"]
    assert report["renderer"] == "paletted"
    assert report["group"] == report["adapter_name"]
    assert len(set(report["maps"])) == 2, "mapping again makes a new version"
    assert len(set(report["versions"])) == 2
    codes = {entry["code"] for entry in report["classes"]}
    names = [entry["name"] for entry in report["classes"]]
    assert len(codes) >= 4
    assert all(names)
    assert {entry["name"]: entry["colour"] for entry in report["classes"]} == report["colours"]
    for found in report["codes_found"]:
        drawn = set(found) - {0}
        assert drawn <= codes
        assert len(drawn) >= 4, "most classes should appear on the sample scene"
