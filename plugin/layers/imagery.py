"""Raster layers as files that the engine can open."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import List, Optional, Sequence

from qgis.core import QgsFeedback, QgsRasterLayer

from ..engine.jobs import Extent


@dataclass
class ImageDescription:
    """A raster layer in words for the dock."""

    name: str
    bands: List[str]
    size: str
    """Such as "10980 x 10980 pixels"; empty for a layer without pixels of its own (XYZ)."""
    resolution: str
    """Such as "10 m"; empty where it is not known."""
    through_qgis: str
    """Why the layer is exported before the engine can read it; empty where it is read as it is."""
    text: str
    """All in one line."""


def describe(layer: QgsRasterLayer) -> ImageDescription:
    """What the dock says about a layer."""
    raise NotImplementedError


@dataclass
class ImageSnapshot:
    """Raster layers as they were when the user pressed the button."""

    warnings: List[str] = field(default_factory=list)

    def files(self, folder: Path, feedback: Optional[QgsFeedback] = None) -> List[str]:
        """In a task's thread: the paths for ``job.images``; exports into ``folder`` if need be."""
        raise NotImplementedError


def snapshot(
    layers: Sequence[QgsRasterLayer],
    extent: Optional[Extent] = None,
    resolution: Optional[float] = None,
) -> ImageSnapshot:
    """In the main thread: what is needed to read the layers later in a task's thread.

    ``extent`` and ``resolution`` (units of the layer's CRS a pixel) matter for layers only that
    have to be exported; an XYZ or WMS layer needs at least the extent. Raises TilthError.
    """
    raise NotImplementedError
