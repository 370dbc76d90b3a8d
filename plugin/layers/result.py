"""A finished map as layers of the project."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, Union

from qgis.core import QgsProject, QgsRasterLayer


def add_map(
    result: Dict[str, Any], project: QgsProject, iface: Any = None, group_name: str = ""
) -> QgsRasterLayer:
    """Add the map of a predict result to the project, styled, and its confidence unchecked.

    They go into a group at the top named after the adapter; a further map is a new version beside
    the first. Raises TilthError where the file can't be read.
    """
    raise NotImplementedError


def free_path(path: Union[str, Path], project: QgsProject) -> Path:
    """The path, or one with a number where a layer of the project has that file open."""
    raise NotImplementedError
