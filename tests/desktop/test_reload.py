"""Reloading and unloading leave nothing of the plugin behind."""

from __future__ import annotations

from qgis_window import Qgis


def test_nothing_is_left_behind(qgis: Qgis) -> None:
    report = qgis.run("reload", 150)
    before = report["before"]
    assert before["docks"] == 0
    assert before["modules"] == []
    working = report["at_work"]
    assert working["docks"] == 1
    assert working["children"]
    assert working["threads"]
    for name in ("reloaded", "unloaded"):
        after = report[name]
        differences = {
            key: (before[key], after[key]) for key in before if after[key] != before[key]
        }
        assert differences == {}, f"{name}: {differences}"
    assert report["folders"] == []
