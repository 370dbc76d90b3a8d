"""Open files and folders with the programs that the user has for them."""

from __future__ import annotations

from pathlib import Path
from typing import Union

from qgis.PyQt.QtCore import QUrl
from qgis.PyQt.QtGui import QDesktopServices


def open_file(path: Union[str, Path]) -> bool:
    """Open a file or a folder; whether something took it."""
    return QDesktopServices.openUrl(QUrl.fromLocalFile(str(path)))
