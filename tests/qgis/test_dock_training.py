"""The Train page between its options and its runs, without an engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Iterator

import pytest
from dock_window import shown_dock
from qgis.core import QgsProject, QgsSettings


@pytest.fixture
def dock(project: QgsProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("TILTH_HOME", str(tmp_path))
    monkeypatch.delenv("TILTH_PYTHON", raising=False)
    with shown_dock() as made:
        yield made
    QgsSettings().remove("tilth/train")


def test_a_name_alone_is_one_in_the_library(dock: Any, tmp_path: Path) -> None:
    page = dock.train
    page.fileWidget.setFilePath("forest")

    job = page.options.job()

    assert job.out == str(tmp_path / "adapters" / "forest.tilth")
    assert job.report == str(tmp_path / "adapters" / "forest.html")
    page.fileWidget.setFilePath(str(tmp_path / "else" / "where.tilth"))
    assert page.options.job().out == str(tmp_path / "else" / "where.tilth")


def test_the_same_file_again_gets_a_number(dock: Any, tmp_path: Path) -> None:
    page, file = dock.train, tmp_path / "mine.tilth"
    page.fileWidget.setFilePath(str(file))
    assert page.options.job().out == str(file)

    file.touch()
    dock.session.adapters_changed.emit()

    assert page.options.job().out == str(tmp_path / "mine_2.tilth")
    assert page.fileWidget.toolTip() == str(tmp_path / "mine_2.tilth")
    assert not page.fileWidget.confirmOverwrite()
    (tmp_path / "mine_2.html").touch()  # somebody's, or a report without its adapter
    assert page.options.job().out == str(tmp_path / "mine_3.tilth")
