"""What is chosen in the dock stays chosen, or is nothing: never silently something else."""

from __future__ import annotations

import os
import shutil
import threading
import time
from pathlib import Path
from typing import Any, Callable, Iterator, List, Optional

import pytest
from dock_window import shown_dock, wait
from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsProject,
    QgsRasterLayer,
    QgsVectorLayer,
)
from qgis.PyQt.QtGui import QIcon
from qgis.PyQt.QtWidgets import QDialog, QFileDialog
from tilth.plugin.dock import icons, library, map_page, new_layer
from tilth.plugin.dock.adapter_choice import LAST, ask_adapter
from tilth.plugin.dock.dock_widget import ADAPTERS, LABELS, MAP
from tilth.plugin.dock.settings import keep
from tilth.plugin.layers import result
from tilth.plugin.tasks import registry
from tilth.plugin.tasks.base import BaseTask
from tilth.plugin.worker.faults import WorkerError

SAMPLE = Path(__file__).resolve().parents[2] / "resources" / "sample" / "image.tif"


@pytest.fixture
def dock(project: QgsProject, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("TILTH_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("TILTH_PYTHON", raising=False)
    keep(LAST, "")
    keep("adapters/loaded", "")
    with shown_dock() as made:
        yield made


def _polygons(name: str) -> QgsVectorLayer:
    layer = QgsVectorLayer("Polygon?crs=EPSG:32632&field=klass:string", name, "memory")
    QgsProject.instance().addMapLayer(layer)
    return layer


def _rasters(*names: str) -> List[QgsRasterLayer]:
    layers = [QgsRasterLayer(str(SAMPLE), name, "gdal") for name in names]
    QgsProject.instance().addMapLayers(layers)
    return layers


def _adapter(folder: Path, name: str, stamp: int) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}.tilth"
    file.touch()
    os.utime(file, (stamp, stamp))
    return str(file)


def _chosen(dock: Any) -> str:
    return dock.map.adapterCombo.currentData() or ""


def test_a_removed_area_becomes_none(dock: Any, project: QgsProject) -> None:
    first, area, _last = [_polygons(name) for name in ("a", "b", "c")]
    dock.labels.layerCombo.setLayer(first)
    dock.labels.areaCombo.setLayer(area)
    touched: List[int] = []
    dock.labels.changed.connect(lambda: touched.append(1))
    project.removeMapLayer(area.id())
    assert dock.labels.choice().area is None
    assert dock.labels.areaCombo.currentText() == "none"
    assert touched
    project.removeMapLayer(first.id())
    assert dock.labels.choice().area is None


def test_an_area_stays_when_another_layer_goes(dock: Any, project: QgsProject) -> None:
    first, area, last = [_polygons(name) for name in ("a", "b", "c")]
    dock.labels.areaCombo.setLayer(area)
    project.removeMapLayers([first.id(), last.id()])
    assert dock.labels.choice().area == area


def test_labels_are_looked_at_again_when_their_raster_goes(dock: Any, project: QgsProject) -> None:
    layers = _rasters("a", "b", "c", "d", "e")
    dock.labels.polygonsRadio.setChecked(False)
    dock.labels.rasterCombo.setLayer(layers[1])
    dock.labels.show_plan({"warnings": ["of the raster that goes"]})
    touched: List[int] = []
    dock.labels.changed.connect(lambda: touched.append(1))
    project.removeMapLayer(layers[4].id())
    project.removeMapLayer(layers[0].id())
    assert not touched
    project.removeMapLayer(layers[1].id())
    assert touched
    assert "goes" not in dock.labels.notice.text()


def _nowhere(layer: Any) -> Any:
    layer.setCrs(QgsCoordinateReferenceSystem())
    return layer


def test_advice_follows_a_layer_that_is_mended(dock: Any, project: QgsProject) -> None:
    page, mended = dock.labels, QgsCoordinateReferenceSystem("EPSG:32632")
    labels, area = _nowhere(_polygons("labels")), _nowhere(_polygons("area"))
    image, raster = [_nowhere(layer) for layer in _rasters("image", "raster")]
    page.layerCombo.setLayer(labels)
    page.areaCombo.setLayer(area)
    page.images.set_layers([image])
    page.rasterCombo.setLayer(raster)
    assert "no coordinate reference system" in page.notice.text()
    touched: List[int] = []
    page.changed.connect(lambda: touched.append(1))
    for number, layer in enumerate((labels, area, image, raster), start=1):
        layer.setCrs(mended)
        assert len(touched) == number
    assert "no coordinate reference system" not in page.notice.text()

    image.setDataSource(str(SAMPLE), "image", "gdal")
    assert len(touched) > 4
    page.images.set_layers([])
    touched.clear()
    _nowhere(image)
    assert not touched


def test_maps_of_tilth_are_not_taken_for_images(
    dock: Any, project: QgsProject, tmp_path: Path
) -> None:
    """Not even in a project that is opened again, where a map lies above its image."""
    for name in ("map.tif", "confidence.tif"):
        shutil.copy(SAMPLE, tmp_path / name)
    _rasters("sentinel")
    made = {"map": str(tmp_path / "map.tif"), "confidence": str(tmp_path / "confidence.tif")}
    result.add_map({**made, "classes": [], "name": "adapter"}, project)
    assert project.write(str(tmp_path / "project.qgz"))
    project.clear()
    wait(lambda: False, 0.1)
    assert project.read(str(tmp_path / "project.qgz"))
    assert wait(lambda: dock.labels.images.layers(), 5)
    assert len(project.mapLayers()) == 3
    assert [layer.name() for layer in dock.labels.images.layers()] == ["sentinel"]
    assert dock.map.imageCombo.currentLayer().name() == "sentinel"
    assert dock.map.imageCombo.count() == 1


def test_files_of_one_scene_are_not_asked_about_on_the_map_page(dock: Any, project: Any) -> None:
    layers = _rasters("one", "two")
    dock.show_page(MAP)
    dock.map.severalCheck.setChecked(True)
    dock.map.images.set_layers(layers)
    assert dock.map.images.isVisible() and not dock.map.images.stackCheck.isVisible()
    dock.show_page(LABELS)
    dock.labels.images.set_layers(layers)
    assert dock.labels.images.stackCheck.isVisible()


def test_images_are_listed_by_the_names_that_they_have_now(dock: Any, project: QgsProject) -> None:
    images = dock.labels.images
    images.set_layers(_rasters("one", "two"))
    images.layers()[1].setName("R & D")
    assert [images.list.item(row).text() for row in range(2)] == ["one", "R & D"]
    assert images.list.item(1).toolTip().startswith("R & D")
    images.set_layers(images.layers()[:1])
    images._fill_menu()
    assert images._menu.actions()[0].text() == "R && D"


def test_dates_go_with_their_image_only(dock: Any, project: QgsProject) -> None:
    page = dock.map
    layers = _rasters("a", "b", "c", "d", "e")
    page.datesEdit.setText("2024-06-15")
    project.removeMapLayer(layers[4].id())
    assert page.datesEdit.text() == "2024-06-15"
    page.choose_image(layers[1])
    assert page.datesEdit.text() == ""
    page.datesEdit.setText("2024-07-15")
    project.removeMapLayer(layers[0].id())
    assert page.datesEdit.text() == "2024-07-15"
    project.removeMapLayer(layers[1].id())
    assert page.datesEdit.text() == ""


def test_several_images_keep_their_dates_when_another_goes(dock: Any, project: QgsProject) -> None:
    layers = _rasters("a", "b", "c")
    dock.map.choose_image(layers[0])
    dock.map.severalCheck.setChecked(True)
    dock.map.images.set_layers(layers[1:])
    dock.map.datesEdit.setText("2024-06-15, 2024-07-15")
    project.removeMapLayer(layers[0].id())
    assert dock.map.datesEdit.text() == "2024-06-15, 2024-07-15"


def test_dates_stay_when_images_change_that_are_not_used(dock: Any, project: QgsProject) -> None:
    page = dock.map
    layers = _rasters("a", "b", "c")
    page.choose_image(layers[0])
    page.datesEdit.setText("2024-06-15")
    page.images.set_layers(layers[1:])
    project.removeMapLayer(layers[1].id())
    assert page.datesEdit.text() == "2024-06-15"
    page.severalCheck.setChecked(True)
    assert page.datesEdit.text() == ""


def test_a_layer_that_reads_another_file_is_another_image(
    dock: Any, project: QgsProject, tmp_path: Path
) -> None:
    layer = _rasters("a")[0]
    dock.map.choose_image(layer)
    dock.labels.images.set_layers([layer])
    subject = dock.train._subject()
    for page in (dock.map, dock.train):
        page.datesEdit.setText("2024-06-15")
    layer.setCrs(QgsCoordinateReferenceSystem("EPSG:32633"))
    assert dock.map.datesEdit.text() == dock.train.datesEdit.text() == "2024-06-15"
    assert dock.train._subject() == subject
    layer.setDataSource(str(shutil.copy(SAMPLE, tmp_path)), "a", "gdal")
    assert dock.map.datesEdit.text() == dock.train.datesEdit.text() == ""
    assert dock.train._subject() != subject


def test_warnings_of_a_run_stay_when_the_map_is_there(
    dock: Any, project: QgsProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page, told = dock.map, dock.map.warnings
    monkeypatch.setattr(dock.session, "engine_ready", lambda _notice: True)
    monkeypatch.setattr(dock.session, "start", lambda _task: None)
    monkeypatch.setattr(dock.session.iface, "setActiveLayer", lambda _: None, raising=False)
    outcome = {"map": shutil.copy(SAMPLE, tmp_path), "warnings": ["engine", "both"]}

    task = _started(page, monkeypatch)
    for text in ("layer", "both", "layer"):
        task.noticed.emit("warning", text)
    assert told.text() == "• layer\n• both"
    task.succeeded.emit(outcome)
    assert told.text().splitlines() == ["• layer", "• both", "• engine"]
    assert page.notice.text().startswith("Added") and "engine" not in page.notice.text()
    task.ended.emit()

    task = _started(page, monkeypatch)
    task.succeeded.emit({**outcome, "warnings": []})
    assert page.notice.text() and told.text() == ""
    task.ended.emit()


def _started(page: Any, monkeypatch: pytest.MonkeyPatch) -> BaseTask:
    task = BaseTask("Mapping")
    monkeypatch.setattr(page, "_task", lambda: task)
    page.run()
    return task


def test_a_file_that_the_dialog_names_is_the_one_chosen(
    dock: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = _adapter(tmp_path / "elsewhere", "old", 1_000_000)
    _adapter(dock.library.folder, "new", 2_000_000)
    dock.library.refresh()
    # As on Windows, the dialog writes the path otherwise than Python does.
    told = f"{tmp_path}//elsewhere/./old.tilth"
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (told, ""))
    assert ask_adapter(dock) == loaded
    dock.map.loadButton.click()
    assert _chosen(dock) == loaded
    dock.map.adapterCombo.setCurrentIndex(0)
    assert _chosen(dock) != loaded
    dock.map.choose_adapter(told)
    assert _chosen(dock) == loaded
    dock.adapters.load_file(told)
    assert str(dock.adapters.current().path) == loaded


def test_an_adapter_that_is_gone_is_not_replaced(
    dock: Any, project: QgsProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = _adapter(dock.library.folder, "old", 1_000_000)
    other = _adapter(dock.library.folder, "new", 2_000_000)
    dock.library.refresh()
    dock.map.choose_adapter(wanted)
    dock.library.remove(dock.library.find(wanted))
    assert _chosen(dock) == ""
    assert "pick one" in dock.map.adapterHint.text()

    _rasters("image")
    monkeypatch.setattr(dock.session, "engine_ready", lambda _notice: True)
    monkeypatch.setattr(map_page.runs, "mapping", lambda *_: pytest.fail("it runs"))
    dock.map.runButton.click()
    assert "No adapter is chosen: pick one" in dock.map.notice.text()
    assert wait(lambda: dock.session.iface.bar.currentItem() is not None)
    dock.map.choose_adapter(other)
    assert _chosen(dock) == other
    assert "pick one" not in dock.map.adapterHint.text()


def test_a_training_that_ends_does_not_choose_its_adapter(dock: Any) -> None:
    assert "No adapter yet" in dock.map.adapterHint.text()
    first = _adapter(dock.library.folder, "first", 1_000_000)
    dock.library.refresh()
    assert _chosen(dock) == first
    trained = _adapter(dock.library.folder, "trained", 2_000_000)
    dock.train.trained.emit(trained)
    assert dock.map.adapterCombo.count() == 2
    assert _chosen(dock) == first
    dock.train.map_wanted.emit(trained)
    assert _chosen(dock) == trained


def test_adapters_of_one_name_are_told_apart(dock: Any) -> None:
    folder = dock.library.folder
    paths = [_adapter(folder, name, 86400 * day) for day, name in enumerate("abc", start=400)]
    dock.library.refresh()
    for path, name in zip(paths, ("Labels", "Labels", "Fields")):
        dock.library.find(path).card = {"name": name}
    dock.library.changed.emit()

    combo, rows = dock.map.adapterCombo, dock.adapters.list
    texts = [combo.itemText(number) for number in range(3)]
    assert texts[0] == "Fields"
    assert texts[1].startswith("Labels (1971-02-0") and texts[2].startswith("Labels (1971-02-0")
    assert texts[1] > texts[2]  # the newest first
    assert [rows.item(number).text() for number in range(3)] == texts


def test_many_adapters_are_listed_with_one_icon(dock: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is read from its file each time: with 300 adapters this took most of 60 ms."""
    read: List[str] = []
    monkeypatch.setattr(icons, "own", lambda name: read.append(name) or QIcon())
    for number in range(20):
        _adapter(dock.library.folder, f"number {number}", 1_000_000 * (number + 1))
    dock.library.refresh()
    assert dock.map.adapterCombo.count() == dock.adapters.list.count() == 20
    assert len(read) == 2


def test_a_drive_that_does_not_answer_does_not_stop_qgis(
    dock: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Adapters that were loaded from elsewhere are looked at in a thread."""
    file = Path(_adapter(tmp_path / "elsewhere", "old", 1_000_000))
    stamp, looked_at = library._stamp, []

    def slow(path: Path) -> Optional[float]:
        looked_at.append(threading.current_thread() is threading.main_thread())
        return stamp(path)

    monkeypatch.setattr(library, "_stamp", slow)
    keep("adapters/loaded", str(file))
    dock.library.refresh()
    assert wait(lambda: dock.library.find(str(file)), 5)
    assert dock.adapters.list.count() == 1

    file.unlink()
    dock.library.refresh()
    assert dock.library.find(str(file))  # as it was, until that is known
    assert wait(lambda: not dock.library.find(str(file)), 5)
    assert looked_at == [False, False]


def _list_of(dock: Any, count: int) -> float:
    """The height of the Adapters page's list with so many, in rows."""
    for number in range(count):
        _adapter(dock.library.folder, f"number {number}", 1_000_000 * (number + 1))
    dock.library.refresh()
    wait(lambda: False, 0.05)
    rows = dock.adapters.list
    return (rows.height() - 2 * rows.frameWidth()) / rows.sizeHintForRow(0)


def test_the_list_of_adapters_is_as_high_as_its_rows(dock: Any) -> None:
    page = dock.adapters
    dock.show_page(ADAPTERS)
    wait(lambda: False, 0.05)
    assert page.empty.isVisible() and "Load from file" in page.empty.text()
    assert not page.card.isVisible()

    assert _list_of(dock, 2) == 3
    assert page.card.isVisible() and not page.empty.isVisible()
    assert _list_of(dock, 5) == 5
    assert _list_of(dock, 20) == 8
    dock.setStyleSheet("* { font-size: 16pt }")
    assert _list_of(dock, 20) == 8

    dock.setStyleSheet("")
    page.splitter.setSizes([page.list.minimumSizeHint().height(), 1000])
    page.splitter.splitterMoved.emit(0, 1)  # as the user moves it
    assert _list_of(dock, 21) < 8


def _describe(dock: Any) -> None:
    dock.session.description = {"backbones": []}
    dock.session.described.emit()


def test_what_is_no_fault_of_an_adapter_is_not_told_as_one(
    dock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: List[str] = []

    def run(job: Any, *_: object) -> Any:
        asked.append(Path(job.adapter).stem)
        if asked[-1] == "damaged":
            raise WorkerError("input", "the file is damaged")
        if len(asked) < 4:
            raise WorkerError("died", "The engine stopped.")
        return {"card": {"name": "Fields"}}

    monkeypatch.setattr(dock.session.pool, "run", run)
    for stamp, name in enumerate(("last", "damaged", "first")):
        _adapter(dock.library.folder, name, 1_000_000 * (stamp + 1))
    dock.library.refresh()
    _describe(dock)
    assert wait(lambda: len(asked) == 3 and not registry.running(), 10)
    assert asked == ["first", "damaged", "last"]
    first, damaged, last = dock.library.adapters()
    assert (first.fault, damaged.fault, last.fault) == ("", "the file is damaged", "")
    dock.adapters.select(str(first.path))
    assert "The engine stopped." in dock.adapters.card.toPlainText()

    dock.library.refresh()  # as after each training: those are tried again
    assert wait(lambda: first.card and last.card, 10)
    assert asked[3:] == ["first", "last"]


def test_an_inspection_that_is_cancelled_is_the_last_for_now(
    dock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = _endless(dock, monkeypatch)
    for stamp in (1, 2):
        _adapter(dock.library.folder, f"number {stamp}", 1_000_000 * stamp)
    dock.library.refresh()
    _describe(dock)
    assert wait(lambda: len(asked) == 1, 10)
    dock.library._task.cancel()
    assert not wait(lambda: len(asked) > 1, 0.5)
    assert not registry.running()


def test_unloading_does_not_wait_for_inspections(
    project: QgsProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TILTH_HOME", str(tmp_path))
    monkeypatch.delenv("TILTH_PYTHON", raising=False)
    keep("adapters/loaded", "")
    with shown_dock() as made:
        asked = _endless(made, monkeypatch)
        _adapter(made.library.folder, "mine", 1_000_000)
        made.library.refresh()
        _describe(made)
        assert wait(lambda: len(asked) == 1, 10)
    _describe(made)
    assert not registry.running()
    assert len(asked) == 1


def _endless(dock: Any, monkeypatch: pytest.MonkeyPatch) -> List[Any]:
    """The jobs that were begun; each goes on until it is cancelled."""
    begun: List[Any] = []

    def run(job: Any, _hear: object, cancelled: Callable[[], bool]) -> Any:
        begun.append(job)
        while not cancelled():
            time.sleep(0.01)
        raise WorkerError("cancelled", "Cancelled.")

    monkeypatch.setattr(dock.session.pool, "run", run)
    return begun


def test_a_new_label_layer_is_a_file_beside_the_project(
    dock: Any, project: QgsProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.setFileName(str(tmp_path / "p.qgs"))
    (tmp_path / "labels.gpkg").touch()
    said: List[str] = []

    def press_ok(dialog: new_layer.NewLayerDialog) -> int:
        said.append(dialog.fileWidget.filePath())
        dialog.classesEdit.setPlainText("wood\n\n water \nwood")
        return int(QDialog.DialogCode.Accepted)

    monkeypatch.setattr(new_layer.NewLayerDialog, "exec", press_ok)
    image = _rasters("image")[0]
    dock.labels.images.set_layers([image])

    dock.labels.newLayerButton.click()

    assert said == [str(tmp_path / "labels_2.gpkg")]
    layer = dock.labels.layerCombo.currentLayer()
    assert layer.source() == f"{said[0]}|layername=labels"
    assert layer.isEditable() and layer.crs() == image.crs()
    assert [c.value() for c in layer.renderer().categories()] == ["wood", "water"]
    layer.rollBack()


@pytest.mark.parametrize(
    ("typed", "expected"), [("mine", "mine.gpkg"), ("p.qgs", "p.qgs.gpkg"), ("", None)]
)
def test_a_new_label_layer_goes_where_the_user_says(
    dock: Any, project: QgsProject, tmp_path: Path, typed: str, expected: Optional[str]
) -> None:
    project.setFileName(str(tmp_path / "p.qgs"))
    dialog = new_layer.NewLayerDialog(dock, tmp_path / "labels.gpkg")
    dialog.fileWidget.setFilePath(typed)
    assert dialog.path() == (str(tmp_path / expected) if expected else "")


def test_no_new_label_layer_where_the_user_changed_their_mind(
    dock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(new_layer.NewLayerDialog, "exec", lambda dialog: 0)
    dock.labels.newLayerButton.click()
    assert dock.labels.layerCombo.currentLayer() is None


def test_rows_that_are_left_out_of_the_map_page_leave_no_gap(dock: Any) -> None:
    page = dock.map
    dock.show_page(MAP)

    def below_the_box() -> int:
        wait(lambda: False, 0.05)
        bottom = page.severalCheck.geometry().bottom()
        return int(page.inputGroup.contentsRect().bottom() - bottom)

    margin = page.inputForm.contentsMargins().bottom()
    assert page.imageCombo.y() > page.adapterHint.y() > page.adapterRow.y()
    assert below_the_box() <= margin + 1
    page.severalCheck.setChecked(True)
    assert below_the_box() > page.images.height() >= page.images.list.height()
    page.severalCheck.setChecked(False)
    assert below_the_box() <= margin + 1 and not page.images.isVisible()
    dock.show_page(LABELS)
    page.adapterHint.setText("Many words about the adapter. " * 5)
    dock.show_page(MAP)
    wait(lambda: False, 0.05)
    hint = page.adapterHint
    assert hint.height() >= hint.heightForWidth(hint.width())
