"""Count the classes of a label layer in the background, as it is right now."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Dict

from qgis.core import (
    QgsFeatureRequest,
    QgsRectangle,
    QgsVectorLayer,
    QgsVectorLayerFeatureSource,
)

from ..engine.errors import TilthError
from ..layers.values import as_text, is_null
from ..tasks.base import BaseTask


@dataclass
class ClassCount:
    """What a scan found: polygons by the class field's value, and those of no use.

    ``box`` is where the shapes lie: to ask a layer in edit mode stops QGIS while it looks at all.
    """

    polygons: Dict[Any, int] = field(default_factory=dict)
    without_class: int = 0
    without_geometry: int = 0
    box: QgsRectangle = field(default_factory=QgsRectangle)

    @property
    def total(self) -> int:
        """Every feature seen."""
        return sum(self.polygons.values()) + self.without_class + self.without_geometry


class ClassScan(BaseTask):
    """Reads a snapshot of the layer: unsaved edits, filters and joins included."""

    def __init__(self, layer: QgsVectorLayer, field_name: str, only_selected: bool) -> None:
        super().__init__("Counting the classes of " + layer.name())
        self._source = QgsVectorLayerFeatureSource(layer)
        self._index = layer.fields().lookupField(field_name)
        self._request = QgsFeatureRequest().setSubsetOfAttributes([self._index])
        if only_selected:
            self._request.setFilterFids(layer.selectedFeatureIds())

    def work(self) -> object:
        """In the thread: one pass over the features."""
        count = ClassCount()
        for feature in self._source.getFeatures(self._request):
            if not self.wanted():
                # What was counted until then would pass for all of it.
                raise TilthError("Cancelled.")
            _add(count, feature, self._index)
        return count


def _add(count: ClassCount, feature: Any, index: int) -> None:
    value, shape = feature.attribute(index), feature.geometry()
    if shape.isEmpty():
        count.without_geometry += 1
        return
    count.box.combineExtentWith(shape.boundingBox())
    if is_null(value):
        count.without_class += 1
    else:
        # Lists and the like can't be counted by themselves; as text they are what training reads.
        key = value if isinstance(value, (int, float, str)) else as_text(value)
        count.polygons[key] = count.polygons.get(key, 0) + 1
