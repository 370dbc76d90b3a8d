"""Polygon layers as label files, and the classes that they show."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import List, Optional, Sequence, Tuple

from qgis.core import QgsCoordinateReferenceSystem, QgsFeedback, QgsVectorLayer

from ..engine.jobs import ClassStyle, Extent


@dataclass
class ClassField:
    """A field that can hold classes; ``kind`` is "text", "integer" or "number"."""

    name: str
    label: str
    kind: str


@dataclass
class ClassValues:
    """The values of a class field with their numbers of polygons, and what was left out."""

    counts: List[Tuple[str, int]] = field(default_factory=list)
    without_class: int = 0
    complete: bool = True


@dataclass
class LabelFile:
    """A written label file: ``path`` is for ``job.labels``, ``class_field`` for that entry."""

    path: str
    class_field: str
    written: int
    skipped: int
    warnings: List[str] = field(default_factory=list)


class LabelSnapshot:
    """A polygon layer as it was when the user pressed the button, unsaved edits included."""

    extent: Optional[Extent]

    def write(self, folder: Path, feedback: Optional[QgsFeedback] = None) -> LabelFile:
        """In a task's thread: write the polygons to a GeoPackage in ``folder``."""
        raise NotImplementedError


def snapshot(
    layer: QgsVectorLayer, class_field: str = "", only_selected: bool = False, stem: str = "labels"
) -> LabelSnapshot:
    """In the main thread: what is needed to write the layer later in a task's thread.

    Without a class field it is a labelled area. ``stem`` names the file. Raises TilthError.
    """
    raise NotImplementedError


def class_fields(layer: QgsVectorLayer) -> List[ClassField]:
    """The fields that can hold classes, the likeliest one first."""
    raise NotImplementedError


def class_values(layer: QgsVectorLayer, name: str, only_selected: bool = False) -> ClassValues:
    """The classes with their numbers of polygons, as many as can be counted in a quarter second."""
    raise NotImplementedError


def styles(layer: QgsVectorLayer, name: str) -> List[ClassStyle]:
    """Names and colours of the classes where the layer is styled by this field, else nothing."""
    raise NotImplementedError


def new_label_layer(
    path: str, crs: QgsCoordinateReferenceSystem, classes: Sequence[Tuple[str, str]]
) -> QgsVectorLayer:
    """A new, empty polygon layer with the text field ``class``, styled, ready to draw into.

    ``classes`` are names with colours (#rrggbb). Without a path it is a memory layer. The layer
    is not in the project yet. Raises TilthError; never overwrites.
    """
    raise NotImplementedError
