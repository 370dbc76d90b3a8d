"""The Train page between its options and its runs, without an engine."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, Iterator, List

import pytest
from dock_window import wait
from qgis.core import Qgis, QgsProject, QgsRasterLayer, QgsSettings, QgsVectorLayer
from qgis.PyQt.QtCore import QPoint
from tilth.plugin.dock import runs, settings
from tilth.plugin.dock.dock_widget import LABELS, MAP, TRAIN
from tilth.plugin.dock.notice import LOOKS
from tilth.plugin.tasks.job import JobTask
from tilth.plugin.worker.faults import WorkerError

SAMPLE = Path(__file__).resolve().parents[2] / "resources" / "sample"
DESCRIPTION = {
    "backbones": [{"id": "embedded", "title": "Embedded", "runs": True, "present": True}],
    "devices": [
        {"id": "cpu", "label": "The processor", "supported": True},
        {"id": "cuda:0", "label": "A card", "supported": True},
    ],
    "default_device": "cpu",
}
RESULT = {"adapter": "a.tilth", "report": "", "card": {"classes": [], "training": {}}}


@pytest.fixture
def dock(dock: Any) -> Iterator[Any]:
    """What a training keeps is forgotten after the test."""
    yield dock
    QgsSettings().remove("tilth/train")


def test_a_name_alone_is_one_in_the_library(dock: Any, tmp_path: Path) -> None:
    page = dock.train
    page.fileWidget.setFilePath("forest")

    job = page.options.job()

    assert job.out == str(tmp_path / "adapters" / "forest.tilth")
    assert job.report == str(tmp_path / "adapters" / "forest.html")
    page.fileWidget.setFilePath("~forest")
    assert page.options.job().out.endswith("~forest.tilth")
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


@pytest.fixture
def started(dock: Any, project: QgsProject, monkeypatch: pytest.MonkeyPatch) -> List[Any]:
    """The jobs that were started. The sample's labels are chosen; the engine has told nothing."""
    tasks: List[Any] = []

    def start(task: Any) -> None:
        if isinstance(task, JobTask):
            tasks.append(task)

    monkeypatch.setattr(dock.session, "start", start)
    monkeypatch.setattr(dock.session, "engine_ready", lambda _notice: True)
    labels = QgsVectorLayer(str(SAMPLE / "polygons.gpkg"), "my fields", "ogr")
    project.addMapLayer(labels)
    dock.labels.layerCombo.setLayer(labels)
    dock.labels.fieldCombo.setField("class")
    dock.labels.images.set_layers([_image("image")])
    dock.show_page(TRAIN)
    return tasks


def _image(name: str) -> QgsRasterLayer:
    layer = QgsRasterLayer(str(SAMPLE / "image.tif"), name, "gdal")
    QgsProject.instance().addMapLayer(layer)
    return layer


def _tell(dock: Any) -> None:
    """What the engine tells once it has started."""
    dock.session.description = copy.deepcopy(DESCRIPTION)
    dock.session.described.emit()


def _train(dock: Any, started: List[Any]) -> None:
    """A training from its start to its end."""
    dock.train.train()
    task = started.pop()
    task.succeeded.emit(RESULT)
    task.ended.emit()


def test_the_images_that_were_trained_on_are_mapped(dock: Any, started: List[Any]) -> None:
    _tell(dock)
    first, second, third = (_image(name) for name in ("first", "second", "third"))
    page, images = dock.map, dock.labels.images
    images.set_layers([first, second])
    images.stackCheck.setChecked(True)
    _train(dock, started)
    images.set_layers([third])

    dock.train.mapNowButton.click()
    assert page.severalCheck.isChecked()
    assert page.images.layers() == [first, second]

    _train(dock, started)
    images.set_layers([first])
    dock.train.mapNowButton.click()
    assert not page.severalCheck.isChecked()
    assert page.imageCombo.currentLayer() == third

    QgsProject.instance().removeMapLayer(third.id())
    left = page.imageCombo.currentLayer()
    dock.train.mapNowButton.click()
    assert page.imageCombo.currentLayer() == left


