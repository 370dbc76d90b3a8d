"""Polygons and the values of one field, from any vector file that GDAL reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import pyogrio.errors
import rasterio.warp
import shapely
from rasterio.crs import CRS

from ..errors import TilthError
from .grid import turns
from .source import RASTER_FAULTS

_FAULTS = (RuntimeError, ValueError)  # every error of pyogrio is one of these
_POLYGON, _MULTIPOLYGON, _COLLECTION = 3, 6, 7
_POINTS = (0, 4)


@dataclass
class VectorLayer:
    """The polygons of a layer: shapely polygons or multipolygons, 2D, valid, not empty.

    ``values`` has the class field's value of each (None for NULL). ``dropped`` counts what was
    left out, by reason for people.
    """

    path: str
    name: str
    crs: CRS | None
    geometries: np.ndarray
    values: list[Any]
    dropped: Counter[str] = field(default_factory=Counter)

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """xmin, ymin, xmax, ymax in the layer's coordinates."""
        xmin, ymin, xmax, ymax = shapely.total_bounds(self.geometries)
        return float(xmin), float(ymin), float(xmax), float(ymax)


def parse_source(source: str) -> tuple[str, dict[str, str]]:
    """Path and options of ``file|layername=L|subset=...``, as QGIS writes sources."""
    path, *parts = source.split("|")
    options = {}
    for part in parts:
        key, _, value = part.partition("=")
        options[key.strip().lower()] = value
    return path, options


def fields_of(source: str) -> list[str]:
    """The fields of ``file|layername=L``. Raises TilthError where the file or layer is missing."""
    path, options = parse_source(source)
    return list(_info(path, _choose_layer(path, options, "", True))["fields"])


def check_layer(source: str, class_field: str = "", *, points: bool = False) -> str:
    """The name of the layer that ``read_polygons`` would read; no polygon is looked at.

    Raises TilthError where the file, layer or field is missing (naming those that exist).
    """
    path, options = parse_source(source)
    layer = _choose_layer(path, options, class_field, points)
    fields = list(_info(path, layer)["fields"])
    if class_field and class_field not in fields:
        raise TilthError(
            f"{source}: it has no field {class_field!r}; its fields are "
            f"{', '.join(fields) or 'none'}"
        )
    return layer


def read_polygons(source: str, class_field: str = "", *, points: bool = False) -> VectorLayer:
    """Read the polygons of ``file|layername=L``; with ``points``, points as well.

    Curves come as lines of short pieces, Z is dropped, invalid rings are mended, a multipolygon
    stays one object. Raises TilthError where the file, layer or field is missing (naming those
    that exist), or where there is no polygon at all.
    """
    path, options = parse_source(source)
    layer = check_layer(source, class_field, points=points)
    try:
        meta, _, wkb, columns = pyogrio.raw.read(
            path,
            layer=layer,
            columns=[class_field] if class_field else [],
            force_2d=True,
            where=options.get("subset") or None,
        )
    except _FAULTS as error:
        raise TilthError(f"{source}: it can't be read: {error}") from None
    raw = columns[0] if class_field else [None] * len(wkb)
    if class_field and meta["ogr_subtypes"][0] == "OFSTBoolean":
        raw = _truths(raw)
    result = VectorLayer(path, str(layer), _crs(meta["crs"]), np.array([]), [])
    kept: list[Any] = []
    for geometry, value in zip(_geometries(wkb, result.dropped, points), raw, strict=True):
        if geometry is not None:
            # Each point is a place of its own; the parts of a polygon are one object.
            alone = shapely.get_dimensions(geometry) > 0
            parts = [geometry] if alone else shapely.get_parts(geometry).tolist()
            kept += parts
            result.values += [_plain(value)] * len(parts)
    if not kept:
        why = f" ({dropped_text(result.dropped)})" if result.dropped else ""
        raise TilthError(f"{source}: the layer {layer} has no usable polygon{why}; draw some")
    result.geometries = np.array(kept, dtype=object)
    return result


