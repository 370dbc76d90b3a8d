"""Load a page's Designer file onto a widget."""

from __future__ import annotations

from pathlib import Path

from qgis.PyQt import uic
from qgis.PyQt.QtGui import QPalette
from qgis.PyQt.QtWidgets import QLabel, QWidget

FOLDER = Path(__file__).resolve().parents[2] / "ui"


def load(name: str, widget: QWidget) -> None:
    """Give ``widget`` the contents of ui/``name``.ui; its parts become attributes."""
    uic.loadUi(str(FOLDER / f"{name}.ui"), widget)


def make_quiet(*labels: QLabel) -> None:
    """Set explaining text a step back: a little smaller, and paler than what it explains."""
    for label in labels:
        font = label.font()
        if font.pointSizeF() > 0:
            font.setPointSizeF(font.pointSizeF() * 0.92)
        label.setFont(font)
        label.setForegroundRole(QPalette.ColorRole.PlaceholderText)
