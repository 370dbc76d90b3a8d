"""What the scripts inside QGIS share."""

from __future__ import annotations

import json
import os
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "scripts"))

import in_qgis  # noqa: E402
from qgis.core import (  # noqa: E402
    QgsCategorizedSymbolRenderer,
    QgsFillSymbol,
    QgsProject,
    QgsRasterLayer,
    QgsRendererCategory,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import Qt, QTimer  # noqa: E402
from qgis.PyQt.QtGui import QColor  # noqa: E402
from qgis.utils import iface  # noqa: E402

SCENE = Path(os.environ["TILTH_TEST_SCENE"])
FIELD = "class"
report: Dict[str, Any] = {"error": ""}
_kept: List[Any] = []


def run(steps: Callable[[], Iterator[in_qgis.Wait]], seconds: float) -> None:
    """Run the script's steps, write its report, end QGIS."""

    def done(error: Any) -> None:
        report["error"] = "" if error is None else f"{type(error).__name__}: {error}"
        write_report()
        in_qgis.leave(0 if error is None else 1)

    _kept.append(in_qgis.Driver(steps(), done, seconds))


def write_report() -> None:
    """Whole or not at all: the test may be reading."""
    path = Path(os.environ["TILTH_TEST_REPORT"])
    new = path.with_suffix(".new")
    new.write_text(json.dumps(report, indent=1), encoding="utf-8")
    new.replace(path)


def picture(widget: Any, name: str) -> None:
    """Keep what a widget looks like."""
    in_qgis.save_picture(widget, Path(os.environ["TILTH_TEST_PICTURES"]) / f"{name}.png")


def load_sample() -> Any:
    """The sample scene's image and polygons, in the project."""
    image = QgsRasterLayer(str(SCENE / "image.tif"), "image")
    labels = QgsVectorLayer(str(SCENE / "polygons.gpkg"), "labels", "ogr")
    if not image.isValid() or not labels.isValid():
        raise RuntimeError(f"the sample scene in {SCENE} can't be read")
    QgsProject.instance().setCrs(image.crs())
    QgsProject.instance().addMapLayers([image, labels])
    iface.mapCanvas().setExtent(image.extent())
    return image, labels


def choose(dock: Any, image: Any, labels: Any, field: str = FIELD) -> None:
    """What an analyst does on the Labels page."""
    dock.labels.images.set_layers([image] if image is not None else [])
    dock.labels.layerCombo.setLayer(labels)
    dock.labels.fieldCombo.setField(field)


def colour_classes(labels: Any, field: str = FIELD) -> Dict[str, str]:
    """Style the label layer by its classes, as analysts do; which colours."""
    values = sorted(labels.uniqueValues(labels.fields().lookupField(field)))
    colours = {value: QColor.fromHsv(40 * i, 150, 200).name() for i, value in enumerate(values)}
    categories = [
        QgsRendererCategory(value, QgsFillSymbol.createSimple({"color": colour}), value)
        for value, colour in colours.items()
    ]
    labels.setRenderer(QgsCategorizedSymbolRenderer(field, categories))
    return colours


def train_epochs(dock: Any, epochs: int) -> None:
    """Press Train for a number of epochs."""
    dock.show_page(1)
    dock.train.epochsRadio.setChecked(True)
    dock.train.epochsSpin.setValue(epochs)
    dock.train.runButton.click()


def bar_text() -> str:
    """What QGIS's message bar says now."""
    item = iface.messageBar().currentItem()
    return item.text() if item is not None else ""


class Lateness:
    """How late a precise 10 ms timer comes, in milliseconds."""

    STEP = 0.010

    def __init__(self) -> None:
        self._late: List[float] = []
        self._last = time.perf_counter()
        self._timer = QTimer()
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._tick)

    def start(self) -> None:
        """Begin to measure."""
        self._last = time.perf_counter()
        self._timer.start(int(1000 * self.STEP))

    @contextmanager
    def paused(self) -> Iterator[None]:
        """For what the test itself does: a picture takes 0.1 s and more."""
        self._timer.stop()
        yield
        self.start()

    def stop(self) -> Dict[str, float]:
        """Maximum and 99th percentile."""
        self._timer.stop()
        late = sorted(self._late) or [0.0]
        self._late = []
        return {
            "ticks": len(late),
            "median": round(late[len(late) // 2], 1),
            "p99": round(late[int(0.99 * (len(late) - 1))], 1),
            "maximum": round(late[-1], 1),
        }

    def _tick(self) -> None:
        now = time.perf_counter()
        self._late.append(max(0.0, 1000 * (now - self._last - self.STEP)))
        self._last = now
