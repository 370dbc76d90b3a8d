"""The client with the real engine, where there is one."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from osgeo import gdal, osr
from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsFeature,
    QgsGeometry,
    QgsProject,
    QgsRasterLayer,
    QgsVectorLayer,
)
from tilth.plugin.engine.jobs import DescribeJob, InspectJob, PredictJob, TrainJob
from tilth.plugin.layers import imagery, labels, result
from tilth.plugin.worker.client import WorkerClient, WorkerError

ROOT = Path(__file__).resolve().parents[2]
PYTHON = os.environ.get("TILTH_PYTHON", "")
SIZE = 64

pytestmark = pytest.mark.skipif(not PYTHON, reason="there is no engine: TILTH_PYTHON is not set")


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    made = WorkerClient(PYTHON, tmp_path_factory.mktemp("für logs"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """Two halves that a child can tell apart, with four bands."""
    path = tmp_path_factory.mktemp("mein Bild") / "scene.tif"
    data = gdal.GetDriverByName("GTiff").Create(str(path), SIZE, SIZE, 4, gdal.GDT_UInt16)
    data.SetGeoTransform((500000, 10, 0, 6000000, 0, -10))
    system = osr.SpatialReference()
    system.ImportFromEPSG(32630)
    data.SetProjection(system.ExportToWkt())
    for band in range(4):
        cells = [
            (600 if column < SIZE // 2 else 2400) + 100 * band + (7 * row + 13 * column) % 50
            for row in range(SIZE)
            for column in range(SIZE)
        ]
        data.GetRasterBand(band + 1).SetDescription(("B2", "B3", "B4", "B8")[band])
        data.GetRasterBand(band + 1).WriteRaster(
            0, 0, SIZE, SIZE, struct.pack(f"{SIZE * SIZE}H", *cells), buf_type=gdal.GDT_UInt16
        )
    del data
    layer = QgsRasterLayer(str(path), "scene", "gdal")
    assert layer.isValid()
    return layer


@pytest.fixture(scope="module")
def drawn():
    """Unsaved polygons in a memory layer, in another CRS than the image's."""
    layer = QgsVectorLayer("Polygon?crs=EPSG:32631&field=class:string(20)", "drawn", "memory")
    layer.setCrs(QgsCoordinateReferenceSystem("EPSG:32630"))
    layer.startEditing()
    for number in range(6):
        name, left = ("water", 40) if number % 2 else ("wood", 370)
        top = 5999980 - 100 * number
        box = [(left, top), (left + 200, top), (left + 200, top - 70), (left, top - 70)]
        ring = ", ".join(f"{500000 + x} {y}" for x, y in [*box, box[0]])
        feature = QgsFeature(layer.fields())
        feature.setGeometry(QgsGeometry.fromWkt(f"Polygon(({ring}))"))
        feature["class"] = name
        assert layer.addFeature(feature)
    return layer


def training(image, drawn, folder, **options):
    folder.mkdir(exist_ok=True)
    file = labels.snapshot(drawn, "class").write(folder)
    return TrainJob(
        images=imagery.snapshot([image]).files(folder),
        out=str(folder / "a.tilth"),
        labels=file.path,
        class_field=file.class_field,
        styles=labels.styles(drawn, "class"),
        work_folder=str(folder / "work"),
        method="frozen",
        decoder="linear",
        device="cpu",
        threads=1,
        **options,
    )


def test_the_engine_tells_what_it_has(client):
    first = client.run(DescribeJob())
    assert "embedded" in [card["id"] for card in first["backbones"]]
    assert first["default_device"] in [device["id"] for device in first["devices"]]
    pid, start = client.pid, time.monotonic()
    client.run(DescribeJob())
    assert client.pid == pid and time.monotonic() - start < 20


def test_bad_input_is_one_line(client, tmp_path):
    with pytest.raises(WorkerError) as caught:
        client.run(InspectJob(str(tmp_path / "none.tilth")))
    assert caught.value.kind == "input" and "none.tilth" in caught.value.message
    assert "\n" not in caught.value.message


def test_drawn_polygons_in_classified_layer_out(client, image, drawn, tmp_path, project):
    events = []
    trained = client.run(training(image, drawn, tmp_path, epochs=2), events.append)
    assert Path(trained["adapter"]).is_file()
    assert [e for e in events if e["event"] == "metrics"]
    assert {entry["name"] for entry in trained["card"]["classes"]} == {"wood", "water"}
    job = PredictJob(
        adapter=trained["adapter"],
        images=imagery.snapshot([image]).files(tmp_path),
        out=str(tmp_path / "map für uns.tif"),
        confidence=str(tmp_path / "sure.tif"),
        device="cpu",
        threads=1,
    )
    layer = result.add_map(client.run(job), QgsProject.instance())
    assert {entry.label for entry in layer.renderer().classes()} == {"wood", "water"}
    assert (layer.width(), layer.height()) == (SIZE, SIZE)
    assert result.free_path(job.out, QgsProject.instance()).name == "map für uns_2.tif"
    assert drawn.isEditable() and drawn.isModified()


def test_cancel_stops_a_training_within_two_seconds(client, image, drawn, tmp_path):
    events, asked = [], []

    def is_cancelled():
        if not asked and any("epoch" in str(event.get("message")) for event in events):
            asked.append(time.monotonic())
        return bool(asked)

    with pytest.raises(WorkerError) as caught:
        client.run(training(image, drawn, tmp_path, epochs=5000), events.append, is_cancelled)
    assert caught.value.kind == "cancelled"
    assert time.monotonic() - asked[0] < 3
    assert not (tmp_path / "a.tilth").exists()


def test_a_killed_training_is_explained_and_can_go_on(client, image, drawn, tmp_path):
    def kill(event):
        if "epoch 2" in str(event.get("message")):
            os.kill(client.pid, signal.SIGKILL)

    with pytest.raises(WorkerError) as caught:
        client.run(training(image, drawn, tmp_path, epochs=2), kill)
    assert caught.value.kind == "died" and "exit code -9" in caught.value.message
    events = []
    again = training(image, drawn, tmp_path, epochs=2, resume=True)
    assert Path(client.run(again, events.append)["adapter"]).is_file()
    notices = [event["message"] for event in events if event["event"] == "notice"]
    assert any("Going on after epoch 1" in notice for notice in notices)


PARENT = """
import importlib.util, sys, threading
from pathlib import Path
root, python, logs = sys.argv[1:]
spec = importlib.util.spec_from_file_location(
    "tilth_root", root + "/plugin/__init__.py", submodule_search_locations=[root + "/plugin"]
)
sys.modules["tilth_root"] = module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
from tilth_root.engine.jobs import DescribeJob
from tilth_root.worker.client import WorkerClient
assert not any(name.startswith(("qgis", "PyQt")) for name in sys.modules)
client = WorkerClient(python, logs)
client.run(DescribeJob())
print(client.pid, flush=True)
threading.Event().wait()
"""


def test_the_worker_goes_when_its_parent_is_killed(tmp_path):
    parent = subprocess.Popen(
        [sys.executable, "-I", "-c", PARENT, str(ROOT), PYTHON, str(tmp_path)],
        stdout=subprocess.PIPE,
    )
    watchdog = threading.Timer(60, parent.kill)
    watchdog.start()
    with parent, parent.stdout as out:
        pid = int(out.readline())
        assert Path(f"/proc/{pid}").exists()
        parent.kill()
        start = time.monotonic()
        while Path(f"/proc/{pid}").exists() and time.monotonic() - start < 20:
            time.sleep(0.05)
        assert time.monotonic() - start < 20
    watchdog.cancel()
