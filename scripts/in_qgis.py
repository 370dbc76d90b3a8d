"""Steps inside a QGIS that is being driven: for the demo and for the tests of the real window.

A script's steps are a generator. It yields what to wait for: milliseconds, or a function that says
whether to go on. Nothing here blocks the event loop.
"""

from __future__ import annotations

import os
import sys
import time
import traceback
from pathlib import Path
from typing import Any, Callable, Iterator, Union

import qgis.utils
from qgis.core import QgsApplication, QgsProject
from qgis.PyQt.QtCore import Qt, QTimer
from qgis.utils import iface

Wait = Union[int, Callable[[], Any]]
POLL_MS = 50


class TooLongError(Exception):
    """Something that was waited for did not come."""


class Driver:
    """Runs the steps; ``done`` gets the error, or None."""

    def __init__(self, steps: Iterator[Wait], done: Callable[[Any], None], seconds: float) -> None:
        self._steps = steps
        self._done = done
        self._wait: Any = None
        self._deadline = time.monotonic() + seconds
        QTimer.singleShot(0, self._next)

    def _next(self) -> None:
        try:
            if time.monotonic() > self._deadline:
                raise TooLongError("the time that was given is over")
            if self._wait is not None and not self._wait():
                QTimer.singleShot(POLL_MS, self._next)
                return
            wait = next(self._steps)
        except StopIteration:
            self._done(None)
            return
        except Exception as error:  # whatever it is ends the run, and is told
            traceback.print_exc()
            self._done(error)
            return
        self._wait = None if isinstance(wait, int) else wait
        QTimer.singleShot(wait if isinstance(wait, int) else 0, self._next)


def start_plugin(name: str = "tilth") -> Any:
    """The plugin, loaded by QGIS's own machinery if it is not yet."""
    if name not in qgis.utils.plugins:
        qgis.utils.updateAvailablePlugins()
        if not qgis.utils.loadPlugin(name) or not qgis.utils.startPlugin(name):
            raise RuntimeError(f"QGIS could not load the plugin {name}")
    return qgis.utils.plugins[name]


def show_dock(plugin: Any, width: int = 400) -> Any:
    """The dock, open, at this width."""
    iface.mainWindow().resize(1500, 940)
    plugin.action.setChecked(True)
    plugin.dock.show()
    plugin.dock.raise_()
    iface.mainWindow().resizeDocks([plugin.dock], [width], Qt.Orientation.Horizontal)
    return plugin.dock


def rendered() -> bool:
    """Whether the map canvas has finished drawing."""
    return not iface.mapCanvas().isDrawing()


def save_picture(widget: Any, path: Path) -> None:
    """What a widget looks like now."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not widget.grab().save(str(path)):
        raise OSError(f"the picture {path} could not be written")


def leave(code: int) -> None:
    """End QGIS without a question about the project."""
    qgis.utils.unloadPlugin("tilth")
    # QGIS 3.22 crashes while it tears down a window that still has layers.
    QgsProject.instance().clear()
    sys.stdout.flush()
    sys.stderr.flush()
    QgsApplication.exit(code)
    # A teardown of QGIS that hangs or crashes must not hide what came of the steps.
    QTimer.singleShot(5000, lambda: os._exit(code))
