"""Install the engine by the dock's button, train, map; how late the event loop came meanwhile."""

from __future__ import annotations

import os
import shutil
import sys
import time
from typing import Any, Iterator, List

sys.path.insert(0, os.environ["TILTH_TEST_INSIDE"])

from common import (
    Lateness,
    bar_text,
    choose,
    colour_classes,
    load_sample,
    picture,
    report,
    run,
    train_epochs,
)
from in_qgis import Wait, rendered, show_dock, start_plugin
from osgeo import gdal
from qgis.core import QgsProject
from qgis.utils import iface

PAGES = ("labels", "train", "map", "adapters")


def steps() -> Iterator[Wait]:
    dock = show_dock(start_plugin())
    image, labels = load_sample()
    yield 500
    report["colours"] = colour_classes(labels)
    choose(dock, image, labels)
    yield 800
    report["uv"] = shutil.which("uv") or ""
    report["state_before"] = dock.session.engine.state
    yield from _install(dock)
    lateness = Lateness()
    lateness.start()
    yield 2000
    report["lateness_idle"] = lateness.stop()
    lateness.start()
    yield from _train(dock, lateness)
    report["lateness_training"] = lateness.stop()
    lateness.start()
    yield from _map(dock, image)
    report["lateness_mapping"] = lateness.stop()
    yield from _pictures(dock)
    report["modules"] = [m for m in ("torch", "rasterio", "peft", "timm") if m in sys.modules]


def _install(dock: Any) -> Iterator[Wait]:
    picture(dock, "engine-missing")
    report["size_said"] = dock.panel.text.text()
    report["panel_shown"] = dock.panel.isVisible()
    for page in (dock.train, dock.map):
        page.runButton.click()
        yield 200
        report.setdefault("refused", []).append([page.notice.text(), bar_text()])
    if os.environ.get("TILTH_PYTHON"):
        yield lambda: dock.session.description
        return
    started = time.monotonic()
    dock.panel.installButton.click()
    yield 4000
    picture(dock, "engine-installing")
    report["progress_said"] = dock.panel.progressLabel.text()
    yield lambda: not dock.session.engine.busy
    report["installed_in"] = round(time.monotonic() - started, 1)
    report["state_after"] = dock.session.engine.state
    report["said"] = bar_text()
    if dock.session.engine.state != "ready":
        raise RuntimeError(f"the engine was not installed: {bar_text()}")
    yield lambda: dock.session.description


def _train(dock: Any, lateness: Lateness) -> Iterator[Wait]:
    dock.show_page(1)
    yield lambda: dock.train.planLabel.text().strip(" .…") and not dock.train.planner.busy
    report["plan"] = dock.train.planLabel.text()
    with lateness.paused():
        picture(dock, "train-planned")
    train_epochs(dock, 4)
    yield lambda: len(dock.train.chart.points()[0]) >= 2 or not dock.train.bar.busy
    with lateness.paused():
        picture(dock, "training")
    yield lambda: not dock.train.bar.busy
    page = dock.train
    if not page.result:
        raise RuntimeError(f"the training failed: {page.notice.text()}")
    report["epochs_drawn"] = len(page.chart.points()[0])
    report["score"] = page.result["score"]
    report["result_said"] = page.resultLabel.text()
    report["adapter"] = page.result["adapter"]
    report["report"] = page.result["report"]


def _map(dock: Any, image: Any) -> Iterator[Wait]:
    dock.train.mapNowButton.click()
    page = dock.map
    report["image_chosen"] = page.imageCombo.currentLayer() == image
    ids = []
    for _ in range(2):
        page.runButton.click()
        yield lambda: not page.bar.busy
        ids.append(page.layer_id)
    layers = [QgsProject.instance().mapLayer(layer_id) for layer_id in ids]
    if None in layers:
        raise RuntimeError(f"the mapping failed: {page.notice.text()}")
    layer = layers[-1]
    report["maps"] = [layer.source() for layer in layers]
    report["codes_found"] = [_codes(layer.source()) for layer in layers]
    report["renderer"] = layer.renderer().type()
    report["classes"] = [
        {"code": int(entry.value), "name": entry.label, "colour": entry.color.name()}
        for entry in layer.renderer().classes()
    ]
    parent = QgsProject.instance().layerTreeRoot().findLayer(layer.id()).parent()
    report["group"] = parent.name()
    report["versions"] = [child.name() for child in parent.children()]
    report["adapter_name"] = dock.map.adapters.current().name


def _codes(path: str) -> List[int]:
    """The codes in a map; it goes with QGIS where it is a temporary file."""
    data = gdal.Open(path)
    return sorted(set(data.ReadAsArray().ravel().tolist()))


def _pictures(dock: Any) -> Iterator[Wait]:
    iface.mapCanvas().refresh()
    yield 500
    yield rendered
    for number, name in enumerate(PAGES):
        dock.show_page(number)
        yield 700
        picture(dock, name)
    dock.show_page(2)
    yield 200
    picture(iface.mainWindow(), "window")


run(steps, 420)
