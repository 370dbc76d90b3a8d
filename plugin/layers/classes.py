"""The classes that a polygon layer shows: fields, values, names and colours."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, Dict, Iterator, List, Optional, Tuple

from qgis.core import (
    QgsCategorizedSymbolRenderer,
    QgsExpression,
    QgsExpressionNode,
    QgsExpressionNodeBinaryOperator,
    QgsFeatureRenderer,
    QgsFeatureRequest,
    QgsRuleBasedRenderer,
    QgsSymbol,
    QgsVectorLayer,
)

from ..engine.jobs import ClassStyle
from .values import as_text, is_null, kind_of

_LIKELY = ("class_name", "class", "classname", "landcover", "land_cover", "lc", "label", "type")
_SECONDS = 0.25
_MOST_CLASSES = 500


@dataclass
class ClassField:
    """A field that can hold classes; ``kind`` is "text", "integer" or "number"."""

    name: str
    label: str
    kind: str


@dataclass
class ClassValues:
    """The values of a class field with their numbers of polygons.

    ``complete`` is false where the time was up, or the classes too many, before the end.
    """

    counts: List[Tuple[str, int]] = field(default_factory=list)
    without_class: int = 0
    complete: bool = True


def class_fields(layer: QgsVectorLayer) -> List[ClassField]:
    """The fields that can hold classes, the likeliest one first."""
    keys = {layer.fields().at(index).name() for index in layer.primaryKeyAttributes()}
    fields = [
        ClassField(item.name(), item.displayName(), kind_of(item))
        for item in layer.fields()
        if item.name() not in keys
    ]
    styled = _styled_field(layer)
    return sorted(fields, key=lambda item: _unlikeliness(item, styled))


def class_values(
    layer: QgsVectorLayer, name: str, only_selected: bool = False, seconds: float = _SECONDS
) -> ClassValues:
    """The classes with their numbers of polygons, as many as can be counted in this time."""
    index = layer.fields().lookupField(name)
    if index < 0:
        return ClassValues()
    request = QgsFeatureRequest()
    request.setFlags(QgsFeatureRequest.Flag.NoGeometry)
    request.setSubsetOfAttributes([index])
    if only_selected:
        request.setFilterFids(layer.selectedFeatureIds())
    deadline = time.monotonic() + seconds
    counts: Dict[Any, int] = {}
    values = ClassValues()
    for feature in layer.getFeatures(request):
        value = feature.attribute(index)
        if is_null(value):
            values.without_class += 1
        else:
            key = value if isinstance(value, (int, float, str)) else as_text(value)
            counts[key] = counts.get(key, 0) + 1
        if len(counts) > _MOST_CLASSES or time.monotonic() > deadline:
            values.complete = False
            break
    values.counts = [(as_text(key), counts[key]) for key in sorted(counts, key=_order)]
    return values


def styles(layer: QgsVectorLayer, name: str) -> List[ClassStyle]:
    """Names and colours of the classes where the layer is styled by this field, else nothing."""
    renderer = _inner(layer.renderer())
    found: Iterator[Tuple[Any, str, Optional[QgsSymbol]]] = iter(())
    if isinstance(renderer, QgsCategorizedSymbolRenderer):
        if _column(renderer.classAttribute()) == name:
            found = _categories(renderer)
    elif isinstance(renderer, QgsRuleBasedRenderer):
        found = _rules(renderer, name)
    classes: Dict[str, ClassStyle] = {}
    for value, label, symbol in found:
        if not is_null(value) and symbol is not None:
            text = as_text(value)
            classes.setdefault(text, ClassStyle(text, label.strip() or text, _colour(symbol)))
    return list(classes.values())


def _styled_field(layer: QgsVectorLayer) -> str:
    """The field that a categorised layer is styled by."""
    renderer = _inner(layer.renderer())
    if isinstance(renderer, QgsCategorizedSymbolRenderer):
        return _column(renderer.classAttribute())
    return ""


def _unlikeliness(item: ClassField, styled: str) -> Tuple[int, int]:
    if item.name == styled:
        return 0, 0
    name = item.name.lower()
    if name in _LIKELY:
        return 1, _LIKELY.index(name)
    if "class" in name:
        return 2, 0
    return {"text": 3, "integer": 4, "number": 5}[item.kind], 0


def _order(value: Any) -> Tuple[bool, Any]:
    """Numbers first, by size, then texts."""
    return isinstance(value, str), value


def _inner(renderer: Optional[QgsFeatureRenderer]) -> Optional[QgsFeatureRenderer]:
    """The renderer that has the classes, where another one (inverted, merged) is around it."""
    while renderer is not None and renderer.embeddedRenderer() is not None:
        renderer = renderer.embeddedRenderer()
    return renderer


def _column(expression: str) -> str:
    """The field that an expression consists of: ``class`` or ``"class"``; else empty."""
    node = QgsExpression(expression)
    if node.isField():
        return next(iter(node.referencedColumns()))
    return expression


def _categories(
    renderer: QgsCategorizedSymbolRenderer,
) -> Iterator[Tuple[Any, str, Optional[QgsSymbol]]]:
    for category in renderer.categories():
        value = category.value()
        for each in value if isinstance(value, list) else [value]:
            yield each, category.label(), category.symbol()


def _rules(
    renderer: QgsRuleBasedRenderer, name: str
) -> Iterator[Tuple[Any, str, Optional[QgsSymbol]]]:
    """Rules of the form ``"field" = value``; others say nothing about a class."""
    for rule in renderer.rootRule().descendants():
        value = None if rule.isElse() else _compared(rule.filterExpression(), name)
        if value is not None:
            yield value, rule.label(), rule.symbol()


def _compared(text: str, name: str) -> Any:
    """The literal that an expression compares the field with, None for any other expression."""
    expression = QgsExpression(text)
    node = expression.rootNode()
    if not isinstance(node, QgsExpressionNodeBinaryOperator):
        return None
    if node.op() != QgsExpressionNodeBinaryOperator.BinaryOperator.boEQ:
        return None
    left, right = node.opLeft(), node.opRight()
    if left.nodeType() != QgsExpressionNode.NodeType.ntColumnRef or left.name() != name:
        return None
    if right.nodeType() != QgsExpressionNode.NodeType.ntLiteral:
        return None
    return right.value()


def _colour(symbol: QgsSymbol) -> str:
    """A symbol's colour as ``#rrggbb``; how much shines through is a matter of the layer."""
    return symbol.color().name()
