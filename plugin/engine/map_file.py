"""The classified raster on disk: a Cloud-Optimized GeoTIFF that knows its classes.

The colour table and overviews are in the file; category names and the attribute table are in
GDAL's sidecar (``MAP.tif.aux.xml``), the only place that GDAL's GeoTIFF driver has for them.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, SubElement, tostring  # nosec B405  only written

import rasterio
import rasterio.shutil
from rasterio._err import CPLE_BaseError  # rasterio lets some of GDAL's errors out as they are
from rasterio.crs import CRS
from rasterio.enums import ColorInterp
from rasterio.errors import RasterioError
from rasterio.io import DatasetWriter
from rasterio.transform import Affine
from rasterio.windows import Window

from .data.files import atomic_path, file_faults
from .errors import TilthError

TILE = 256
PERCENT_NODATA = 255
# Category names are a list with an entry for every code from 0 on; past this it gets silly.
MAX_LISTED = 4096
# What XML 1.0 has no way to hold: https://www.w3.org/TR/xml/#charsets
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@contextlib.contextmanager
def class_map(
    path: str,
    width: int,
    height: int,
    crs: CRS | None,
    transform: Affine,
    classes: list[dict[str, Any]],
    tags: dict[str, str],
) -> Iterator[DatasetWriter]:
    """Open a map for writing (band 1: class codes, 0 is nodata); it appears when the block ends.

    Raises TilthError where the place can't be written or the disk is full.
    """
    highest = max(entry["code"] for entry in classes)
    dtype = "uint8" if highest <= 255 else "uint16"
    tags = {**tags, "TILTH_CLASSES": json.dumps(_table(classes), ensure_ascii=False)}
    options = {"OVERVIEW_RESAMPLING": "MODE"}
    with _written(path, width, height, 1, dtype, 0, crs, transform, options) as target:
        target.update_tags(**tags)
        target.write_colormap(1, _colours(classes))
        target.set_band_description(1, "class")
        yield target
    with atomic_path(f"{path}.aux.xml") as beside:
        beside.write_bytes(_sidecar(classes, highest))


@contextlib.contextmanager
def percent_raster(
    path: str,
    width: int,
    height: int,
    crs: CRS | None,
    transform: Affine,
    names: list[str],
    tags: dict[str, str],
) -> Iterator[DatasetWriter]:
    """Open a raster of percentages for writing (uint8, nodata 255), one band a name."""
    options = {"OVERVIEW_RESAMPLING": "AVERAGE"}
    with _written(
        path, width, height, len(names), "uint8", PERCENT_NODATA, crs, transform, options
    ) as target:
        target.update_tags(**tags)
        target.colorinterp = [ColorInterp.gray] + [ColorInterp.undefined] * (len(names) - 1)
        for number, name in enumerate(names, 1):
            target.set_band_description(number, name)
        yield target
    # An older raster's statistics, which a GIS would draw the new one by.
    Path(f"{path}.aux.xml").unlink(missing_ok=True)


@contextlib.contextmanager
def _written(
    path: str,
    width: int,
    height: int,
    count: int,
    dtype: str,
    nodata: int,
    crs: CRS | None,
    transform: Affine,
    options: dict[str, str],
) -> Iterator[DatasetWriter]:
    """A plain tiled GeoTIFF to fill, made into a COG with overviews at ``path`` in the end."""
    _check_room(path, width * height * count * (2 if dtype == "uint16" else 1))
    with (
        atomic_path(path) as beside,
        file_faults(path),
        tempfile.TemporaryDirectory(prefix=".tilth-", dir=beside.parent) as folder,
        _write_faults(path, folder),
    ):
        plain = Path(folder) / "plain.tif"
        with rasterio.open(
            plain, "w", driver="GTiff", width=width, height=height, count=count,
            dtype=dtype, nodata=nodata, crs=crs, transform=transform, tiled=True,
            blockxsize=TILE, blockysize=TILE, compress="DEFLATE", bigtiff="IF_SAFER",
            interleave="band",
        ) as target:  # fmt: skip
            yield target
        rasterio.shutil.copy(
            plain, beside, driver="COG", COMPRESS="DEFLATE", BLOCKSIZE=str(TILE),
            BIGTIFF="IF_SAFER", **options,
        )  # fmt: skip
        # What GDAL writes while it closes a file may fail without a word; in a COG the last
        # pixels are the last bytes.
        with rasterio.open(beside) as copy:
            copy.read(window=Window(width - 1, height - 1, 1, 1))


@contextlib.contextmanager
def _write_faults(path: str, folder: str) -> Iterator[None]:
    """GDAL's failures while writing as TilthErrors; it does not say why they happened."""
    try:
        yield
    except (RasterioError, CPLE_BaseError) as error:
        if shutil.disk_usage(folder).free < 1_000_000:
            reason = "the disk is full; free some space or choose another place"
        else:
            reason = f"it can't be written ({error.__cause__ or error}); choose another place"
        raise TilthError(f"{path}: {reason}") from error


