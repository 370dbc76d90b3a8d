"""Labels from a raster of class codes."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import rasterio
import rasterio.shutil
import shapely
from rasterio.io import MemoryFile
from rasterio.windows import Window

from ..errors import TilthError
from ..jobs import ClassStyle
from . import colours
from .grid import Grid, apply
from .imagery import Image
from .label_model import ClassInfo, LabelPolygon, Labels
from .labels import add_labelled_areas, complete
from .regions import Regions, find_regions
from .source import RASTER_FAULTS, Source, open_source
from .vectors import crs_text, extent_text

_MAX_CODE = 65535
_MOST_CLASSES = 1000
# Of the file beside a raster, which takes far less for the names of a thousand classes.
_MOST_BYTES = 16 * 1024 * 1024
# What a tag that holds something else than a list of classes leads to.
_TAG_FAULTS = (
    AttributeError, KeyError, OverflowError, RecursionError, TypeError, ValueError,
)  # fmt: skip


class CodeReader:
    """Class codes of a raster on another grid, nearest neighbour, by windows."""

    def __init__(self, path: str, grid: Grid, codes: set[int] | None = None) -> None:
        """``codes`` are those met so far, where other grids are read as well."""
        self.origin: Source = open_source(path, palette=False)
        self.path = path
        if len(self.origin.bands) > 1:
            self.origin.close()
            raise TilthError(
                f"{path}: it has {len(self.origin.bands)} bands; give a raster with one band of "
                "class codes"
            )
        self.source = self.origin.on_grid(grid, nearest=True)
        self.grid = grid
        self._codes = set() if codes is None else codes

    def read(self, col: int, row: int, width: int, height: int) -> np.ndarray:
        """Codes uint16 [H, W] of a window inside the grid; 0 for 0, nodata and negatives.

        Raises TilthError on fractions, on codes beyond 65535, and on more of them than classes may
        be: at once, since each would be taken apart by itself.
        """
        values, valid = self.source.read(Window(col, row, width, height), [0])
        layer = np.where(valid & (values[0] > 0), values[0], 0)
        if np.any(layer != np.round(layer)):
            raise TilthError(
                f"{self.path}: a label raster holds whole class codes, but this one has fractions "
                f"such as {layer[layer != np.round(layer)][0]:g}"
            )
        if layer.max(initial=0) > _MAX_CODE:
            raise TilthError(f"{self.path}: the class code {layer.max():.0f} is beyond {_MAX_CODE}")
        codes = layer.astype(np.uint16)
        self._codes.update(np.flatnonzero(np.bincount(codes.ravel())).tolist())
        if len(self._codes) > _MOST_CLASSES:
            raise TilthError(
                f"{self.path}: it has more than {_MOST_CLASSES} different codes; is it a label "
                "raster?"
            )
        return codes

    def close(self) -> None:
        """Close the file."""
        self.source.close()


def read_label_raster(
    path: str,
    images: Sequence[Image],
    *,
    styles: Sequence[ClassStyle] = (),
    labelled_area: str = "",
    minimum_classes: int = 2,
) -> Labels:
    """Labels from a raster of class codes, on the pixels of ``images``.

    0, nodata and negative values are unlabelled. Its "polygons" are the connected regions of each
    class, so that a split never cuts one. Category names and the colour table are used, where
    ``styles`` say nothing else. Raises TilthError where nothing lies on the images.
    """
    labels = Labels([], [], [image.grid for image in images])
    offset = 0
    origin_grid = None
    met: set[int] = set()
    for index, image in enumerate(images):
        reader = CodeReader(path, labels.grids[index], met)
        try:
            origin_grid = reader.origin.grid
            regions = find_regions(reader.read, image.width, image.height, offset)
        finally:
            reader.close()
        labels.regions.append(regions)
        labels.polygons += _polygons(regions, index, image)
        offset += regions.count
    if not labels.polygons:
        raise TilthError(_outside_text(path, origin_grid, images[0]))
    codes = sorted({polygon.code for polygon in labels.polygons})
    labels.classes = _classes(path, codes, styles)
    if labelled_area:
        add_labelled_areas(labels, labelled_area, images)
    complete(labels, images, minimum_classes, where=path)
    return labels


def map_grid(path: str) -> Grid:
    """The grid of a raster of codes. Raises TilthError where it can't be opened."""
    source = open_source(path, palette=False)
    try:
        return source.grid
    finally:
        source.close()


def category_names(path: str) -> dict[int, str]:
    """The names of a raster's classes by code, from its category names or attribute table.

    Empty where it has none. (rasterio does not read them; a virtual copy's text has them, and so
    may the file beside.)
    """
    for text in (_virtual_copy(path), _file_beside(path)):
        names = _names_of_list(text) or _names_of_table(text)
        if names:
            return names
    return _names_of_tag(path)


def colour_table(path: str) -> dict[int, str]:
    """``#rrggbb`` by code, from the raster's colour table; empty where it has none."""
    try:
        with rasterio.open(path) as dataset:
            table = dataset.colormap(1)
    except (*RASTER_FAULTS, ValueError):
        return {}
    return {value: colours.hex_colour(*colour[:3]) for value, colour in table.items()}


