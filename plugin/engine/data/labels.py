"""Labels: drawn polygons on the pixels of the images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import shapely

from ..errors import TilthError
from ..jobs import ClassStyle
from . import colours
from .burn import count_pixels, find_spots, rasterise
from .grid import apply
from .imagery import Image
from .label_model import ClassInfo, LabelPolygon, Labels
from .source import RPC_ALONE
from .vectors import (
    VectorLayer,
    crs_text,
    dropped_text,
    extent_text,
    read_polygons,
    transform_geometries,
)

__all__ = [
    "BACKGROUND",
    "ClassInfo",
    "LabelPolygon",
    "Labels",
    "add_labelled_areas",
    "class_codes",
    "complete",
    "rasterise",
    "read_labels",
]

BACKGROUND = "background"
_MOST_CLASSES = 1000
_MAX_CODE = 65535


def read_labels(
    source: str,
    class_field: str,
    images: Sequence[Image],
    *,
    styles: Sequence[ClassStyle] = (),
    labelled_area: str = "",
    points: bool = False,
    minimum_classes: int = 2,
) -> Labels:
    """Label polygons from ``file|layername=L`` on the pixels of ``images``.

    Raises TilthError where the file, layer or field is missing, where no polygon lies on an
    image, or where fewer than ``minimum_classes`` classes are left. All that was left out or
    mended is told in ``warnings``.
    """
    layer = read_polygons(source, class_field, points=points)
    warnings: list[str] = []
    _drop_null_classes(layer, class_field, warnings)
    placed, outside = _place(layer, images, warnings)
    if not placed:
        raise TilthError(_outside_text(layer, images))
    if layer.dropped:
        warnings.append(f"labels: left out: {dropped_text(layer.dropped)}")
    if outside:
        warnings.append(
            _told(
                outside,
                "labels: {} polygon lies outside the image and is left out",
                "labels: {} polygons lie outside the image and are left out",
            )
        )
    values = {layer.values[number] for number, *_ in placed}
    codes = class_codes(values)
    classes = _classes(codes, styles)
    polygons = [
        LabelPolygon(geometry, shape, codes[layer.values[number]], image, number + 1)
        for number, image, geometry, shape in placed
    ]
    labels = Labels(classes, polygons, [image.grid for image in images], warnings)
    if labelled_area:
        add_labelled_areas(labels, labelled_area, images)
    complete(labels, images, minimum_classes, where=f"{source}, field {class_field}")
    return labels


def class_codes(values: set[Any]) -> dict[Any, int]:
    """The code of each value: integers in 1..65535 stay, else 1..K in sorted order.

    Text that holds whole numbers is sorted by these. Raises TilthError beyond 1000 classes.
    """
    if len(values) > _MOST_CLASSES:
        raise TilthError(
            f"class field: it has {len(values)} different values; is it the field of the classes?"
        )
    integers = all(isinstance(value, int) for value in values)
    if integers and all(1 <= value <= _MAX_CODE for value in values):
        return {value: int(value) for value in sorted(values)}
    return {value: code for code, value in enumerate(_in_order(values), 1)}


def add_labelled_areas(labels: Labels, source: str, images: Sequence[Image]) -> None:
    """Add the class ``background`` and a polygon for each labelled area of a vector file."""
    layer = read_polygons(source)
    placed, _ = _place(layer, images, labels.warnings)
    if not placed:
        labels.warnings.append("labelled area: none lies on the image; there is no background")
        return
    code = _free_code(labels.classes)
    taken = {entry.name.casefold() for entry in labels.classes}
    name = BACKGROUND if BACKGROUND not in taken else f"{BACKGROUND} (labelled areas)"
    labels.classes.append(ClassInfo(code, name, "", colours.BACKGROUND))
    first = max(labels.ids, default=0) + 1
    for number, image, geometry, shape in placed:
        labels.polygons.append(
            LabelPolygon(geometry, shape, code, image, first + number, background=True)
        )


def complete(labels: Labels, images: Sequence[Image], minimum: int, where: str) -> None:
    """Count pixels, warn of what deserves it, and drop classes that have no pixel at all."""
    tiny = find_spots(labels)
    if tiny:
        labels.warnings.append(
            _told(
                tiny,
                "labels: {} polygon, or part of one, is smaller than a pixel; the pixel there "
                "stands for it",
                "labels: {} polygons, or parts of them, are smaller than a pixel; the pixel at "
                "each stands for it",
            )
        )
    conflicts, gaps = count_pixels(labels, images)
    if conflicts:
        labels.warnings.append(
            "labels: polygons of different classes overlap; "
            + _told(conflicts, "{} pixel in both is left out", "{} pixels in both are left out")
        )
    if gaps:
        labels.warnings.append(
            _told(
                gaps,
                "labels: {} labelled pixel has no data in the image",
                "labels: {} labelled pixels have no data in the image",
            )
        )
    _sum_up(labels)
    empty = [entry for entry in labels.classes if entry.pixels == 0]
    if empty:
        names = ", ".join(entry.name for entry in empty)
        labels.warnings.append(f"labels: no labelled pixel is left of {names}")
        codes = {entry.code for entry in empty}
        labels.classes = [entry for entry in labels.classes if entry.code not in codes]
        labels.polygons = [p for p in labels.polygons if p.code not in codes]
        labels._trees.clear()
    if len(labels.classes) < minimum:
        names = ", ".join(entry.name for entry in labels.classes) or "none"
        raise TilthError(
            f"labels: at least {minimum} classes are needed on the image, but there is only "
            f"{names} ({where}); draw polygons of another class, or give labelled areas"
        )
    single = [entry.name for entry in labels.classes if not entry.validated]
    if single:
        labels.warnings.append(
            f"labels: nothing of {', '.join(single)} can be held out (it needs two polygons that "
            "lie apart): trained on, but not validated"
        )


def _sum_up(labels: Labels) -> None:
    """Pixels, polygons and validated of every class."""
    units = labels.units()
    for entry in labels.classes:
        mine = [polygon for polygon in labels.polygons if polygon.code == entry.code]
        entry.polygons = len({polygon.id for polygon in mine})
        entry.pixels = sum(polygon.pixels for polygon in mine)
        entry.validated = len({units[p.id] for p in mine if p.pixels}) >= 2


def _place(
    layer: VectorLayer, images: Sequence[Image], warnings: list[str]
) -> tuple[list[tuple[int, int, Any, Any]], int]:
    """What lies on which image: (number, image, geometry, pixel geometry), and how many nowhere."""
    placed = []
    for index, image in enumerate(images):
        shapes = _in_image_crs(layer, image, warnings)
        there = np.flatnonzero(~shapely.is_missing(shapes))
        pixels = _to_pixels(shapes[there], image)
        for position in np.flatnonzero(_on_grid(pixels, image)):
            number = int(there[position])
            placed.append((number, index, shapes[number], pixels[position]))
    placed.sort(key=lambda item: (item[1], item[0]))
    return placed, len(layer.geometries) - len({number for number, *_ in placed})


def _in_image_crs(layer: VectorLayer, image: Image, warnings: list[str]) -> np.ndarray:
    if layer.crs is not None and image.crs is not None:
        if layer.crs == image.crs:
            return layer.geometries
        return transform_geometries(layer.geometries, layer.crs, image.crs, image.grid.middle)
    if image.crs is not None:
        _once(
            warnings,
            f"labels: {layer.name} has no coordinate system; it is taken to be in the image's",
        )
    elif layer.crs is not None:
        _once(
            warnings,
            f"labels: {image.name} has no coordinate system; the labels are taken to be in the "
            "image's coordinates",
        )
    return layer.geometries


def _to_pixels(geometries: np.ndarray, image: Image) -> np.ndarray:
    inverse = ~image.transform
    return shapely.transform(
        geometries, lambda points: np.column_stack(apply(inverse, points[:, 0], points[:, 1]))
    )


def _on_grid(pixels: np.ndarray, image: Image) -> np.ndarray:
    """Which geometries lie on the image, by more than an edge (points: at all)."""
    frame = shapely.box(0, 0, image.width, image.height)
    shapely.prepare(frame)
    found = shapely.intersects(frame, pixels)
    edge = np.flatnonzero(found & ~shapely.covers(frame, pixels))
    flat = shapely.get_dimensions(pixels[edge]) < 2
    found[edge] = flat | (shapely.area(shapely.intersection(pixels[edge], frame)) > 0)
    return found


def _outside_text(layer: VectorLayer, images: Sequence[Image]) -> str:
    image = images[0]
    text = (
        f"labels: no polygon lies on the image; {layer.name} covers {extent_text(layer.bounds)} "
        f"({crs_text(layer.crs)}), {image.name} covers {extent_text(image.bounds)} "
        f"({crs_text(image.crs)})"
    )
    if image.by_rpc_alone:
        return f"{text}; of the image: {RPC_ALONE}"
    raw = _to_pixels(layer.geometries, image)
    if layer.crs != image.crs and _on_grid(raw, image).any():
        return f"{text}; the numbers alone would fit: check the layer's coordinate system"
    return f"{text}; check both coordinate systems, or draw polygons over the image"


def _drop_null_classes(layer: VectorLayer, class_field: str, warnings: list[str]) -> None:
    keep = [number for number, value in enumerate(layer.values) if value is not None]
    lost = len(layer.values) - len(keep)
    if not keep:
        raise TilthError(
            f"{layer.path}: the field {class_field!r} is empty (NULL) in every polygon; fill it in"
        )
    if lost:
        warnings.append(
            _told(
                lost,
                "labels: {} polygon without a class (NULL) is left out",
                "labels: {} polygons without a class (NULL) are left out",
            )
        )
        layer.values = [layer.values[number] for number in keep]
        layer.geometries = layer.geometries[keep]


def _classes(codes: dict[Any, int], styles: Sequence[ClassStyle]) -> list[ClassInfo]:
    by_value = {style.value.strip().casefold(): style for style in styles}
    classes = []
    defaults = colours.spread([str(value) for value in codes])
    for (value, code), default in zip(codes.items(), defaults, strict=True):
        text = str(value)
        style = by_value.get(text.casefold())
        name = style.name.strip() if style and style.name.strip() else text
        good = style is not None and colours.is_colour(style.colour)
        colour = style.colour.lower() if style and good else default
        classes.append(ClassInfo(code, name, text, colour))
    count = Counter(entry.name for entry in classes)
    for entry in classes:
        if count[entry.name] > 1:
            entry.name = f"{entry.name} ({entry.value})"
    return classes


def _in_order(values: set[Any]) -> list[Any]:
    def key(value: Any) -> tuple[int, float, str]:
        try:
            return (0, float(int(value)) if isinstance(value, str) else float(value), str(value))
        except ValueError:
            return (1, 0.0, str(value))

    return sorted(values, key=key)


def _free_code(classes: Sequence[ClassInfo]) -> int:
    """K+1, or the next that is free."""
    taken = {entry.code for entry in classes}
    code = max(taken) + 1
    if code <= _MAX_CODE:
        return code
    return next(number for number in range(1, _MAX_CODE) if number not in taken)


def _told(count: int, one: str, several: str) -> str:
    return (one if count == 1 else several).format(count)


def _once(warnings: list[str], text: str) -> None:
    if text not in warnings:
        warnings.append(text)
