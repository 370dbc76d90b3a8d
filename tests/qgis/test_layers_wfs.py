"""Labels from a web feature service."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from qgis.core import QgsVectorLayer
from qgis.PyQt.QtCore import QCoreApplication
from tilth.plugin.layers import labels


@pytest.fixture
def service():
    script = Path(__file__).with_name("wfs_double.py")
    process = subprocess.Popen([sys.executable, "-I", str(script)], stdout=subprocess.PIPE)
    with process:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/"
        process.kill()


def test_a_web_feature_service(service, tmp_path):
    uri = f"typename='t:drawn' srsname='EPSG:32630' version='1.1.0' url='{service}'"
    layer = QgsVectorLayer(uri, "served", "WFS")
    assert layer.isValid() and layer.crs().authid() == "EPSG:32630"
    snapshot, files = labels.snapshot(layer, "class"), []
    thread = threading.Thread(target=lambda: files.append(snapshot.write(tmp_path)))
    thread.start()
    end = time.monotonic() + 20
    while thread.is_alive() and time.monotonic() < end:
        QCoreApplication.processEvents()
        time.sleep(0.01)
    assert files and files[0].written == 3
    written = QgsVectorLayer(files[0].path, "written", "ogr")
    assert [feature["class"] for feature in written.getFeatures()] == ["wood", "meadow", "wood"]
    assert written.crs().authid() == "EPSG:32630"
    assert labels.class_values(layer, "class").counts == [("meadow", 1), ("wood", 2)]
