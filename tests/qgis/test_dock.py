"""The dock without a window manager: builds, follows the project, checks, lets go."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, List, Optional

import pytest
from dock_window import wait
from qgis.core import (
    QgsCategorizedSymbolRenderer,
    QgsCoordinateReferenceSystem,
    QgsFeature,
    QgsFillSymbol,
    QgsGeometry,
    QgsProcessingUtils,
    QgsProject,
    QgsRasterLayer,
    QgsRectangle,
    QgsRendererCategory,
    QgsSettings,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import QDate, QRectF, Qt
from qgis.PyQt.QtGui import QTextDocument
from tilth.plugin import tilth_plugin
from tilth.plugin.dock import (
    chart,
    class_scan,
    class_table,
    label_checks,
    layer_names,
    runs,
    settings,
    train_options,
    wording,
)
from tilth.plugin.dock.class_scan import ClassCount
from tilth.plugin.dock.dock_widget import LABELS, MAP, TRAIN
from tilth.plugin.dock.library import Adapter
from tilth.plugin.dock.method_fields import DEFAULTS
from tilth.plugin.engine.errors import TilthError
from tilth.plugin.engine.jobs import TrainJob

SAMPLE = Path(__file__).resolve().parents[2] / "resources" / "sample" / "image.tif"
EMBEDDED = {
    "id": "embedded",
    "runs": True,
    "lora_targets": ["attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2"],
}


def _choose(combo: Any, data: str) -> None:
    combo.setCurrentIndex(combo.findData(data))


def _labels(classes: List[Any], name: str = "labels", kind: str = "string") -> QgsVectorLayer:
    source = f"Polygon?crs=EPSG:32632&field=id:integer&field=klass:{kind}"
    layer = QgsVectorLayer(source, name, "memory")
    for number, value in enumerate(classes):
        feature = QgsFeature(layer.fields())
        x = 500000 + 100 * number
        feature.setGeometry(QgsGeometry.fromWkt(f"POLYGON(({x} 0,{x + 9} 0,{x + 9} 9,{x} 0))"))
        feature.setAttributes([number, value])
        layer.dataProvider().addFeature(feature)
    layer.updateExtents()
    QgsProject.instance().addMapLayer(layer)
    return layer


def test_says_that_there_is_no_engine_and_its_size(dock: Any) -> None:
    assert dock.panel.isVisible()
    assert "GB" in dock.panel.text.text()
    for page in (TRAIN, MAP):
        dock.show_page(page)
    dock.train.runButton.click()
    assert "not installed" in dock.train.notice.text()
    assert wait(lambda: dock.session.iface.bar.currentItem() is not None)
    assert "not installed" in dock.session.iface.bar.currentItem().text()


def test_counts_the_classes_and_warns(dock: Any) -> None:
    layer = _labels(["a", "a", "b", None])
    dock.labels.layerCombo.setLayer(layer)
    assert dock.labels.fieldCombo.currentField() == "klass"
    assert wait(lambda: dock.labels.count is not None)
    assert dock.labels.count.polygons == {"a": 2, "b": 1}
    assert dock.labels.classTable.rowCount() == 2
    assert "Only one polygon" in dock.labels.notice.text()
    assert "without a class" in dock.labels.notice.text()


def _edited_labels(dock: Any) -> QgsVectorLayer:
    """A layer of two classes that were counted, in edit mode with a third one not saved."""
    layer = _labels(["a", "a", "b", "b"])
    dock.labels.layerCombo.setLayer(layer)
    assert wait(lambda: dock.labels.count is not None)
    layer.startEditing()
    layer.changeAttributeValue(1, 1, "c")
    return layer


def test_counts_again_after_an_edit_that_is_not_saved(dock: Any) -> None:
    layer = _edited_labels(dock)
    assert wait(lambda: dock.labels.count is not None and "c" in dock.labels.count.polygons)
    layer.rollBack()
    assert wait(lambda: dock.labels.count is not None and "c" not in dock.labels.count.polygons)


def test_the_table_stays_while_polygons_are_drawn(dock: Any) -> None:
    _edited_labels(dock)
    assert dock.labels.classTable.rowCount() == 2
    assert wait(lambda: dock.labels.classTable.rowCount() == 3)


@pytest.mark.parametrize("at", [0, 1])
@pytest.mark.parametrize("how", ["renamed", "deleted", "renamed and saved"])
def test_a_class_field_that_goes_is_not_replaced(dock: Any, at: int, how: str) -> None:
    page, layer = dock.labels, _labels(["a", "a", "b", "b"])
    page.layerCombo.setLayer(layer)
    page.fieldCombo.setField(["id", "klass"][at])
    assert wait(lambda: page.count is not None)
    layer.startEditing()
    if how == "deleted":
        layer.deleteAttribute(at)
    else:
        layer.renameAttribute(at, "name")
    if "saved" in how:
        layer.commitChanges()
    assert wait(lambda: "Pick the field" in page.classHint.text(), 5)
    assert page.choice().class_field == ""
    assert page.classTable.rowCount() == 0
    page.fieldCombo.setField(layer.fields().at(0).name())
    assert wait(lambda: page.classTable.rowCount() > 0, 5)


def test_a_layer_in_edit_mode_is_not_asked_where_it_lies(
    dock: Any, project: QgsProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """QGIS looks at all of its polygons for that, meanwhile nothing moves: half a second for
    200,000."""
    asked: List[int] = []
    monkeypatch.setattr(QgsVectorLayer, "extent", lambda _layer: asked.append(1) or QgsRectangle())
    image = QgsRasterLayer(str(SAMPLE), "image", "gdal")
    project.addMapLayer(image)
    layer = _labels(["a", "a", "b", "b"])
    dock.labels.images.set_layers([image])
    dock.labels.layerCombo.setLayer(layer)
    assert wait(lambda: "outside the image" in dock.labels.notice.text())
    layer.startEditing()
    layer.deleteFeature(1)
    assert wait(lambda: dock.labels.count is not None and dock.labels.count.total == 3)
    runs.training(dock.session.pool, dock.labels.choice(), dock.train.options.job())
    assert not asked


def test_the_table_has_the_colours_that_the_layer_has_now(dock: Any) -> None:
    """A running training, or an engine that is missing, makes no plan to correct them."""
    layer = _labels(["a", "a", "b", "b"])
    for colour in ("#ff0000", "#00ff00"):
        symbol = QgsFillSymbol.createSimple({"color": colour})
        layer.setRenderer(
            QgsCategorizedSymbolRenderer('"klass"', [QgsRendererCategory("a", symbol, "Alder")])
        )
        dock.labels.layerCombo.setLayer(layer)
        assert wait(lambda wanted=colour: dock.labels._colours.get("a") == wanted, 10)


@pytest.mark.parametrize(
    ("kind", "values", "names"),
    [("double", [1.0, 2.5], ["1", "2.5"]), ("bool", [False, True], ["false", "true"])],
)
def test_classes_are_called_as_on_the_map(
    dock: Any, kind: str, values: List[Any], names: List[str]
) -> None:
    dock.labels.layerCombo.setLayer(_labels(values, kind=kind))
    assert wait(lambda: dock.labels.count is not None, 10)
    table = dock.labels.classTable
    assert [table.item(row, 0).text() for row in range(table.rowCount())] == names


@pytest.mark.parametrize(
    ("kind", "values", "names"),
    [
        ("string[]", [["a", "b"], ["a", "b"], ["c"]], ["['a', 'b']", "['c']"]),
        ("date", [QDate(2024, 6, 1), QDate(2024, 6, 1), QDate(2024, 7, 1)], None),
    ],
)
def test_counts_values_that_are_no_plain_ones(
    dock: Any, kind: str, values: List[Any], names: Optional[List[str]]
) -> None:
    dock.labels.layerCombo.setLayer(_labels(values, kind=kind))
    assert wait(lambda: dock.labels.count is not None, 10)
    assert list(dock.labels.count.polygons) == (names or [v.toString() for v in values[1:]])
    assert list(dock.labels.count.polygons.values()) == [2, 1]


def test_a_count_that_fails_is_told_and_the_next_layer_is_counted(
    dock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = dock.labels

    def fail(*_: object) -> None:
        raise OSError("the server is gone")

    with monkeypatch.context() as patched:
        patched.setattr(class_scan, "_add", fail)
        page.layerCombo.setLayer(_labels(["a", "b"]))
        assert wait(lambda: "server is gone" in page.classHint.text(), 10)
        assert page.classHint.text().startswith("The classes were not counted: ")
    wait(lambda: False, 0.2)  # QGIS deletes the task that has ended
    page.layerCombo.setLayer(_labels(["c", "c"], "another"))
    assert wait(lambda: page.count is not None, 10)
    assert page.count.polygons == {"c": 2}


def test_a_count_that_is_cancelled_is_no_count(dock: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    page, add = dock.labels, class_scan._add

    def cancelled_at_first(*told: Any) -> None:
        add(*told)
        page.watch._scan.cancel()  # as in QGIS's task manager

    monkeypatch.setattr(class_scan, "_add", cancelled_at_first)
    page.layerCombo.setLayer(_labels(["a", "b", "b"]))
    assert wait(lambda: "not counted: Cancelled" in page.classHint.text(), 10)
    assert page.count is None and page.classTable.rowCount() == 0


def test_what_one_page_raises_does_not_keep_workers(
    dock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped: List[str] = []

    def fail() -> None:
        raise RuntimeError("deleted")

    with monkeypatch.context() as patched:
        patched.setattr(dock.labels, "shut_down", fail)
        patched.setattr(dock.map, "shut_down", lambda: stopped.append("map"))
        patched.setattr(dock.session, "shut_down", lambda: stopped.append("session"))
        with pytest.raises(RuntimeError, match="deleted"):
            dock.shut_down()
    assert stopped == ["map", "session"]


def test_a_dock_that_can_not_let_go_is_taken_away(
    dock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone: List[Any] = []

    def fail() -> None:
        raise RuntimeError("deleted")

    with monkeypatch.context() as patched:
        patched.setattr(tilth_plugin, "_forget_modules", lambda: gone.append("modules"))
        patched.setattr(dock, "shut_down", fail)
        patched.setattr(dock, "deleteLater", lambda: gone.append("later"))
        dock.session.iface.removeDockWidget = gone.append
        plugin = tilth_plugin.TilthPlugin(dock.session.iface)
        plugin.dock = dock
        dock.visibilityChanged.connect(plugin._show_state)
        with pytest.raises(RuntimeError, match="deleted"):
            plugin.unload()
    assert gone == [dock, "later", "modules"]


def test_offers_the_selection(dock: Any) -> None:
    layer = _labels(["a", "a", "b", "b"])
    dock.labels.layerCombo.setLayer(layer)
    assert not dock.labels.selectedCheck.isEnabled()
    layer.selectByIds([1, 3])
    assert dock.labels.selectedCheck.isEnabled()
    assert "(2)" in dock.labels.selectedCheck.text()
    dock.labels.selectedCheck.setChecked(True)
    assert wait(lambda: dock.labels.count is not None and dock.labels.count.total == 2)
    assert dock.labels.choice().only_selected


def test_a_selection_that_is_not_asked_for_changes_nothing(dock: Any) -> None:
    page, layer = dock.labels, _labels(["a", "a", "b", "b"])
    page.layerCombo.setLayer(layer)
    assert wait(lambda: page.count is not None)
    touched: List[int] = []
    page.changed.connect(lambda: touched.append(1))
    layer.selectByIds([1, 3])
    assert page.count is not None and not touched
    page.selectedCheck.setChecked(True)
    layer.selectByIds([1])
    assert len(touched) == 2


def test_a_selection_that_is_lost_is_not_all_of_them(dock: Any, project: QgsProject) -> None:
    page, layer = dock.labels, _labels(["a", "a", "b", "b"])
    image = QgsRasterLayer(str(SAMPLE), "image", "gdal")
    project.addMapLayer(image)
    page.images.set_layers([image])
    page.layerCombo.setLayer(layer)
    layer.selectByIds([1, 3])
    page.selectedCheck.setChecked(True)
    layer.removeSelection()
    assert page.choice().only_selected and page.selectedCheck.isEnabled()
    assert "Nothing is selected" in page.classHint.text()
    with pytest.raises(TilthError, match="Nothing is selected in “labels”"):
        page.choice().check()

    page.selectedCheck.click()
    assert not page.choice().only_selected and not page.selectedCheck.isEnabled()
    page.choice().check()
    assert wait(lambda: page.count is not None and page.count.total == 4)


def test_layers_that_go_are_forgotten(dock: Any, project: QgsProject) -> None:
    first, second = _labels(["a", "b"], "first"), _labels(["c", "d"], "second")
    dock.labels.layerCombo.setLayer(first)
    project.removeMapLayer(first.id())
    assert dock.labels.choice().layer == second
    assert dock.labels.choice().class_field == "klass"
    project.clear()
    assert dock.labels.choice().layer is None
    assert wait(lambda: dock.labels.classTable.rowCount() == 0)


def test_the_chart_leaves_out_what_is_missing(dock: Any) -> None:
    widget = chart.LearningChart()
    widget.add(1, 3, {"train_loss": 1.5, "validation_score": None})
    widget.add(2, 3, {"train_loss": 0.5, "validation_score": 0.7})
    assert widget.points() == ([(1, 1.5), (2, 0.5)], [(2, 0.7)])
    assert not widget.grab().isNull()
    widget.clear()
    assert not widget.grab().isNull()


def test_the_chart_is_drawn_in_the_colour_of_text_that_a_theme_gives(dock: Any) -> None:
    page = dock.train
    page.setStyleSheet("QLabel { color: #aabbcc }")
    page.chart.ensurePolished()
    assert page.chart._ink(255).name() == "#aabbcc"


def test_the_chart_goes_from_left_to_right_in_any_language(dock: Any) -> None:
    pictures = []
    for direction in (Qt.LayoutDirection.LeftToRight, Qt.LayoutDirection.RightToLeft):
        widget = chart.LearningChart()
        widget.setLayoutDirection(direction)
        widget.add(1, 3, {"train_loss": 1.5, "validation_score": 0.2})
        widget.add(2, 3, {"train_loss": 0.5, "validation_score": 0.7})
        pictures.append(widget.grab().toImage())
    assert pictures[0] == pictures[1]


def test_large_letters_can_be_scrolled_to_and_do_not_run_together(dock: Any) -> None:
    dock.contents.deviceLabel.setText("Runs on a card with a very long name indeed")
    dock.setStyleSheet("* { font-size: 22pt }")
    for number, page in ((LABELS, dock.labels), (MAP, dock.map)):
        dock.show_page(number)
        wait(lambda: False, 0.1)
        inner, view = page.scroll.widget(), page.scroll.viewport()
        assert inner.width() <= view.width() or page.scroll.horizontalScrollBar().isVisible()
    assert dock.contents.deviceLabel.wordWrap()


@pytest.mark.parametrize("value", [0.0, 0.003, 0.99, 1.0, 1.01, 7.2, 83.0, 1e6])
def test_an_axis_ends_above_its_values(value: float) -> None:
    top = chart._round_up(value)
    assert value <= top
    assert value == 0 or top <= 2.01 * value


@pytest.mark.parametrize("width", [200, 260, 290, 600])
def test_the_legend_of_the_chart_does_not_run_into_itself(width: int) -> None:
    area = QRectF(34, 20, width - 64, 100)
    (first, above), (second, below) = chart._legend_places([115, 122], area, width)
    assert first >= 0 and second + 122 <= width
    assert (first + 115 < second) if width > 200 else (above, below) == (0, 1)
    assert chart._legend_places([115], area, width) == [(34, 0)]
    assert width < 600 or (first, second) == (34, area.center().x())


def test_what_saves_memory_goes_into_the_job_and_is_kept(
    dock: Any, request: pytest.FixtureRequest
) -> None:
    request.addfinalizer(lambda: QgsSettings().remove("tilth/train"))
    page = dock.train
    job = page.options.job()
    assert (job.batch, job.precision, job.checkpointing) == (0, "auto", False)

    page.batchSpin.setValue(4)
    page.precisionCombo.setCurrentIndex(page.precisionCombo.findData("nf4"))
    page.checkpointingCheck.setChecked(True)
    page.decoderCombo.setCurrentIndex(page.decoderCombo.findData("upernet"))

    job = page.options.job()
    job.images, job.labels, job.class_field = ["scene.tif"], "labels.gpkg", "class"
    job.check()
    assert (job.batch, job.precision, job.checkpointing) == (4, "nf4", True)
    assert job.decoder == "upernet"
    page.options.keep()
    assert (settings.number("train/batch", 0), settings.text("train/precision")) == (4, "nf4")
    assert settings.flag("train/checkpointing", False)


def test_each_method_shows_its_own_settings(dock: Any) -> None:
    page, fields = dock.train, dock.train.options.fields.widgets
    page.options.backbone.card = lambda: EMBEDDED  # as an engine tells it
    page.options.show_description()
    shown = {}
    for method in ("lora", "vera", "ia3", "vpt", "bitfit", "probe", "forest"):
        _choose(page.methodCombo, method)
        shown[method] = {name for name, field in fields.items() if not field.isHidden()}
        assert page.batchSpin.isHidden() == (method == "forest")
        assert page.decoderCombo.isHidden() == (method in ("probe", "forest"))
    assert shown == {
        "lora": {"rank", "alpha", "dropout", "targets", "zoom"},
        "vera": {"rank", "dropout", "targets", "zoom"},
        "ia3": {"targets", "zoom"},
        "vpt": {"dropout", "prompts", "zoom"},
        "bitfit": {"zoom"},
        "probe": {"zoom"},
        "forest": set(),
    }
    _choose(page.methodCombo, "lora")
    _choose(page.decoderCombo, "unet")
    assert not fields["image_branch"].isHidden()
    assert fields["time_location"].isHidden() and page.datesEdit.isHidden()
    page.options.backbone.card = lambda: {**EMBEDDED, "mean": [1.0], "time_location": True}
    page.options.show_description()
    assert not fields["time_location"].isHidden() and not page.datesEdit.isHidden()
    assert not fields["normalisation"].isHidden()
    assert all(field.toolTip() for field in (*fields.values(), page.datesEdit))


@pytest.mark.parametrize("closed", [True, False])
def test_what_is_set_goes_into_the_job_and_is_kept(
    dock: Any, closed: bool, request: pytest.FixtureRequest
) -> None:
    request.addfinalizer(lambda: QgsSettings().remove("tilth/train"))
    page = dock.train
    page.options.backbone.card = lambda: {**EMBEDDED, "mean": [1.0], "time_location": True}
    page.options.show_description()
    page.advancedGroup.setCollapsed(False)
    assert page.advancedGroup.title() == "Advanced"
    usual = TrainJob(images=[], out="")
    job = page.options.job()
    for name in (*DEFAULTS, "dates"):
        assert getattr(job, name) == getattr(usual, name) == DEFAULTS.get(name, [])

    wanted = {"rank": 64, "alpha": 32, "dropout": 0.0, "targets": ["qkv", "fc2"]}
    wanted.update(image_branch=False, normalisation="card", zoom=2.5, time_location=True)
    _choose(page.decoderCombo, "fcn")
    page.options.fields.set_values(wanted)
    page.datesEdit.setText("2024-06-15, 2024-07-01")
    assert page.advancedGroup.title() == "Advanced (10 set)"
    page.advancedGroup.setCollapsed(closed)
    job = page.options.job()
    job.images, job.labels, job.class_field = ["scene.tif"], "labels.gpkg", "class"
    job.check()
    assert {name: getattr(job, name) for name in wanted} == wanted
    assert job.dates == ["2024-06-15", "2024-07-01"]

    page.options.keep()
    page.options.fields.set_values({})
    assert page.options.job().rank is None
    page.options.fields.restore()
    assert {name: getattr(page.options.job(), name) for name in wanted} == wanted

    _choose(page.methodCombo, "forest")  # heeds none of them
    job = page.options.job()
    assert all(getattr(job, name) == DEFAULTS[name] for name in wanted)
    assert job.dates == []


def test_without_a_backbone_there_is_nothing_to_adapt(dock: Any) -> None:
    options = dock.train.options
    options.backbone._wanted = "none"
    options.show_description()
    options.backbone._wanted = "none"
    job = options.job()
    assert (job.backbone, job.method, job.decoder) == ("none", "frozen", "slim")
    _choose(dock.train.methodCombo, "forest")
    assert options.job().method == "forest"


@pytest.mark.parametrize(
    ("targets", "ticked", "told"),
    [
        (["attn.qkv", "attn.proj"], ["q", "v"], ["q", "v"]),
        (["attn.qkv", "mlp.fc2"], ["q", "k", "v", "fc2"], ["qkv", "fc2"]),
        (["attn.q_proj", "attn.k_proj", "attn.v_proj"], ["q", "k", "v"], ["q", "k", "v"]),
        (["mlp.fc1_g", "mlp.fc1_x", "mlp.fc2"], ["q", "fc1"], ["fc1"]),
        (["conv1", "conv2"], ["q", "fc1"], []),
    ],
)
def test_layers_are_those_that_the_backbone_has(targets: Any, ticked: Any, told: Any) -> None:
    assert layer_names.as_targets(ticked, {"lora_targets": targets}) == told


def test_a_map_asks_for_dates_where_the_adapter_was_told_them(
    dock: Any, project: QgsProject, tmp_path: Path
) -> None:
    page, file = dock.map, tmp_path / "a.tilth"
    file.touch()
    adapter = Adapter(file)
    dock.library.adapters, dock.library.find = lambda: [adapter], lambda _path: adapter
    layer = QgsRasterLayer(str(SAMPLE), "image", "gdal")
    project.addMapLayer(layer)
    page.choose_image(layer)
    page.choose_adapter(str(file))
    page.datesEdit.setText("2024-06-15")
    assert page.datesEdit.isHidden()
    assert page._task().job.dates == []

    adapter.card = {"inputs": {"time_location": True, "dates": []}}
    dock.library.changed.emit()
    assert not page.datesEdit.isHidden()
    assert page._task().job.dates == ["2024-06-15"]
    page.imageCombo.setLayer(None)
    assert page.datesEdit.text() == ""


@pytest.fixture
def map_page(
    dock: Any, project: QgsProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Any:
    """The Map page with an image and an adapter whose card nobody has read."""
    adapter = Adapter(tmp_path / "a.tilth")
    adapter.path.touch()
    monkeypatch.setattr(dock.library, "adapters", lambda: [adapter])
    monkeypatch.setattr(dock.library, "find", lambda _path: adapter)
    layer = QgsRasterLayer(str(SAMPLE), "image", "gdal")
    project.addMapLayer(layer)
    dock.map.choose_image(layer)
    dock.map.choose_adapter(str(adapter.path))
    return dock.map


def test_a_map_is_never_written_over(map_page: Any, project: QgsProject, tmp_path: Path) -> None:
    """The path of the last map is still in the field, in whatever project."""
    file = tmp_path / "mine.tif"
    map_page.fileWidget.setFilePath(str(file))
    map_page.confidenceCheck.setChecked(True)
    assert map_page._task().job.out == str(file)
    assert not map_page.fileWidget.confirmOverwrite()

    shutil.copy(SAMPLE, file)
    job = map_page._task().job
    assert job.out == str(tmp_path / "mine_2.tif")
    assert job.confidence == str(tmp_path / "mine_2_confidence.tif")


def test_a_name_alone_is_a_map_beside_the_project(
    map_page: Any, project: QgsProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    map_page.fileWidget.setFilePath("mymap")
    assert map_page._task().job.out == str(tmp_path / "mymap.tif")
    (tmp_path / "inner").mkdir()
    project.setFileName(str(tmp_path / "inner" / "fields.qgz"))
    assert map_page._task().job.out == str(tmp_path / "inner" / "mymap.tif")
    map_page.fileWidget.setFilePath("~mymap.tiff")
    assert map_page._task().job.out == str(tmp_path / "inner" / "~mymap.tiff")
    map_page.fileWidget.setFilePath("~/mymap.tif")
    assert map_page._task().job.out == str(tmp_path / "mymap.tif")


def test_where_a_map_was_saved_is_told(map_page: Any, tmp_path: Path) -> None:
    map_page.session.iface.setActiveLayer = lambda _layer: None
    file = shutil.copy(SAMPLE, tmp_path / "mine_2.tif")
    map_page._add({"map": str(file)})
    assert f"Its file: {file}." in map_page.notice.text()
    temporary = shutil.copy(SAMPLE, QgsProcessingUtils.generateTempFilename("map.tif"))
    map_page._add({"map": str(temporary)})
    assert "Its file" not in map_page.notice.text()


def test_a_rectangle_in_a_system_without_a_code(dock: Any) -> None:
    crs = QgsCoordinateReferenceSystem.fromProj("+proj=aea +lat_1=10 +lat_2=20 +lon_0=7")
    dock.show_page(MAP)
    dock.session.iface.canvas.setDestinationCrs(crs)
    dock.map.rectangle._tool.extentChanged.emit(QgsRectangle(0, 0, 100, 100))
    assert crs.isValid() and not crs.authid()
    assert dock.map.extentHint.text() == "Drawn: 100 × 100 in the units of Custom CRS"


def test_a_rectangle_that_is_not_used_stays_away(dock: Any) -> None:
    page, canvas = dock.map, dock.session.iface.canvas
    dock.show_page(MAP)
    canvas.setDestinationCrs(QgsCoordinateReferenceSystem("EPSG:32632"))
    page.rectangle._tool.extentChanged.emit(QgsRectangle(500000, 0, 500100, 100))
    assert page.rectangleRadio.isChecked() and page.rectangle._band.isVisible()
    assert page.extentHint.text() == "Drawn: 100 × 100 in the units of EPSG:32632"
    page.wholeRadio.setChecked(True)
    assert not page.rectangle._band.isVisible()

    canvas.setDestinationCrs(QgsCoordinateReferenceSystem("EPSG:4326"))
    assert not page.rectangle._band.isVisible()
    page.rectangleRadio.setChecked(True)
    assert page.rectangle._band.isVisible()
    assert page.rectangle._band.asGeometry().boundingBox().width() < 1  # degrees


def test_the_score_in_the_unseen_region_is_told() -> None:
    card = {"region_score": {"macro_f1": 0.614}, "training": {"unseen_region": "the <east>"}}
    result = {"card": card, "score": {"macro_f1": 0.8, "per_class": []}}
    assert "Macro-F1 0.61 in the unseen region (the &lt;east&gt;)" in wording.trained(result)
    assert wording.region_line({"region_score": None, "training": {}}) == ""


@pytest.mark.parametrize("name", ["grass <5 cm", "<img src='x.png'>", "a & <i>b"])
def test_names_in_a_result_are_text(name: str) -> None:
    rows = [{"name": name, "f1": 0.5, "support": 3}, {"name": "x", "f1": 0.9, "support": 3}]
    score = {"macro_f1": 0.7, "per_class": rows}
    document = QTextDocument()
    document.setHtml(wording.trained({"score": score}))
    lines = document.toPlainText().splitlines()
    assert lines[1:] == [f"Weakest class: {name} (0.50)."]


def test_a_map_that_follows_forests_is_told() -> None:
    result = {"score": {"macro_f1": 0.8, "per_class": []}, "card": {"training": {}}}
    for share, told in ((0, True), (0.25, False)):
        result["card"]["training"]["network_share"] = share  # type: ignore[index]
        assert ("random forests" in wording.trained(result)) == told
    assert "random forests" not in wording.trained({**result, "score": None})


def test_other_images_have_other_dates(dock: Any, project: QgsProject) -> None:
    dock.train.datesEdit.setText("2024-06-15")
    dock.labels.changed.emit()
    assert dock.train.datesEdit.text() == "2024-06-15"
    layer = QgsRasterLayer(str(SAMPLE), "image", "gdal")
    project.addMapLayer(layer)
    dock.labels.images.set_layers([layer])
    assert dock.train.datesEdit.text() == ""


def test_adapters_never_write_over_each_other(tmp_path: Any) -> None:
    first = train_options.free_file(tmp_path, "Fields: 2024/25")
    first.touch()
    second = train_options.free_file(tmp_path, "Fields: 2024/25")
    assert first.parent == second.parent == tmp_path
    assert first != second
    assert not second.exists()


def test_numbers_are_sorted_as_numbers() -> None:
    rows = label_checks.rows(ClassCount({10: 1, 9: 2, 1: 3}), {"9": "#ff0000"})
    assert [row.name for row in rows] == ["1", "9", "10"]
    assert rows[1] == class_table.ClassRow("9", "#ff0000", "2")