def _check_room(path: str, size: int) -> None:
    """Refuse early what the disk can't hold: the file twice, and its overviews, uncompressed."""
    folder = Path(path).absolute().parent
    if not folder.is_dir():
        return
    with file_faults(path):
        free = shutil.disk_usage(folder).free
    needed = int(size * 0.5) + 1_000_000
    if free < needed:
        raise TilthError(
            f"{path}: the disk is full ({free / 1e6:.0f} MB free, about {needed / 1e6:.0f} MB "
            "needed); free some space or choose another place"
        )


def _table(classes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: entry[key] for key in ("code", "name", "colour")} for entry in classes]


def _colours(classes: list[dict[str, Any]]) -> dict[int, tuple[int, int, int, int]]:
    colours = {0: (0, 0, 0, 0)}
    for entry in classes:
        text = entry["colour"].lstrip("#")
        red, green, blue = (int(text[i : i + 2], 16) for i in (0, 2, 4))
        colours[entry["code"]] = (red, green, blue, 255)
    return colours


def _sidecar(classes: list[dict[str, Any]], highest: int) -> bytes:
    """GDAL's .aux.xml: category names and a raster attribute table of value, class and colour."""
    root = Element("PAMDataset")
    band = SubElement(root, "PAMRasterBand", band="1")
    by_code = {entry["code"]: entry for entry in classes}
    if highest <= MAX_LISTED:
        names = SubElement(band, "CategoryNames")
        for code in range(highest + 1):
            entry = by_code.get(code)
            SubElement(names, "Category").text = _plain(entry["name"]) if entry else ""
    table = SubElement(band, "GDALRasterAttributeTable", tableType="thematic")
    # Field types and usages are GDAL's numbers: GFT_Integer 0, GFT_String 2; GFU_Name 2,
    # GFU_MinMax 5, GFU_Red 6, GFU_Green 7, GFU_Blue 8.
    for index, (name, kind, usage) in enumerate(
        (("Value", 0, 5), ("Class", 2, 2), ("Red", 0, 6), ("Green", 0, 7), ("Blue", 0, 8))
    ):
        column = SubElement(table, "FieldDefn", index=str(index))
        SubElement(column, "Name").text = name
        SubElement(column, "Type").text = str(kind)
        SubElement(column, "Usage").text = str(usage)
    colours = _colours(classes)
    for index, code in enumerate(sorted(by_code)):
        row = SubElement(table, "Row", index=str(index))
        for value in (code, by_code[code]["name"], *colours[code][:3]):
            SubElement(row, "F").text = _plain(str(value))
    return bytes(tostring(root, encoding="utf-8"))


def _plain(text: str) -> str:
    """The text without what XML can't hold; all else stays, since names are compared by it."""
    return _NO_XML.sub("", text)
