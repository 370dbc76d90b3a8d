"""Load a page's Designer file onto a widget."""

from __future__ import annotations

from pathlib import Path

from qgis.PyQt import uic
from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtGui import QColor, QPalette
from qgis.PyQt.QtWidgets import QComboBox, QLabel, QWidget

from .elide import Elider

FOLDER = Path(__file__).resolve().parents[2] / "ui"


def load(name: str, widget: QWidget) -> None:
    """Give ``widget`` the contents of ui/``name``.ui; its parts become attributes."""
    uic.loadUi(str(FOLDER / f"{name}.ui"), widget)
    elider = Elider(widget)
    for combo in widget.findChildren(QComboBox):
        if not combo.isEditable():
            combo.installEventFilter(elider)


def make_plain(*labels: QLabel) -> None:
    """Show texts letter by letter: names and paths in them are anyone's."""
    for label in labels:
        label.setTextFormat(Qt.TextFormat.PlainText)


def make_quiet(*labels: QLabel) -> None:
    """Set explaining text a step back: a little smaller, and paler than what it explains."""
    for label in labels:
        font = label.font()
        if font.pointSizeF() > 0:
            font.setPointSizeF(font.pointSizeF() * 0.92)
        label.setFont(font)
        palette = label.palette()
        palette.setColor(QPalette.ColorRole.WindowText, _quiet_colour(palette))
        label.setPalette(palette)


def _quiet_colour(palette: QPalette) -> QColor:
    """Between the text's colour and its ground's: readable in light and dark themes."""
    text = palette.color(QPalette.ColorRole.WindowText)
    ground = palette.color(QPalette.ColorRole.Window)
    parts = zip(text.getRgb()[:3], ground.getRgb()[:3])
    return QColor(*(round(0.65 * ink + 0.35 * paper) for ink, paper in parts))
