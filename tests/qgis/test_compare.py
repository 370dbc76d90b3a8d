"""The window that compares: what it asks for, and a short comparison by the real engine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Iterator, List

import pytest
from dock_window import shown_dock, wait
from qgis.core import QgsProject, QgsRasterLayer, QgsVectorLayer
from qgis.PyQt.QtWidgets import QListWidget
from tilth.plugin.dock import compare_table, settings
from tilth.plugin.dock.compare_add import AddChoice
from tilth.plugin.dock.compare_choices import USUAL, ChoiceList
from tilth.plugin.dock.dock_widget import TRAIN
from tilth.plugin.dock.runs import CompareTask
from tilth.plugin.tasks.job import JobTask

SAMPLE = Path(__file__).resolve().parents[2] / "resources" / "sample"
ENGINE = os.environ.get("TILTH_PYTHON", "")


@pytest.fixture
def dock(project: QgsProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The dock with the sample scene and its polygons chosen."""
    monkeypatch.setenv("TILTH_HOME", str(tmp_path))
    for key in ("choices", "added", "seeds", "minutes"):
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


def test_an_empty_table_says_what_comes_there(dock: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    dialog = dock.train.comparison
    dock.train.compareButton.click()
    assert dialog.empty.isVisible() and "press Compare" in dialog.empty.text()

    monkeypatch.setattr(dock.session, "start", lambda task: None)
    task = CompareTask(None, dialog._compare_job(), (), Path(), {})
    dialog._run(task)
    assert dialog.empty.isVisible() and "press" not in dialog.empty.text()
    dialog._compared([{"choice": "forest", "score": 0.8}])
    assert not dialog.empty.isVisible()

    dialog.table.setRowCount(0)
    task.ended.emit()
    assert dialog.empty.isVisible() and "press Compare" in dialog.empty.text()


def test_the_choice_is_taken_over(dock: Any) -> None:
    dialog = dock.train.comparison
    dialog.show()
    dialog.task = CompareTask(None, dialog._compare_job(), (), Path(), {})
    rows = [
        {"choice": "forest", "score": 0.9, "spread": 0.01, "minutes": 0.1, "peak_mb": 500.0,
         "adapter_mb": 0.5, "like_best": True, "difference": [0.0, 0.0, 0.0], "error": ""},
        {"choice": "lora", "score": 0.8, "spread": 0.02, "minutes": 1.0, "peak_mb": None,
         "adapter_mb": 1.5, "like_best": False, "difference": [0.1, 0.05, 0.15], "error": ""},
        {"choice": "full", "score": None, "error": "its memory is too small"},
    ]  # fmt: skip
    dialog._compared(rows)

    texts = [
        [dialog.table.item(row, column).text() for column in range(8) if column != 2]
        for row in range(dialog.table.rowCount())
    ]
    assert dialog.table.isColumnHidden(2)
    assert texts[0] == ["Random forest", "0.900", "± 0.010", "0.1", "0.5 GB", "0.5 MB", "the best"]
    assert texts[1][4:] == ["–", "1.5 MB", "below the best"]
    assert texts[2][1:] == ["–", "–", "–", "–", "–", "its memory is too small"]

    dialog._compared([{**rows[0], "region_score": 0.71}, *rows[1:]])
    assert not dialog.table.isColumnHidden(2)
    assert [dialog.table.item(row, 2).text() for row in range(3)] == ["0.710", "–", "–"]

    dialog.table.selectRow(0)
    dialog._compared([rows[1], rows[0]])  # another is in front now; the selection stays
    assert compare_table.selected(dialog.table) == "forest"
    dialog.useButton.click()
    assert dock.train.methodCombo.currentData() == "forest"
    assert not dialog.isVisible()


ADDED = {
    "backbone": "galileo-nano",
    "method": "lora",
    "decoder": "upernet",
    "rank": 8,
    "dropout": 0.1,
    "targets": ["q", "v"],
    "image_branch": False,
}
NAME = "galileo-nano:lora,decoder=upernet,rank=8,dropout=0.1,targets=q+v,image_branch=no"


def test_a_choice_is_added_compared_and_taken_over(dock: Any) -> None:
    page, dialog = dock.train, dock.train.comparison
    page.options.fields.set_values({"rank": 64, "zoom": 2.0})
    page.compareButton.click()
    dialog.choices.tick(["lora"])
    dialog.choices.add(ADDED)
    dialog.choices.add(dict(ADDED))  # is there already
    assert dialog.choices.ticked() == [NAME, "lora"]
    title = dialog.choices.title_of(NAME)
    assert "LoRA on" in title and "UperNet" in title and "rank 8" in title

    job = dialog._compare_job()
    job.train.images, job.train.labels, job.train.class_field = ["a.tif"], "b.gpkg", "class"
    job.train.matching = ["red", ""]  # what the user said of the page's backbone
    job.check()
    runs = [job.run_of(choice, 0, "c.tilth") for choice in job.choices]
    assert {name: getattr(runs[0], name) for name in ADDED} == ADDED
    assert (runs[0].zoom, runs[0].matching) == (0.0, [])
    # A preset has the page's backbone, and its method's usual settings.
    assert (runs[1].backbone, runs[1].rank, runs[1].decoder) == ("embedded", None, "slim")
    assert (runs[1].zoom, runs[1].matching) == (2.0, ["red", ""])

    dialog._keep()
    again = ChoiceList(QListWidget(), str)
    assert again.ticked() == [NAME, "lora"]
    assert again.values_of(NAME) == ADDED

    dialog.task = CompareTask(None, job, (), Path(), {})
    dialog._compared([{"choice": NAME, "score": 0.8}])
    assert dialog.table.item(0, 0).text() == title
    dialog.table.selectRow(0)
    dialog.useButton.click()
    assert page.methodCombo.currentData() == "lora"
    assert page.decoderCombo.currentData() == "upernet"
    assert page.options.job().rank == 8

    row = dialog.choiceList.row(dialog.choices._added()[0])
    dialog.choiceList.item(row).setSelected(True)
    assert dialog.removeButton.isEnabled()
    dialog.removeButton.click()
    assert dialog.choices.ticked() == ["lora"]
    assert not dialog.removeButton.isEnabled()

    # It stands in the table still.
    page.options.choose({"backbone": "embedded", "method": "dora"})
    dialog._compared([{"choice": NAME, "score": 0.8}])
    assert dialog.table.item(0, 0).text() == title
    dialog.table.selectRow(0)
    dialog.useButton.click()
    assert page.methodCombo.currentData() == "lora"
    assert page.options.job().rank == 8


CARDS = [
    {"id": "embedded", "title": "Small", "runs": True, "needed": True, "present": True},
    {"id": "near", "title": "Near", "runs": True, "needed": True, "present": True},
]


@pytest.fixture
def told(dock: Any, monkeypatch: pytest.MonkeyPatch) -> List[Any]:
    """The tasks that were to be started, with an engine that is there and never works."""
    tasks: List[Any] = []
    monkeypatch.setattr(dock.session, "start", tasks.append)
    monkeypatch.setattr(dock.session.engine, "state", "ready")
    dock.session.description = {"backbones": CARDS}
    dock.session.described.emit()
    return tasks


def headings(dialog: Any) -> List[str]:
    texts = [dialog.choiceList.item(row).text() for row in range(dialog.choiceList.count())]
    return [text for text in texts if text.startswith("With ")]


def test_the_window_follows_what_is_compared(dock: Any, told: List[Any]) -> None:
    """The Train page can be used while the window is open."""
    page, dialog = dock.train, dock.train.comparison
    page.compareButton.click()
    assert headings(dialog) == ["With Small"]
    page.options.backbone.choose("near")
    dialog.choices.tick(["lora"])
    dialog.choices.add({"backbone": "near", "method": "probe"})
    dialog.runButton.click()
    assert dialog.bar.busy, dialog.notice.text()
    assert dialog.task.job.train.backbone == "near"
    assert headings(dialog) == ["With Near"]
    # The match of bands that the user made is for the backbone of the page.
    assert "matching" not in dialog.task.job.choices[0].values

    page.options.backbone.choose("embedded")
    page.compareButton.click()
    assert headings(dialog) == ["With Near"]
    dialog._compared([{"choice": "lora", "score": 0.8}])
    dialog.task.finished(False)
    assert not dialog.bar.busy
    page.compareButton.click()
    assert headings(dialog) == ["With Near"]
    dialog.table.setRowCount(0)
    page.compareButton.click()
    assert headings(dialog) == ["With Small"]


def test_a_method_is_taken_over_with_what_it_was_tried_on(dock: Any, told: List[Any]) -> None:
    page, dialog = dock.train, dock.train.comparison
    page.options.backbone.choose("near")
    page.decoderCombo.setCurrentIndex(page.decoderCombo.findData("unet"))
    page.options.fields.set_values({"image_branch": False, "zoom": 2.0})
    page.compareButton.click()
    dialog.choices.tick(["frozen", "forest"])
    dialog.runButton.click()
    dialog._compared([{"choice": "frozen", "score": 0.8}, {"choice": "forest", "score": 0.7}])
    dialog.task.finished(False)

    page.options.backbone.choose("embedded")
    page.decoderCombo.setCurrentIndex(page.decoderCombo.findData("slim"))
    page.options.fields.set_values({})
    dialog.table.selectRow(1)
    dialog.useButton.click()
    assert (page.methodCombo.currentData(), page.options.backbone.current) == ("forest", "embedded")
    dialog.table.selectRow(0)
    dialog.useButton.click()
    job = page.options.job()
    assert (job.backbone, job.method, job.decoder) == ("near", "frozen", "unet")
    assert (job.image_branch, job.zoom) == (False, 2.0)


def test_it_waits_for_an_engine_that_is_starting(dock: Any, told: List[Any]) -> None:
    dialog = dock.train.comparison
    page = dock.train
    page.compareButton.click()
    dock.session.description = {}
    told.clear()
    dialog.runButton.click()
    assert dialog.notice.text() == "The engine is still starting. Try again in a moment."
    assert not dialog.bar.busy and dialog.task is None
    assert not any(isinstance(task, CompareTask) for task in told)


def test_reports_of_old_comparisons_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what is heavy, and can be written again, is removed after a week."""
    old, empty, new = (tmp_path / "comparisons" / name for name in ("old", "empty", "new"))
    for folder in (old, empty, new):
        (folder / "label_raster").mkdir(parents=True)
        for name in ("labels.gpkg", "image_0.tif", "label_raster/image_0.tif"):
            (folder / name).write_text("heavy")
    reports = [old / "comparison.html", old / "comparison.rows.jsonl"]
    for path in reports:
        path.write_text("report")
    for folder in (old, empty):
        os.utime(folder, (0, 0))
    mine = tmp_path / "comparisons" / "mine"
    monkeypatch.setattr(JobTask, "work", lambda task: {})
    CompareTask(None, None, (), mine, {}).work()
    assert sorted(old.iterdir()) == reports
    assert not empty.exists()
    assert len(list(new.iterdir())) == 3


def test_only_what_can_be_trained_is_offered(qgis_app: Any) -> None:
    common = {"runs": True, "needed": True, "lora_targets": ["attn.qkv"]}
    cards = [
        {**common, "id": "far", "title": "Far", "present": False},
        {**common, "id": "near", "title": "Near", "present": True},
        {"id": "listed", "title": "Listed", "runs": False},
    ]
    dialog = AddChoice(cards, "far", "unet")
    combo = dialog.backbone
    assert [combo.itemData(row) for row in range(combo.count())] == ["near"]
    assert dialog.method.findData("forest") < 0
    dialog.fields.set_values({"rank": 4})
    wanted = {"backbone": "near", "method": "lora", "decoder": "unet", "rank": 4}
    assert dialog.values() == wanted
    dialog.method.setCurrentIndex(dialog.method.findData("probe"))
    assert dialog.values() == {"backbone": "near", "method": "probe"}


@pytest.mark.skipif(not ENGINE, reason="there is no engine: TILTH_PYTHON is not set")
def test_a_plan_needs_no_weights(dock: Any) -> None:
    """The plan is shown, with what has to be done first."""
    assert wait(lambda: dock.session.description, 300), dock.session.engine.state
    page = dock.train
    page.options.backbone.choose("galileo-nano")
    assert wait(lambda: "Galileo" in page.planLabel.text() and not page.planner.busy, 120)
    text = page.planLabel.text()
    assert "LoRA adapter on Galileo nano" in text and "50 polygons" in text
    assert "not on this computer: download it first" in text
    assert page.bands.isVisibleTo(page)
    assert "tilth backbones" not in dock.labels.notice.text()
    page.runButton.click()
    assert "download it first" in page.notice.text() and not page.bar.busy


@pytest.mark.skipif(not ENGINE, reason="there is no engine: TILTH_PYTHON is not set")
def test_a_short_comparison(dock: Any) -> None:
    """Rows come one by one; cancelled, it keeps them, and goes on from there."""
    assert wait(lambda: dock.session.description, 300), dock.session.engine.state
    dialog = dock.train.comparison
    dialog.choices.tick(["forest"])
    small = {"backbone": "embedded", "method": "lora", "decoder": "linear", "rank": 4}
    dialog.choices.add(small)
    dialog.seedsSpin.setValue(1)
    dialog.minutesSpin.setValue(0.1)
    dialog.runButton.click()
    assert dialog.bar.busy, dialog.notice.text()
    told = []
    dialog.task.progressed.connect(lambda _share, message, _left: told.append(message))
    assert not dialog.choiceList.isEnabled()

    assert wait(lambda: dialog.table.rowCount() == 1 or not dialog.bar.busy, 300)
    assert dialog.bar.busy, dialog.notice.text()
    dialog.cancelButton.click()
    assert wait(lambda: not dialog.bar.busy, 60)
    assert "kept" in dialog.notice.text()
    first = dialog.table.item(0, 0).text()

    dialog.notice.button.click()
    dialog.task.progressed.connect(lambda _share, message, _left: told.append(message))
    assert wait(lambda: not dialog.bar.busy, 300)
    assert any(message.startswith("LoRA on Tilth embedded") for message in told)
    assert dialog.outcome, dialog.notice.text()
    assert dialog.table.rowCount() == 2
    # Progress speaks of what was added by its title.
    assert not any(message.startswith("embedded:") for message in told)
    names = {entry["choice"] for entry in dialog.outcome["choices"]}
    assert names == {"forest", "embedded:lora,decoder=linear,rank=4"} and first
    assert all(entry["score"] for entry in dialog.outcome["choices"])
    assert "held out" in dialog.notice.text()  # few polygons
    assert Path(dialog.outcome["report"]).is_file()
    assert dialog.reportButton.isEnabled()
