"""Reload and unload the plugin, idle and at work, and look for what it left behind."""

from __future__ import annotations

import gc
import os
import sys
import threading
from pathlib import Path
from typing import Any, Dict, Iterator, List

sys.path.insert(0, os.environ["TILTH_TEST_INSIDE"])

import qgis.utils
from common import choose, load_sample, report, run, train_epochs
from in_qgis import Wait, show_dock, start_plugin
from qgis.core import QgsApplication, QgsProject
from qgis.PyQt.QtWidgets import QAction, QDockWidget, QToolButton
from qgis.utils import iface


def steps() -> Iterator[Wait]:
    qgis.utils.unloadPlugin("tilth")
    image, labels = load_sample()
    yield 3000
    report["before"] = _state(image, labels)
    for _ in range(3):
        dock = show_dock(start_plugin())
        choose(dock, image, labels)
        yield 600
        dock.show_page(2)
        dock.map.rectangleRadio.click()
        yield 200
        qgis.utils.unloadPlugin("tilth")
        yield 200
    report["reloaded"] = _state(image, labels)
    dock = show_dock(start_plugin())
    choose(dock, image, labels)
    train_epochs(dock, 1000)
    yield lambda: "epoch" in dock.train.progressLabel.text() or not dock.train.bar.busy
    report["at_work"] = _state(image, labels)
    dock = None
    qgis.utils.unloadPlugin("tilth")
    yield 500
    report["unloaded"] = _state(image, labels)
    report["folders"] = [path.name for path in _runs().iterdir()] if _runs().is_dir() else []


def _runs() -> Path:
    return Path(os.environ["TILTH_HOME"]) / "runs"


def _state(image: Any, labels: Any) -> Dict[str, Any]:
    gc.collect()
    window = iface.mainWindow()
    project, canvas = QgsProject.instance(), iface.mapCanvas()
    named = [a.objectName() for a in window.findChildren(QAction) if "ilth" in _words(a)]
    return {
        "docks": len([d for d in window.findChildren(QDockWidget) if "ilth" in d.objectName()]),
        "actions": named,
        "buttons": len([b for b in window.findChildren(QToolButton) if b.text() == "Tilth"]),
        "modules": sorted(name for name in sys.modules if name.split(".")[0] == "tilth"),
        "threads": sorted(t.name for t in threading.enumerate() if t.name.startswith("tilth")),
        "children": _children(),
        "tasks": QgsApplication.taskManager().countActiveTasks(),
        "canvas_items": len(canvas.scene().items()),
        "map_tool": type(canvas.mapTool()).__name__,
        "receivers": {
            "layersRemoved": project.receivers(project.layersRemoved),
            "layersAdded": project.receivers(project.layersAdded),
            "cleared": project.receivers(project.cleared),
            "crsChanged": project.receivers(project.crsChanged),
            "mapToolSet": canvas.receivers(canvas.mapToolSet),
            "extentsChanged": canvas.receivers(canvas.extentsChanged),
            "destinationCrsChanged": canvas.receivers(canvas.destinationCrsChanged),
            "layerModified": labels.receivers(labels.layerModified),
            "selectionChanged": labels.receivers(labels.selectionChanged),
            "rendererChanged": labels.receivers(labels.rendererChanged),
            "willBeDeleted": image.receivers(image.willBeDeleted),
        },
    }


def _words(action: Any) -> str:
    return f"{action.objectName()} {action.text()}"


def _children() -> List[str]:
    """The commands of this process's children."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text(encoding="utf-8").rpartition(")")[2].split()
            if int(fields[1]) == os.getpid() and fields[0] != "Z":
                found.append((stat.parent / "cmdline").read_text(encoding="utf-8")[:200])
        except OSError:
            continue
    return found


run(steps, 120)