def test_a_device_that_is_picked_is_kept_at_once(dock: Any, started: List[Any]) -> None:
    _tell(dock)
    combo = dock.train.deviceCombo
    combo.setCurrentIndex(combo.findData("cuda:0"))
    combo.activated.emit(combo.currentIndex())

    assert settings.text("train/device") == "cuda:0"  # what mapping reads
    _tell(dock)
    assert combo.currentData() == "cuda:0"


def test_a_training_waits_until_the_engine_has_told_what_it_has(
    dock: Any, started: List[Any]
) -> None:
    settings.keep("train/device", "cuda:0")

    dock.train.train()

    assert started == []
    assert dock.train.notice.text() == "The engine is still starting. The training begins then."
    assert settings.text("train/device") == "cuda:0"
    _tell(dock)
    assert [task.job.device for task in started] == ["cuda:0"]
    assert dock.train.notice.text() == ""


def test_a_training_does_not_wait_for_an_engine_that_failed(dock: Any, started: List[Any]) -> None:
    dock.train.train()
    dock.session.described.emit()
    assert dock.train.notice.text() == ""
    _tell(dock)

    assert started == []


@pytest.mark.parametrize("page", [MAP, LABELS])
def test_a_plan_is_old_once_something_else_is_chosen(
    dock: Any, started: List[Any], page: int
) -> None:
    planner = dock.train.planner
    planner._timer.setInterval(10)
    _tell(dock)
    assert wait(lambda: len(started) == 1)
    started[0].succeeded.emit({"text": "A plan"})
    started[0].ended.emit()
    dock.show_page(page)
    dock.show_page(TRAIN)
    assert not planner.busy

    dock.show_page(page)
    dock.labels.changed.emit()
    assert planner.busy == (page == LABELS)
    dock.show_page(TRAIN)
    assert wait(lambda: len(started) == 2)


@pytest.mark.parametrize("page", [TRAIN, MAP])
def test_the_plan_is_made_again_after_a_run(dock: Any, started: List[Any], page: int) -> None:
    planner = dock.train.planner
    planner._timer.setInterval(10)
    _tell(dock)
    assert wait(lambda: len(started) == 1)
    plan = started.pop()
    plan.succeeded.emit({"text": "A plan", "matching": {"summary": "all of them"}})
    plan.ended.emit()
    assert dock.train.planLabel.isVisible() and dock.train.bands.isVisible()

    dock.train.train()
    run = started.pop()
    assert not dock.train.planLabel.isVisible()
    assert not wait(lambda: started, 0.1)
    dock.show_page(page)
    run.succeeded.emit(RESULT)
    run.ended.emit()
    assert planner.busy == (page == TRAIN)
    dock.show_page(TRAIN)
    assert wait(lambda: len(started) == 1)


def test_a_run_that_ends_with_the_dock_asks_for_no_plan(dock: Any, started: List[Any]) -> None:
    _tell(dock)
    dock.train.train()
    dock.train.shut_down()
    started.pop().ended.emit()
    assert not dock.train.planner.busy


ROWS = {"summary": "", "lines": [], "choices": []}


@pytest.mark.parametrize("before", ["refused", "baseline"])
def test_the_bands_can_be_matched_once_they_are_what_is_refused(
    dock: Any, started: List[Any], before: str
) -> None:
    line, subject, layers = dock.train.bands, ("prithvi", ("image",), False), [_image("another")]
    card = {"bands": [{"name": "RED"}, {"name": "NIR"}]}
    if before == "refused":
        line.show_refusal("labels: no polygons", subject, layers, card)
    else:
        line.show_plan({"matching": {**ROWS, "table": []}}, subject)
    assert line.isHidden()

    line.show_refusal("bands: the image's are not enough", subject, layers, card)

    assert line.isVisible()
    assert line.label.text() == "Bands: no match found"
    assert len(line._told["table"]) == layers[0].bandCount()
    assert line._told["choices"] == ["RED", "NIR"]
    line.choose(["RED"])
    line.show_refusal("matching: 1 entries for 6 bands", subject, layers, card)
    assert line.label.text() == "Bands: your choice can't be used"
    line.choose([])
    line.show_refusal("bands: the image's are not enough", subject, layers, card)
    assert line.label.text() == "Bands: no match found"


