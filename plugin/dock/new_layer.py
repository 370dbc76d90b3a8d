"""A new label layer: asks for the classes, and leaves the user ready to draw."""

from __future__ import annotations

from typing import Any, List, Optional, Tuple

from qgis.core import QgsProject, QgsRasterLayer, QgsVectorLayer
from qgis.PyQt.QtWidgets import QInputDialog, QWidget

from ..layers import labels
from . import settings

COLOURS = (
    "#3f8f4f",
    "#4c8fc4",
    "#e3bf56",
    "#c9534f",
    "#a9cf70",
    "#b1835c",
    "#8d6cab",
    "#5fb3b3",
    "#d98cb3",
    "#8a8a8a",
)
LAST = "labels/classes"


def ask_classes(parent: QWidget) -> Optional[List[str]]:
    """The names of the classes to draw; None where the user changed their mind."""
    text, wanted = QInputDialog.getMultiLineText(
        parent,
        parent.tr("New label layer"),
        parent.tr("The classes to draw, one on each line:"),
        settings.text(LAST, parent.tr("Forest\nGrass\nWater\nBuilt-up")),
    )
    if not wanted:
        return None
    settings.keep(LAST, text)
    names = [line.strip() for line in text.splitlines() if line.strip()]
    return list(dict.fromkeys(names))


def make(iface: Any, names: List[str], images: List[QgsRasterLayer]) -> QgsVectorLayer:
    """An empty label layer in the image's CRS, in the project, in edit mode, ready to draw.

    Raises TilthError.
    """
    project = QgsProject.instance()
    crs = images[0].crs() if images and images[0].crs().isValid() else project.crs()
    layer = labels.new_label_layer("", crs, coloured(names))
    project.addMapLayer(layer)
    iface.setActiveLayer(layer)
    layer.startEditing()
    iface.actionAddFeature().trigger()
    return layer


def coloured(names: List[str]) -> List[Tuple[str, str]]:
    """Each class with a colour of its own, as long as there are enough."""
    return [(name, COLOURS[number % len(COLOURS)]) for number, name in enumerate(names)]