def _names_of_tag(path: str) -> dict[int, str]:
    """From the tag that Tilth's own maps carry, for where the file beside got lost."""
    try:
        with rasterio.open(path) as dataset:
            entries = json.loads(dataset.tags().get("TILTH_CLASSES", "[]"))
        names = {int(entry["code"]): str(entry["name"]) for entry in entries}
    except (*RASTER_FAULTS, *_TAG_FAULTS):
        return {}
    return {code: name for code, name in names.items() if 0 < code <= _MAX_CODE}


def _virtual_copy(path: str) -> str:
    try:
        with rasterio.open(path) as dataset, MemoryFile(ext=".vrt") as memory:
            rasterio.shutil.copy(dataset, memory.name, driver="VRT")
            with memory.open():
                pass
            return bytes(memory.getbuffer()).decode("utf-8", errors="replace")
    except RASTER_FAULTS:
        return ""


def _file_beside(path: str) -> str:
    """GDAL's own file beside the raster; empty where there is none of a sensible size."""
    beside = Path(f"{path}.aux.xml")
    try:
        small = beside.stat().st_size <= _MOST_BYTES
        return beside.read_text(encoding="utf-8", errors="replace") if small else ""
    except OSError:
        return ""


def _names_of_list(text: str) -> dict[int, str]:
    block = next(iter(_elements(text, "CategoryNames")), "")
    names = {code: _said(name) for code, name in enumerate(_elements(block, "Category"))}
    return {code: name for code, name in names.items() if name and code > 0}


def _names_of_table(text: str) -> dict[int, str]:
    """From a raster attribute table with a column of values and one of names."""
    table = next(iter(_elements(text, "GDALRasterAttributeTable")), "")
    usages = [
        next(iter(_elements(column, "Usage")), "").strip()
        for column in _elements(table, "FieldDefn")
    ]
    if "5" not in usages or "2" not in usages:  # GFU_MinMax and GFU_Name
        return {}
    value, name = usages.index("5"), usages.index("2")
    names = {}
    for row in _elements(table, "Row"):
        fields = _elements(row, "F")
        if len(fields) == len(usages) and re.fullmatch(r"\d{1,5}(\.0*)?", fields[value].strip()):
            names[int(float(fields[value]))] = _said(fields[name])
    return {code: text for code, text in names.items() if text and code > 0}


def _elements(text: str, tag: str) -> list[str]:
    """What is inside each element of this name, in order: "" for one that is empty.

    It takes time in proportion to the text, where a regular expression can be led astray by a
    crafted one.
    """
    found = []
    for piece in text.split(f"<{tag}")[1:]:
        if not piece.startswith((">", "/", " ", "\t", "\r", "\n")):
            continue  # a longer name
        start, _, rest = piece.partition(">")
        inside, end, _ = rest.partition(f"</{tag}>")
        found.append(inside if end and not start.endswith("/") else "")
    return found


def _said(text: str) -> str:
    """A text of XML as it is read."""
    try:
        return html.unescape(text).strip()
    except ValueError:  # the number of a letter has thousands of digits
        return text.strip()


def _classes(path: str, codes: Sequence[int], styles: Sequence[ClassStyle]) -> list[ClassInfo]:
    names, table = category_names(path), colour_table(path)
    by_value = {style.value.strip(): style for style in styles}
    classes: list[ClassInfo] = []
    defaults = colours.spread([names.get(code, str(code)) for code in codes])
    for code, default in zip(codes, defaults, strict=True):
        style = by_value.get(str(code))
        name = (style.name.strip() if style else "") or names.get(code, str(code))
        colour = table.get(code) or default
        if style and colours.is_colour(style.colour):
            colour = style.colour.lower()
        if any(entry.name == name for entry in classes):
            name = f"{name} ({code})"
        classes.append(ClassInfo(code, name, str(code), colour))
    return classes


def _polygons(regions: Regions, index: int, image: Image) -> list[LabelPolygon]:
    boxes = shapely.box(*regions.boxes[1:].T) if regions.count else np.array([])
    moved = shapely.transform(
        boxes, lambda p: np.column_stack(apply(image.transform, p[:, 0], p[:, 1]))
    )
    return [
        LabelPolygon(geometry, shape, int(code), index, regions.offset + number)
        for number, (geometry, shape, code) in enumerate(
            zip(moved, boxes, regions.codes[1:], strict=True), 1
        )
    ]


def _outside_text(path: str, grid: Grid | None, image: Image) -> str:
    text = f"{path}: no labelled pixel of it lies on {image.name}"
    if grid is None:
        return text
    bounds = grid.bounds
    text += (
        f"; it covers {extent_text(bounds)} ({crs_text(grid.crs)}), the image "
        f"{extent_text(image.bounds)} ({crs_text(image.crs)})"
    )
    box = shapely.box(*bounds)
    if grid.crs != image.crs and box.intersects(shapely.box(*image.bounds)):
        return f"{text}; the numbers alone would fit: check its coordinate system"
    return f"{text}; check both coordinate systems"