def test_a_choice_of_bands_that_holds_again_can_be_mended(dock: Any, started: List[Any]) -> None:
    line, subject = dock.train.bands, ("prithvi", ("image",), False)
    line.show_refusal("bands: not enough", subject, [], {})
    line.choose(["RED"])
    line.show_refusal("labels: no polygons", ("galileo", ("image",), False), [], {})
    assert line.isHidden()

    line.show_refusal("matching: 1 entries for 6 bands", subject, [], {})

    assert line.isVisible()
    assert line.label.text() == "Bands: your choice can't be used"


def test_two_windows_train_under_names_of_their_own(
    dock: Any, started: List[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _tell(dock)
    first, second = [
        runs.training(dock.session.pool, dock.labels.choice(), dock.train.options.job())
        for _window in range(2)
    ]
    folder = tmp_path / "adapters"
    seen: List[str] = []

    def run(job: Any, *_: object) -> Any:
        seen.append(Path(job.out).name)
        if job is second.job:
            raise WorkerError("internal", "something broke")
        with pytest.raises(WorkerError):
            second.work()
        assert dock.train.options.job().out == str(folder / "my fields_2.tilth")
        Path(job.out).write_text("weights")
        Path(job.report).write_text("a report")
        return {}

    monkeypatch.setattr(dock.session.pool, "run", run)
    first.work()
    assert seen == ["my fields.tilth", "my fields_2.tilth"]
    assert sorted(path.name for path in folder.iterdir()) == ["my fields.html", "my fields.tilth"]


def _state(task: Any) -> Path:
    return task.folder / "checkpoint" / "checkpoint.json"


def _leave_checkpoint(task: Any) -> None:
    """As a training does that died after an epoch."""
    _state(task).parent.mkdir(parents=True)
    _state(task).touch()


@pytest.mark.parametrize("there", [True, False])
def test_whatever_ends_a_run_it_can_go_on_from_a_checkpoint(
    dock: Any, started: List[Any], there: bool
) -> None:
    _tell(dock)
    dock.train.train()
    (task,) = started
    state = _state(task)
    if there:
        _leave_checkpoint(task)

    with pytest.raises(WorkerError):  # there is no engine
        task.work()
    task.failed.emit("input", "No space left on device", "")
    task.ended.emit()

    assert state.exists() == task.folder.exists() == there
    assert dock.train.notice.button.isVisible() == there
    dock.train.resume()
    assert [other.job.resume for other in started[1:]] == [True] * there


def test_a_run_that_is_given_up_leaves_its_name(dock: Any, started: List[Any]) -> None:
    _tell(dock)
    dock.train.train()
    task = started.pop()
    _leave_checkpoint(task)
    with pytest.raises(WorkerError):  # there is no engine
        task.work()
    task.failed.emit("died", "The engine stopped.", "")
    task.ended.emit()
    assert dock.train.options.job().out != task.job.out  # Resume goes on with it

    dock.train.train()
    assert started.pop().job.out == task.job.out


def test_a_server_s_layer_among_others_is_told_what_to_do(dock: Any, started: List[Any]) -> None:
    """The Train page offers no extent to choose."""
    _tell(dock)
    uri = "type=xyz&url=http://127.0.0.1:9/%7Bz%7D/%7Bx%7D/%7By%7D&zmin=0&zmax=16"
    tiles = QgsRasterLayer(uri, "tiles", "wms")
    QgsProject.instance().addMapLayer(tiles)
    page, images = dock.train, dock.labels.images
    images.set_layers([_image("image"), tiles])
    page.train()
    assert "“tiles” has no end" in page.notice.text()
    assert "Save As…" in page.notice.text() and "extent" not in page.notice.text()

    images.set_layers([tiles])
    dock.labels.rasterCombo.setLayer(_image("classes"))
    dock.labels.rasterRadio.setChecked(True)
    page.train()
    assert "“tiles” has no end" in page.notice.text()

    dock.labels.polygonsRadio.setChecked(True)
    page.train()
    assert page.notice.text() == "" and len(started) == 1
    started[0].ended.emit()


def test_warnings_of_a_result_do_not_look_like_success(dock: Any, started: List[Any]) -> None:
    _tell(dock)
    page = dock.train
    told = ["unseen region: <b>0.21</b> below", "class 'water': two polygons"]
    page.train()
    started.pop().succeeded.emit({**RESULT, "warnings": told})

    assert all(text not in page.resultLabel.text() for text in told)
    assert page.result_warnings.isVisible()
    assert page.result_warnings.label.text() == "".join(["• ", told[0], "\n• ", told[1]])
    _icon, amber = LOOKS[Qgis.MessageLevel.Warning]
    assert page.result_warnings.colour == amber

    _train(dock, started)
    assert page.resultFrame.isVisible() and not page.result_warnings.isVisible()


def _result_in_view(page: Any) -> bool:
    area = page.scroll.viewport()
    top = page.outcome.mapTo(area, QPoint(0, 0)).y()
    return top >= 0 and top + min(page.outcome.height(), area.height()) <= area.height()


@pytest.mark.parametrize("page_then", [TRAIN, LABELS])
@pytest.mark.parametrize("warnings", [0, 30])
def test_the_result_comes_into_view(
    dock: Any, started: List[Any], page_then: int, warnings: int
) -> None:
    """Also where another page was open, and of a result too high for the page its beginning."""
    _tell(dock)
    page = dock.train
    dock.parentWidget().resize(900, 520)
    page.train()
    dock.show_page(page_then)
    wait(lambda: False, 0.1)
    told = [f"A warning with the number {number}" for number in range(warnings)]
    focus = dock.window().focusWidget()
    started.pop().succeeded.emit({**RESULT, "warnings": told})
    wait(lambda: False, 0.1)
    dock.show_page(TRAIN)

    assert wait(lambda: _result_in_view(page), 5)
    assert page.outcome.height() > page.scroll.viewport().height() or not warnings
    assert dock.window().focusWidget() is focus or page_then != TRAIN


def test_the_result_stays_in_view_when_the_plan_comes_back(dock: Any, started: List[Any]) -> None:
    _tell(dock)
    page = dock.train
    dock.parentWidget().resize(900, 640)
    page.notice.hide()
    _train(dock, started)

    assert wait(lambda: _result_in_view(page), 5)
    page.planner.planned.emit({"text": "It trains an adapter on the labels. " * 12})
    wait(lambda: False, 0.2)
    assert page.planLabel.isVisible() and _result_in_view(page)

    dock.show_page(MAP)
    page.planner.planned.emit({"text": "It trains an adapter. " * 30})
    dock.show_page(TRAIN)
    assert wait(lambda: _result_in_view(page), 5)


def test_choices_are_kept_in_one_write_of_qgis_s_settings(
    dock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores: List[Any] = []

    class Store(QgsSettings):
        def setValue(self, key: str, value: object) -> None:  # noqa: N802 (QGIS's name)
            if self not in stores:
                stores.append(self)
            super().setValue(key, value)

    monkeypatch.setattr(settings, "QgsSettings", Store)
    for keep in (dock.train.options.keep, dock.train.comparison._keep):
        stores.clear()
        keep()
        assert len(stores) == 1
