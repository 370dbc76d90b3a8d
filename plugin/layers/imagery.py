"""Raster layers as files that the engine can open.

Most layers are files already. The others (servers, databases, formats of QGIS only, layers whose
coordinate system or no-data values were set in QGIS) are read through QGIS and handed over as a
GeoTIFF.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import List, Optional, Sequence

from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsFeedback,
    QgsProviderRegistry,
    QgsRasterLayer,
    QgsUnitTypes,
)

from ..engine.errors import TilthError
from ..engine.jobs import Extent
from . import extents, raster_export

# Formats that every build of the engine's GDAL reads. Others may be there; QGIS surely has them.
_DRIVERS = (
    "AAIGrid", "BMP", "COG", "EHdr", "ENVI", "GTiff", "HDF5", "HDF5Image", "HFA",
    "JPEG", "PCIDSK", "PNG", "RST", "SAGA", "SENTINEL2", "SRTMHGT", "VRT", "netCDF",
)  # fmt: skip
# Archives that GDAL reads files in. All other virtual files are memory of QGIS or the network.
_ARCHIVES = ("/vsizip/", "/vsitar/", "/vsigzip/")
_FIRST_CELL = re.compile(r"<td[^>]*>[^<]*</td>\s*<td[^>]*>([^<]*)</td>")


@dataclass
class ImageDescription:
    """A raster layer in words for the dock."""

    name: str
    bands: List[str]
    size: str
    """Such as "10980 × 10980 pixels"; empty for a layer without pixels of its own (XYZ)."""
    resolution: str
    """Such as "10 m"; empty where it is not known."""
    through_qgis: str
    """Why the layer is exported before the engine can read it; empty where it is read as it is."""
    text: str
    """All in one line."""


def describe(layer: QgsRasterLayer) -> ImageDescription:
    """What the dock says about a layer."""
    own = raster_export.band_names(layer)
    bands = [name or f"Band {number}" for number, name in enumerate(own, start=1)]
    sized = has_end(layer)
    size = f"{layer.width()} × {layer.height()} pixels" if sized else ""
    resolution = _resolution_text(layer) if sized else ""
    count = "1 band" if len(bands) == 1 else f"{len(bands)} bands"
    return ImageDescription(
        name=layer.name(),
        bands=bands,
        size=size,
        resolution=resolution,
        through_qgis=why_export(layer),
        text=", ".join(part for part in (count, size, resolution) if part),
    )


@dataclass
class _Source:
    """One layer: a path, or what has to be exported."""

    path: str = ""
    export: Optional[raster_export.Export] = None


@dataclass
class ImageSnapshot:
    """Raster layers as they were when the user pressed the button."""

    sources: List[_Source] = field(default_factory=list)
    warnings: List[str] = field(default_factory=list)

    @property
    def exports(self) -> int:
        """How many layers have to be read through QGIS first."""
        return sum(source.export is not None for source in self.sources)

    def files(self, folder: Path, feedback: Optional[QgsFeedback] = None) -> List[str]:
        """In a task's thread: the paths for ``job.images``; exports into ``folder`` if need be.

        What could not be read in full is added to ``warnings``. Raises TilthError.
        """
        paths = []
        for number, source in enumerate(self.sources, start=1):
            if source.export is None:
                paths.append(source.path)
                continue
            path = Path(folder) / f"image_{number}.tif"
            self.warnings += raster_export.write(source.export, path, feedback)
            paths.append(str(path))
        return paths


def snapshot(
    layers: Sequence[QgsRasterLayer],
    extent: Optional[Extent] = None,
    resolution: Optional[float] = None,
) -> ImageSnapshot:
    """In the main thread: what is needed to read the layers later in a task's thread.

    ``extent`` matters only for layers that have to be exported, ``resolution`` (metres a pixel on
    the ground) only for those without pixels of their own: an XYZ or WMS layer, which needs at
    least the extent. Raises TilthError.
    """
    if not layers:
        raise TilthError("images: nothing given; pick at least one image")
    return ImageSnapshot([_source(layer, extent, resolution) for layer in layers])


def has_end(layer: QgsRasterLayer) -> bool:
    """Whether the layer has pixels of its own, and can be read whole (XYZ and WMS can't)."""
    return layer.width() > 0 and layer.height() > 0


def why_export(layer: QgsRasterLayer) -> str:
    """Why the engine can't read the layer as it is; empty where it can."""
    if layer.providerType() != "gdal":
        return f"it comes from a source that only QGIS can read ({layer.providerType()})"
    source = layer.source()
    options = QgsProviderRegistry.instance().decodeUri("gdal", source)
    if options.get("openOptions") or options.get("credentialOptions") or options.get("authcfg"):
        return "it is opened with options that were set in QGIS"
    if source.lstrip().startswith("<") or not _is_local(source):
        return "it is not a file on this computer"
    driver = gdal_driver(layer)
    if driver not in _DRIVERS and not driver.startswith("JP2"):
        return f"its format ({driver or 'unknown'}) needs QGIS to be read"
    return _set_in_qgis(layer)


def gdal_driver(layer: QgsRasterLayer) -> str:
    """The short name of the GDAL driver that reads the layer, such as "GTiff"."""
    # PyQGIS tells it here only: in the first row of the provider's description.
    found = _FIRST_CELL.search(layer.dataProvider().htmlMetadata())
    return found.group(1).strip() if found else ""


def _source(
    layer: QgsRasterLayer, extent: Optional[Extent], resolution: Optional[float]
) -> _Source:
    if layer is None or not layer.isValid():
        name = layer.name() if layer is not None else ""
        raise TilthError(
            f"image: the layer {name!r} can't be read; its source is missing or broken. "
            "Repair the layer in QGIS or pick another one"
        )
    if not why_export(layer):
        return _Source(path=_absolute(layer.source()))
    box = None
    if extent is not None:
        crs = QgsCoordinateReferenceSystem(extent.crs) if extent.crs else layer.crs()
        box = extents.to_crs(extents.rectangle_of(extent), crs, layer.crs())
    return _Source(export=raster_export.plan(layer, box, resolution))


def _is_local(source: str) -> bool:
    """Whether another process on this computer finds the source."""
    return all(prefix in _ARCHIVES for prefix in re.findall(r"/vsi[a-z0-9_]+/?", source))


def _absolute(source: str) -> str:
    path = Path(source)
    return str(path.absolute()) if not source.startswith("/vsi") and path.exists() else source


def _set_in_qgis(layer: QgsRasterLayer) -> str:
    """What the user set in QGIS that the file does not say; empty where there is nothing."""
    provider = layer.dataProvider()
    if layer.crs().isValid() and not extents.same_crs(layer.crs(), provider.crs()):
        return "its coordinate system was set in QGIS"
    if any(provider.userNoDataValues(band) for band in range(1, layer.bandCount() + 1)):
        return "its no-data values were set in QGIS"
    return ""


def _resolution_text(layer: QgsRasterLayer) -> str:
    """The size of a pixel with its unit."""
    if not layer.crs().isValid():
        return ""
    unit = QgsUnitTypes.toAbbreviatedString(layer.crs().mapUnits())
    across, down = layer.rasterUnitsPerPixelX(), layer.rasterUnitsPerPixelY()
    if abs(across - down) <= 0.001 * across:
        return f"{across:.4g} {unit}"
    return f"{across:.4g} × {down:.4g} {unit}"
