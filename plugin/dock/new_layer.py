"""A new label layer: asks for classes and a file, and leaves the user ready to draw."""

from __future__ import annotations

from pathlib import Path
from typing import Any, List, Optional, Tuple

from qgis.core import QgsProject, QgsRasterLayer, QgsVectorLayer
from qgis.gui import QgsFileWidget
from qgis.PyQt.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QFormLayout,
    QLabel,
    QPlainTextEdit,
    QVBoxLayout,
    QWidget,
)

from ..layers import labels
from . import out_files, settings

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
SUFFIX = ".gpkg"


class NewLayerDialog(QDialog):
    """Asks for the classes to draw, and for the file that the polygons go to."""

    def __init__(self, parent: QWidget, path: Path) -> None:
        super().__init__(parent)
        self.setWindowTitle(self.tr("New label layer"))
        hint = QLabel(self.tr("The classes to draw, one on each line:"))
        self.classesEdit = QPlainTextEdit(
            settings.text(LAST, self.tr("Forest\nGrass\nWater\nBuilt-up"))
        )
        hint.setBuddy(self.classesEdit)
        self.fileWidget = QgsFileWidget()
        self.fileWidget.setStorageMode(QgsFileWidget.StorageMode.SaveFile)
        self.fileWidget.setFilter("GeoPackage (*.gpkg)")
        self.fileWidget.setDialogTitle(self.tr("Save the labels"))
        self.fileWidget.setConfirmOverwrite(False)  # nothing is overwritten
        self.fileWidget.lineEdit().setPlaceholderText(self.tr("[lost when QGIS closes]"))
        self.fileWidget.setFilePath(str(path))
        form = QFormLayout()
        form.addRow(self.tr("Save to"), self.fileWidget)
        kinds = QDialogButtonBox.StandardButton
        buttons = QDialogButtonBox(kinds.Ok | kinds.Cancel)
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.addWidget(hint)
        layout.addWidget(self.classesEdit)
        layout.addLayout(form)
        layout.addWidget(buttons)
        self.resize(420, 320)

    def classes(self) -> List[str]:
        """Their names, each once."""
        text = self.classesEdit.toPlainText()
        settings.keep(LAST, text)
        return list(dict.fromkeys(line.strip() for line in text.splitlines() if line.strip()))

    def path(self) -> str:
        """Where the polygons go, numbered where something is there; empty: to memory alone."""
        text = self.fileWidget.filePath().strip()
        if not text:
            return ""
        return str(out_files.free_file(out_files.named(text, out_files.usual_folder(), SUFFIX)))


def ask(parent: QWidget) -> Optional[Tuple[List[str], str]]:
    """The classes to draw and the file for them; None where the user changed their mind."""
    usual = out_files.free_file(out_files.usual_folder() / f"labels{SUFFIX}")
    dialog = NewLayerDialog(parent, usual)
    wanted = dialog.exec() == QDialog.DialogCode.Accepted
    return (dialog.classes(), dialog.path()) if wanted else None


def make(
    iface: Any, names: List[str], images: List[QgsRasterLayer], path: str = ""
) -> QgsVectorLayer:
    """An empty label layer in the image's CRS, in the project, in edit mode, ready to draw.

    It is in the file, or without one in memory. Raises TilthError.
    """
    project = QgsProject.instance()
    crs = images[0].crs() if images and images[0].crs().isValid() else project.crs()
    layer = labels.new_label_layer(path, crs, coloured(names))
    project.addMapLayer(layer)
    iface.setActiveLayer(layer)
    layer.startEditing()
    iface.actionAddFeature().trigger()
    return layer


def coloured(names: List[str]) -> List[Tuple[str, str]]:
    """Each class with a colour of its own, as long as there are enough."""
    return [(name, COLOURS[number % len(COLOURS)]) for number, name in enumerate(names)]
