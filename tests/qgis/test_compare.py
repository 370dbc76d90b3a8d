"""The window that compares: what it asks for, and a short comparison by the real engine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Iterator

import pytest
from dock_window import shown_dock, wait
from qgis.core import QgsProject, QgsRasterLayer, QgsVectorLayer
from tilth.plugin.dock import compare_table, settings
from tilth.plugin.dock.compare_choices import USUAL
from tilth.plugin.dock.dock_widget import TRAIN

SAMPLE = Path(__file__).resolve().parents[2] / "resources" / "sample"
ENGINE = os.environ.get("TILTH_PYTHON", "")


@pytest.fixture
def dock(project: QgsProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The dock with the sample scene and its polygons chosen."""
    monkeypatch.setenv("TILTH_HOME", str(tmp_path))
    for key in ("choices", "seeds", "minutes"):
        settings.keep(f"compare/{key}", None)
    image = QgsRasterLayer(str(SAMPLE / "image.tif"), "image", "gdal")
    labels = QgsVectorLayer(str(SAMPLE / "polygons.gpkg"), "my fields", "ogr")
    assert image.isValid() and labels.isValid()
    project.addMapLayers([image, labels])
    with shown_dock() as made:
        made.labels.layerCombo.setLayer(labels)
        made.labels.fieldCombo.setField("class")
        made.labels.images.set_layers([image])
        made.show_page(TRAIN)
        yield made


def test_it_offers_every_method_and_says_how_long_it_takes(dock: Any) -> None:
    dialog = dock.train.comparison
    assert not dialog.isVisible()
    dock.train.compareButton.click()

    assert dialog.isVisible()
    assert sorted(dialog.choices.ticked()) == sorted(USUAL)
    dialog.seedsSpin.setValue(2)
    dialog.minutesSpin.setValue(10)
    assert dialog.totalLabel.text() == "10 trainings, about 61 min in all"
    dialog.choices.tick([])
    assert "Nothing" in dialog.totalLabel.text()
    assert not dialog.useButton.isEnabled() and not dialog.reportButton.isEnabled()


def test_the_choice_is_taken_over(dock: Any) -> None:
    dialog = dock.train.comparison
    dialog.show()
    rows = [
        {"choice": "forest", "score": 0.9, "spread": 0.01, "minutes": 0.1, "peak_mb": 500.0,
         "adapter_mb": 0.5, "like_best": True, "difference": [0.0, 0.0, 0.0], "error": ""},
        {"choice": "lora", "score": 0.8, "spread": 0.02, "minutes": 1.0, "peak_mb": None,
         "adapter_mb": 1.5, "like_best": False, "difference": [0.1, 0.05, 0.15], "error": ""},
        {"choice": "full", "score": None, "error": "its memory is too small"},
    ]  # fmt: skip
    dialog._compared(rows)

    texts = [
        [dialog.table.item(row, column).text() for column in range(7)]
        for row in range(dialog.table.rowCount())
    ]
    assert texts[0] == ["Random forest", "0.900", "± 0.010", "0.1", "0.5 GB", "0.5 MB", "the best"]
    assert texts[1][4:] == ["–", "1.5 MB", "below the best"]
    assert texts[2][1:] == ["–", "–", "–", "–", "–", "its memory is too small"]

    dialog.table.selectRow(0)
    dialog._compared([rows[1], rows[0]])  # another is in front now; the selection stays
    assert compare_table.selected(dialog.table) == "forest"
    dialog.useButton.click()
    assert dock.train.methodCombo.currentData() == "forest"
    assert not dialog.isVisible()


@pytest.mark.skipif(not ENGINE, reason="there is no engine: TILTH_PYTHON is not set")
def test_a_short_comparison(dock: Any) -> None:
    """Rows come one by one; cancelled, it keeps them, and goes on from there."""
    assert wait(lambda: dock.session.description, 300), dock.session.engine.state
    dialog = dock.train.comparison
    dialog.choices.tick(["forest", "alone"])
    dialog.seedsSpin.setValue(1)
    dialog.minutesSpin.setValue(0.1)
    dialog.runButton.click()
    assert dialog.bar.busy, dialog.notice.text()
    assert not dialog.choiceList.isEnabled()

    assert wait(lambda: dialog.table.rowCount() == 1 or not dialog.bar.busy, 300)
    assert dialog.bar.busy, dialog.notice.text()
    dialog.cancelButton.click()
    assert wait(lambda: not dialog.bar.busy, 60)
    assert "kept" in dialog.notice.text()
    first = dialog.table.item(0, 0).text()

    dialog.notice.button.click()
    assert wait(lambda: not dialog.bar.busy, 300)
    assert dialog.outcome, dialog.notice.text()
    assert dialog.table.rowCount() == 2
    names = {entry["choice"] for entry in dialog.outcome["choices"]}
    assert names == {"forest", "alone"} and first
    assert all(entry["score"] for entry in dialog.outcome["choices"])
    assert "held out" in dialog.notice.text()  # few polygons
    assert Path(dialog.outcome["report"]).is_file()
    assert dialog.reportButton.isEnabled()