def dropped_text(dropped: Counter[str]) -> str:
    """``empty geometries (1), null geometries (2)``: what was left out, for a warning."""
    return ", ".join(f"{reason} ({count})" for reason, count in sorted(dropped.items()))


def crs_text(crs: CRS | None) -> str:
    """The coordinate system for people: ``EPSG:27700``, its name, or ``no CRS``."""
    if crs is None:
        return "no CRS"
    code = crs.to_epsg()
    if code is not None:
        return f"EPSG:{code}"
    wkt = crs.to_wkt()
    return wkt.split('"')[1] if '"' in wkt else "a CRS of its own"


def extent_text(bounds: Sequence[float]) -> str:
    """``x 10 to 20, y 5 to 8``."""
    xmin, ymin, xmax, ymax = (f"{value:.7g}" for value in bounds)
    return f"x {xmin} to {xmax}, y {ymin} to {ymax}"


def transform_geometries(
    geometries: np.ndarray, source: CRS, target: CRS, middle: float
) -> np.ndarray:
    """The geometries in another coordinate system; what can't be brought there becomes None.

    Long edges get points in between first, since a straight line in one system is a curve in the
    other. Longitudes are those within half a turn of ``middle``: 180.1, not -179.9, near 179.
    """
    boxes = shapely.bounds(geometries)
    longest = np.maximum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])
    dense = shapely.segmentize(geometries, np.maximum(longest / 16, 1e-9))

    def move(points: np.ndarray) -> np.ndarray:
        xs, ys = rasterio.warp.transform(source, target, points[:, 0], points[:, 1])
        return np.column_stack([xs, ys])

    def move_if_possible(points: np.ndarray) -> np.ndarray:
        try:
            return move(points)
        except RASTER_FAULTS:
            return np.full_like(points, np.inf)

    try:
        moved = shapely.transform(dense, move)
    except RASTER_FAULTS:
        # One point that has no place in the target fails them all: a degree of 500000, say.
        moved = np.empty(len(dense), object)
        moved[:] = [shapely.transform(geometry, move_if_possible) for geometry in dense]
    finite = np.array([bool(np.all(np.isfinite(shapely.get_coordinates(g)))) for g in moved])
    moved[~finite] = None
    if target.is_geographic:
        moved[finite] = [_on_this_turn(geometry, middle) for geometry in moved[finite]]
    broken = finite & ~shapely.is_valid(moved)
    moved[broken] = [_polygonal(shapely.make_valid(geometry)) for geometry in moved[broken]]
    return moved


def _on_this_turn(geometry: Any, middle: float) -> Any:
    """A geometry in degrees, each of its parts in one piece and by whole turns near ``middle``."""
    west, _, east, _ = geometry.bounds
    if east - west <= 180 and abs((west + east) / 2 - middle) <= 180:
        return geometry
    parts = [_turned(part, middle) for part in shapely.get_parts(geometry)]
    return parts[0] if len(parts) == 1 else shapely.MultiPolygon(parts)


def _turned(part: Any, middle: float) -> Any:
    points = shapely.get_coordinates(part)
    points[:, 0] -= turns(points[:, 0], points[0, 0])
    if np.ptp(points[:, 0]) > 180:  # not torn, but around the world
        return part
    points[:, 0] -= turns(points[:, 0].mean(), middle)
    return shapely.set_coordinates(part, points)


def _choose_layer(path: str, options: dict[str, str], class_field: str, points: bool) -> str:
    try:
        layers = [(str(name), kind) for name, kind in pyogrio.list_layers(path)]
    except _FAULTS as error:
        if not Path(path).exists() and "://" not in path and not path.startswith("/vsi"):
            raise TilthError(f"{path}: the file does not exist; check the path") from None
        # GDAL's advice, behind a semicolon, is for programmers.
        reason = str(error).replace(path, "").split(";")[0].strip(" :'.")
        raise TilthError(f"{path}: it can't be opened as a vector layer ({reason})") from None
    names = ", ".join(name for name, _ in layers) or "none"
    wanted = options.get("layername")
    if wanted is None and options.get("layerid", "").isdigit():
        position = int(options["layerid"])
        wanted = layers[position][0] if position < len(layers) else f"number {position}"
    if wanted is not None:
        if wanted not in [name for name, _ in layers]:
            raise TilthError(f"{path}: it has no layer {wanted!r}; its layers are {names}")
        return wanted
    fitting = [name for name, kind in layers if _may_fit(kind, points)]
    if len(fitting) > 1 and class_field:
        fitting = [name for name in fitting if class_field in list(_info(path, name)["fields"])]
    if len(fitting) == 1:
        return fitting[0]
    if not fitting:
        wanted = f" with the field {class_field!r}" if class_field else ""
        raise TilthError(f"{path}: no layer of polygons{wanted}; its layers are {names}")
    raise TilthError(
        f"{path}: several layers would do ({', '.join(fitting)}); add |layername= and one of them"
    )


