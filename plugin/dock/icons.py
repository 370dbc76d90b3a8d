"""Icons: QGIS's own wherever one fits, so that they follow its theme; Tilth's for Tilth."""

from __future__ import annotations

from pathlib import Path

from qgis.core import QgsApplication
from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtGui import QColor, QIcon, QPainter, QPen, QPixmap

FOLDER = Path(__file__).resolve().parents[2] / "resources" / "icons"


def theme(name: str) -> QIcon:
    """One of QGIS's icons, such as ``mIconRaster.svg``."""
    return QgsApplication.getThemeIcon("/" + name)


def own(name: str) -> QIcon:
    """One of Tilth's icons."""
    return QIcon(str(FOLDER / f"{name}.svg"))


def swatch(colour: str, size: int = 14) -> QIcon:
    """A square of a class's colour; nothing, as large, where it is not known yet."""
    pixmap = QPixmap(size * 2, size * 2)
    pixmap.setDevicePixelRatio(2)
    pixmap.fill(Qt.GlobalColor.transparent)
    if not colour:
        return QIcon(pixmap)
    painter = QPainter(pixmap)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(QPen(QColor(128, 128, 128, 160), 1))
    painter.setBrush(QColor(colour))
    painter.drawRoundedRect(1, 1, size - 2, size - 2, 2, 2)
    painter.end()
    return QIcon(pixmap)
