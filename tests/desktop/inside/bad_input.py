"""Give the dock bad input of every kind, and write down what its page and the message bar say."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any, Iterator

sys.path.insert(0, os.environ["TILTH_TEST_INSIDE"])

import bad_layers as make
from common import bar_text, choose, load_sample, picture, report, run, train_epochs
from in_qgis import Wait, show_dock, start_plugin
from qgis.core import QgsProject, QgsRectangle
from qgis.utils import iface

FOLDER = Path(os.environ["TILTH_TEST_REPORT"]).parent / "inputs"
said = report["said"] = {}
looked = report["looked"] = {}


def steps() -> Iterator[Wait]:
    FOLDER.mkdir()
    dock = show_dock(start_plugin())
    yield lambda: dock.session.description
    yield from _nothing(dock)
    image, labels = load_sample()
    choose(dock, image, labels)
    yield from _labels(dock, image)
    yield from _warnings(dock, image)
    yield from _images(dock, labels)
    choose(dock, image, labels)
    yield from _outputs(dock)
    yield from _mapping(dock, image, labels)


def _press(page: Any, name: str) -> Iterator[Wait]:
    """Press the page's button; what is said then."""
    iface.messageBar().clearWidgets()
    page.notice.clear()
    page.runButton.click()
    yield lambda: not page.bar.busy
    yield 100
    said[name] = {"page": page.notice.text(), "bar": bar_text()}


def _nothing(dock: Any) -> Iterator[Wait]:
    dock.show_page(2)
    yield from _press(dock.map, "no adapter")
    dock.show_page(1)
    yield from _press(dock.train, "no image")
    image, labels = load_sample()
    yield 300
    QgsProject.instance().removeMapLayer(labels.id())
    choose(dock, image, None)
    yield from _press(dock.train, "no label layer")
    picture(dock, "no-label-layer")
    # The project is closed while its layers are chosen.
    QgsProject.instance().clear()
    yield 500
    yield from _press(dock.train, "project closed")


def _labels(dock: Any, image: Any) -> Iterator[Wait]:
    for name, layer in (
        ("no class field", make.polygons(image, [], field="")),
        ("labels outside", make.polygons(image, ["a", "b", "a", "b"], shift=1e6)),
        ("one class", make.polygons(image, ["a", "a", "a"])),
        ("only NULL classes", make.polygons(image, [None, None, None])),
        ("no polygons", make.polygons(image, [])),
    ):
        choose(dock, image, layer)
        yield from _press(dock.train, name)
        QgsProject.instance().removeMapLayer(layer.id())


def _warnings(dock: Any, image: Any) -> Iterator[Wait]:
    """Input that is odd but usable: what the plan and the Labels page say."""
    dock.show_page(0)
    for name, layer in (
        ("one polygon", make.polygons(image, ["a", "a", "a", "b", "b", "b", "c"])),
        ("some NULL classes", make.polygons(image, ["a", "a", "b", "b", None, None])),
        ("smaller than a pixel", make.polygons(image, ["a", "a", "b", "b"], size=2.0)),
        ("odd geometries", make.odd_polygons(image)),
    ):
        choose(dock, image, layer)
        yield 500
        yield lambda: not dock.train.planner.busy
        looked[name] = {"plan": dock.train.planLabel.text(), "page": dock.labels.notice.text()}
        picture(dock, "labels-" + name.replace(" ", "-"))
        QgsProject.instance().removeMapLayer(layer.id())
    dock.show_page(1)


def _images(dock: Any, labels: Any) -> Iterator[Wait]:
    gone = make.raster(FOLDER, "gone")
    for name, layer in (
        ("image without CRS", make.raster(FOLDER, "no_crs", crs=False)),
        ("complex image", make.raster(FOLDER, "complex", kind="complex")),
        ("image file gone", gone),
    ):
        choose(dock, layer, labels)
        yield 200
        if layer is gone:
            Path(layer.source()).unlink()
        yield from _press(dock.train, name)


def _outputs(dock: Any) -> Iterator[Wait]:
    blocked = FOLDER / "a_file"
    blocked.write_text("", encoding="utf-8")
    dock.train.fileWidget.setFilePath(str(blocked / "adapter.tilth"))
    yield from _press(dock.train, "adapter not writable")
    dock.train.fileWidget.setFilePath("")


def _mapping(dock: Any, image: Any, labels: Any) -> Iterator[Wait]:
    choose(dock, image, labels)
    train_epochs(dock, 1)
    yield lambda: not dock.train.bar.busy
    if not dock.train.result:
        raise RuntimeError(f"the training failed: {dock.train.notice.text()}")
    good = dock.train.result["adapter"]
    page = dock.map
    dock.train.mapNowButton.click()
    page.choose_image(make.raster(FOLDER, "three_bands", bands=3))
    yield from _press(page, "other bands")
    picture(dock, "other-bands")
    page.choose_image(image)
    page.rectangle._take(QgsRectangle(0, 0, 10, 10))
    yield from _press(page, "rectangle outside")
    page.wholeRadio.setChecked(True)
    page.fileWidget.setFilePath(str(FOLDER / "no_such_folder" / "map.tif"))
    yield from _press(page, "map not writable")
    page.fileWidget.setFilePath("")
    yield from _damaged(dock, good)


def _damaged(dock: Any, good: str) -> Iterator[Wait]:
    damaged = FOLDER / "damaged.tilth"
    shutil.copy(good, damaged)
    content = bytearray(damaged.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 64] = bytes(64)
    damaged.write_bytes(bytes(content))
    dock.show_page(3)
    dock.adapters.load_file(str(damaged))
    yield lambda: dock.library.find(str(damaged)).fault or dock.library.find(str(damaged)).card
    yield 100
    report["damaged_card"] = dock.adapters.card.toPlainText()
    picture(dock, "damaged-adapter")
    dock.map.choose_adapter(str(damaged))
    dock.show_page(2)
    yield from _press(dock.map, "damaged adapter")
    damaged.unlink()
    yield from _press(dock.map, "adapter gone")


run(steps, 300)