def _may_fit(kind: str | None, points: bool) -> bool:
    if kind is None:
        return False
    others = ("Point", "LineString", "MultiLineString", "MultiPoint")
    plain = kind.replace(" Z", "").replace("2.5D ", "").replace("25D", "").replace(" ZM", "")
    plain = plain.replace(" M", "")
    return plain not in others or (points and "Point" in plain)


def _info(path: str, layer: str) -> dict[str, Any]:
    try:
        return pyogrio.read_info(path, layer=layer)
    except _FAULTS as error:
        raise TilthError(f"{path}: the layer {layer} can't be read: {error}") from None


def _crs(text: str | None) -> CRS | None:
    if not text:
        return None
    try:
        return CRS.from_user_input(text)
    except RASTER_FAULTS:
        return None


def _plain(value: Any) -> Any:
    """The value as int, float or str; None for NULL, NaN and blank text."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or (isinstance(value, float) and not np.isfinite(value)):
        return None
    if isinstance(value, float):
        return int(value) if value.is_integer() else value
    if isinstance(value, int):
        return value
    return str(value).strip() or None


def _truths(values: Iterable[Any]) -> list[str | None]:
    """The values of a boolean field as QGIS writes them; they come as numbers beside a NULL."""
    return [None if np.isnan(value) else "true" if value else "false" for value in values]


def _geometries(wkb: np.ndarray, dropped: Counter[str], points: bool) -> list[Any]:
    """Usable polygons (None where there is none), counting the rest by reason."""
    decoded = shapely.from_wkb(np.asarray(wkb, dtype=object), on_invalid="ignore")
    result = []
    for data, geometry in zip(wkb, decoded, strict=True):
        good = None
        if data is None:
            dropped["null geometries"] += 1
        elif geometry is None:
            dropped["geometries of an unknown type"] += 1
        elif geometry.is_empty:
            dropped["empty geometries"] += 1
        elif not np.all(np.isfinite(shapely.get_coordinates(geometry))):
            dropped["geometries with endless coordinates"] += 1
        elif points and shapely.get_type_id(geometry) in _POINTS:
            good = geometry
        elif shapely.get_dimensions(geometry) < 2:
            dropped["geometries that are no polygons"] += 1
        else:
            good = _polygonal(geometry if geometry.is_valid else shapely.make_valid(geometry))
            if good is None:
                dropped["polygons without an area"] += 1
        result.append(good)
    return result


def _polygonal(geometry: Any) -> Any:
    """The polygons within a geometry as one object, or None."""
    kind = shapely.get_type_id(geometry)
    if kind == _POLYGON:
        return geometry if geometry.area > 0 else None
    parts = [part for part in _flat(geometry) if part.area > 0]
    if not parts:
        return None
    if kind == _MULTIPOLYGON and len(parts) == len(geometry.geoms):
        return geometry
    return shapely.union_all(parts) if len(parts) > 1 else parts[0]


def _flat(geometry: Any) -> list[Any]:
    """The polygons in a collection, however nested."""
    if shapely.get_type_id(geometry) == _POLYGON:
        return [geometry]
    if shapely.get_type_id(geometry) in (_MULTIPOLYGON, _COLLECTION):
        return [polygon for part in geometry.geoms for polygon in _flat(part)]
    return []
