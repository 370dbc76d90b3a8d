"""What the Labels page says about the chosen labels before the engine has seen them."""

from __future__ import annotations

from typing import Any, Dict, List, Optional

from qgis.core import (
    QgsCategorizedSymbolRenderer,
    QgsCoordinateTransform,
    QgsCsException,
    QgsMapLayer,
    QgsProject,
    QgsRectangle,
    QgsVectorLayer,
)
from qgis.PyQt.QtCore import QCoreApplication

from ..layers.values import as_text
from .choices import LabelChoice
from .class_scan import ClassCount
from .class_table import ClassRow

# Names under which analysts keep their classes, the likeliest first.
FIELD_NAMES = ("class_name", "classname", "class", "klass", "label", "landcover", "lulc", "type")


def _tr(text: str) -> str:
    return QCoreApplication.translate("LabelChecks", text)


def guess_field(layer: QgsVectorLayer, last: str) -> str:
    """The field that most likely holds the classes; ``last`` is what the user chose before."""
    fields = [field for field in layer.fields() if field.name().lower() not in ("fid", "id")]
    names = [field.name() for field in fields]
    if last in names:
        return last
    renderer = layer.renderer()
    if isinstance(renderer, QgsCategorizedSymbolRenderer) and renderer.classAttribute() in names:
        return str(renderer.classAttribute())
    for wanted in FIELD_NAMES:
        for name in names:
            if name.lower() == wanted:
                return name
    for wanted in FIELD_NAMES:
        for name in names:
            if wanted in name.lower():
                return name
    return names[0] if names else ""


def rows(count: Optional[ClassCount], colours: Dict[str, str]) -> List[ClassRow]:
    """The classes for the table, sorted as people sort."""
    if count is None:
        return []
    return [
        ClassRow(as_text(value), colours.get(as_text(value), ""), f"{polygons:,}")
        for value, polygons in sorted(count.polygons.items(), key=lambda item: _order(item[0]))
    ]


def hint(choice: LabelChoice, count: Optional[ClassCount], fault: str = "") -> str:
    """What stands where no classes can be listed; ``fault`` is why they were not counted."""
    if not choice.polygons:
        return _tr("The codes in the label raster are the classes.")
    if choice.layer is None:
        return _tr("Pick a polygon layer, or make a new one and draw a few polygons per class.")
    if not choice.class_field:
        return _tr("Pick the field that holds the class of each polygon.")
    if choice.lacks_selection():
        return choice.lacks_selection()
    if fault:
        return _tr("The classes were not counted: {}").format(fault)
    if count is None:
        return _tr("Counting…")
    if choice.layer.featureCount() == 0:
        return _tr("The layer is empty: draw a few polygons per class.")
    return _tr("No polygon has a class yet.")


def warnings(choice: LabelChoice, count: Optional[ClassCount]) -> List[str]:
    """What the user should mend or know, a line each."""
    if not choice.polygons or choice.layer is None:
        return []
    found = _place_warnings(choice, count)
    if count is None or not choice.class_field or count.total == 0:
        return found
    classes = len(count.polygons) + (1 if choice.area is not None else 0)
    if classes < 2:
        found.append(
            _tr("Fewer than two classes: draw polygons of another class, or give a labelled area.")
        )
    single = [as_text(value) for value, number in count.polygons.items() if number == 1]
    if single:
        found.append(
            _tr("Only one polygon, so it can't be checked on held-out labels: {}").format(
                ", ".join(sorted(single)[:5]) + ("…" if len(single) > 5 else "")
            )
        )
    if count.without_class:
        found.append(
            _tr("Polygons without a class are left out: {}").format(f"{count.without_class:,}")
        )
    if count.without_geometry:
        found.append(
            _tr("Features without a shape are left out: {}").format(f"{count.without_geometry:,}")
        )
    return found


def _place_warnings(choice: LabelChoice, count: Optional[ClassCount]) -> List[str]:
    layer = choice.layer
    if layer is None or not choice.images:
        return []
    if not layer.crs().isValid():
        return [_tr("The label layer has no coordinate reference system: set it first.")]
    if count is None or count.box.isNull():
        return []
    boxes = [_extent_in(image, layer) for image in choice.images]
    if all(box is not None and not box.intersects(count.box) for box in boxes):
        return [_tr("The labels lie outside the image.")]
    return []


def _extent_in(image: QgsMapLayer, layer: QgsVectorLayer) -> Optional[QgsRectangle]:
    if not image.crs().isValid():
        return None
    transform = QgsCoordinateTransform(image.crs(), layer.crs(), QgsProject.instance())
    try:
        return transform.transformBoundingBox(image.extent())
    except QgsCsException:
        return None


def _order(value: Any) -> Any:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return (0, float(value), "") if number else (1, 0.0, str(value).lower())
