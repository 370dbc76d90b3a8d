"""The main job, done in QGIS through Tilth's dock: imported inside QGIS by scripts/demo.py.

Presses the dock's own buttons: trains on the labels, maps the image, leaves adapter, report, map,
a picture of the window, and summary.json; then ends QGIS.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any, Dict, Iterator

import in_qgis
from qgis.core import QgsProject, QgsRasterLayer, QgsVectorLayer
from qgis.utils import iface

MINUTES = 1.5
SECONDS = 840.0
# What scripts/demo.py shows of this process's output, and how often at most.
MARK = "demo: "
EVERY_SECONDS = 2.0
# A longer silence than this would look like a program that hangs.
SILENT_SECONDS = 10.0


class DemoError(Exception):
    """The job did not succeed; the message is what the dock said."""


class Demo:
    """One run."""

    def __init__(self, environ: Any) -> None:
        self.image = environ["TILTH_DEMO_IMAGE"]
        self.labels = environ["TILTH_DEMO_LABELS"]
        self.field = environ["TILTH_DEMO_FIELD"]
        self.folder = Path(environ["TILTH_DEMO_OUT"])
        self.minutes = float(environ.get("TILTH_DEMO_MINUTES") or MINUTES)
        self.started = time.monotonic()
        self.told = 0.0
        self.summary: Dict[str, Any] = {"error": ""}

    def steps(self) -> Iterator[in_qgis.Wait]:
        """From an empty project to a styled map."""
        plugin = in_qgis.start_plugin()
        dock = in_qgis.show_dock(plugin)
        yield 200
        image, labels = self._load()
        yield 500
        self._choose(dock, image, labels)
        yield lambda: dock.session.description or dock.session.engine.state != "ready"
        yield from self._train(dock)
        yield from self._map(dock)
        yield from self._picture(dock)
        self.summary["seconds"] = round(time.monotonic() - self.started, 1)

    def done(self, error: Any) -> None:
        """Write the summary and go."""
        if error is not None:
            self.summary["error"] = f"{error}" if str(error) else type(error).__name__
        self.folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(self.summary, indent=2)
        (self.folder / "summary.json").write_text(text + "\n", encoding="utf-8")
        in_qgis.leave(0 if error is None else 1)

    def _load(self) -> Any:
        project = QgsProject.instance()
        image = QgsRasterLayer(self.image, Path(self.image).stem)
        labels = QgsVectorLayer(self.labels, Path(self.labels.split("|")[0]).stem, "ogr")
        for layer, path in ((image, self.image), (labels, self.labels)):
            if not layer.isValid():
                raise DemoError(f"QGIS can't read {path}")
        project.setCrs(image.crs())
        project.addMapLayers([image, labels])
        iface.mapCanvas().setExtent(image.extent())
        iface.mapCanvas().refresh()
        return image, labels

    def _choose(self, dock: Any, image: Any, labels: Any) -> None:
        page = dock.labels
        page.images.set_layers([image])
        page.layerCombo.setLayer(labels)
        if labels.fields().lookupField(self.field) < 0:
            names = ", ".join(field.name() for field in labels.fields())
            raise DemoError(f"{self.labels} has no field {self.field}; it has {names}")
        page.fieldCombo.setField(self.field)

    def _train(self, dock: Any) -> Iterator[in_qgis.Wait]:
        page = dock.train
        dock.show_page(1)
        page.minutesRadio.setChecked(True)
        page.minutesSpin.setValue(self.minutes)
        page.fileWidget.setFilePath(str(self.folder / "adapter.tilth"))
        page.nameEdit.setText(f"{Path(self.image).stem} – {Path(self.labels.split('|')[0]).stem}")
        self._say(f"training for {self.minutes:g} min at most")
        page.runButton.click()
        self._follow(page.task)
        yield lambda: not page.bar.busy
        if not page.result:
            raise DemoError(page.notice.text() or "the training gave no result")
        self.summary.update(
            adapter=page.result["adapter"],
            report=page.result["report"],
            score=page.result["score"],
            epochs=page.result["epochs"],
        )

    def _follow(self, task: Any) -> None:
        """Tell how far a task is: after each epoch, and where nothing else is to be told."""
        if task is None:  # refused at once; the dock says why
            return
        share = [0.0]

        def go_on(fraction: float, message: str, left: object) -> None:
            share[0] = fraction
            if fraction < 1 and time.monotonic() - self.told > SILENT_SECONDS:
                self._say(f"{fraction:4.0%}  {message}")

        def epoch_done(number: int, epochs: int, values: Dict[str, Any]) -> None:
            score = values.get("validation_score")
            came = "" if score is None else f", macro-F1 {score:.3f} on held-out chips"
            if time.monotonic() - self.told > EVERY_SECONDS:
                self._say(f"{share[0]:4.0%}  epoch {number} done{came}")

        task.progressed.connect(go_on)
        task.measured.connect(epoch_done)

    def _say(self, text: str) -> None:
        self.told = time.monotonic()
        print(f"{MARK}{text}", flush=True)

    def _map(self, dock: Any) -> Iterator[in_qgis.Wait]:
        page = dock.map
        dock.train.mapNowButton.click()
        page.fileWidget.setFilePath(str(self.folder / "map.tif"))
        self._say("mapping")
        page.runButton.click()
        yield lambda: not page.bar.busy
        layer = QgsProject.instance().mapLayer(page.layer_id)
        if layer is None:
            raise DemoError(page.notice.text() or "the mapping gave no layer")
        classes = layer.renderer().classes()
        self.summary.update(
            map=layer.source(),
            classes=[
                {"code": int(entry.value), "name": entry.label, "colour": entry.color.name()}
                for entry in classes
            ],
        )

    def _picture(self, dock: Any) -> Iterator[in_qgis.Wait]:
        yield 300
        iface.messageBar().clearWidgets()
        iface.mapCanvas().refresh()
        yield 1000
        yield in_qgis.rendered
        yield 500
        picture = self.folder / "picture.png"
        in_qgis.save_picture(iface.mainWindow(), picture)
        self.summary["picture"] = str(picture)


demo = Demo(os.environ)
driver = in_qgis.Driver(demo.steps(), demo.done, SECONDS)
