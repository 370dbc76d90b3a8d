"""One raster file: its bands, and which of its pixels are measured at all."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio._err import CPLE_BaseError
from rasterio.crs import CRS
from rasterio.enums import ColorInterp, MaskFlags, Resampling
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.transform import Affine
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from ..errors import TilthError
from .bands import Band, BandFacts, recognise
from .grid import Grid, compose
from .nodata import declared_valid, fits, may_be_measured

# GDAL's own errors reach us in the open where rasterio makes virtual rasters.
RASTER_FAULTS = (RasterioError, CPLE_BaseError)
RPC_ALONE = (
    "it has rational polynomial coefficients (RPC) and no other georeference; orthorectify it "
    "first, with Warp (reproject) in QGIS or gdalwarp -rpc"
)
# No measurement is as large; what is, is a fill value that the file does not declare.
_ABSURD = 1e15


@dataclass
class Source:
    """An open raster. ``bands`` are what it offers: alpha left out, a palette as three bands.

    ``read`` gives values in the file's own units. Not to be shared between threads.
    """

    path: str
    dataset: rasterio.DatasetReader
    grid: Grid
    georeferenced: bool
    bands: list[Band]
    numbers: list[int]  # the file's band of each entry of ``bands``, counted from 1
    alpha: int = 0
    palette: np.ndarray | None = None  # [256, 4] uint8
    nodata: list[float | None] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    parents: list[rasterio.DatasetReader] = field(default_factory=list)
    # The last band is the file's mask, resampled: beside nodata values GDAL leaves masks out.
    cover: WarpedVRT | None = None

    @property
    def by_rpc_alone(self) -> bool:
        """Whether polynomials alone say where the file lies: as it is, it has no place."""
        return not self.georeferenced and self.dataset.rpcs is not None

    @property
    def can_have_gaps(self) -> bool:
        """Whether some pixels may be invalid (no need to read values to know otherwise)."""
        if self.alpha or self.palette is not None or self._masked:
            return True
        kinds = {np.dtype(name).kind for name in self.dataset.dtypes}
        return kinds != {"u"} or any(value is not None for value in self.nodata)

    @property
    def _masked(self) -> bool:
        return any(self._mask_of(number) for number in self.numbers)

    def _mask_of(self, number: int) -> bool:
        """Whether the band has a mask of its own, beside nodata and alpha."""
        flags = self.dataset.mask_flag_enums[number - 1]
        by_dataset = MaskFlags.per_dataset in flags and MaskFlags.alpha not in flags
        return by_dataset or not flags

    def read(self, window: Window, wanted: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Values float32 [C, H, W] of the ``wanted`` bands (0-based), and valid bool [H, W].

        ``window`` lies inside the file. Raises TilthError where the file can't be read.
        """
        try:
            if self.palette is not None:
                return self._read_palette(window, wanted)
            numbers = [self.numbers[index] for index in wanted]
            raw = self._read_bands(numbers, window)
            valid = self._read_mask(window, numbers)
        except RASTER_FAULTS as error:
            raise _damaged(self.path, error) from None
        values = np.stack(raw, dtype=np.float32, casting="unsafe")
        for_each = [self.nodata[index] for index in wanted]
        valid &= declared_valid(raw, for_each)
        valid &= np.all(np.isfinite(values) & (np.abs(values) < _ABSURD), axis=0)
        return values, valid

    def _read_bands(self, numbers: Sequence[int], window: Window) -> list[np.ndarray]:
        """The bands [H, W] in their own types, which may differ in a virtual raster."""
        if len({self.dataset.dtypes[number - 1] for number in numbers}) == 1:
            return list(self.dataset.read(numbers, window=window))
        return [self.dataset.read(number, window=window) for number in numbers]

    def _read_palette(self, window: Window, wanted: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        palette = self.palette
        index = self.dataset.read(1, window=window)
        colours = palette[np.clip(index, 0, 255)] if palette is not None else index
        values = np.moveaxis(colours[..., list(wanted)], -1, 0).astype(np.float32)
        valid = (colours[..., 3] > 0) & self._read_mask(window, [1])
        return values, valid & declared_valid([index], self.nodata[:1])

    def _read_mask(self, window: Window, numbers: Sequence[int]) -> np.ndarray:
        valid = np.ones((int(window.height), int(window.width)), bool)
        if self.alpha:
            valid &= self.dataset.read(self.alpha, window=window) > 0
        if self.cover is not None:
            valid &= self.cover.read(self.cover.count, window=window) > 0
        masks = {number for number in numbers if self._mask_of(number)}
        if masks and MaskFlags.per_dataset in self.dataset.mask_flag_enums[min(masks) - 1]:
            masks = {min(masks)}
        for number in masks:
            valid &= self.dataset.read_masks(number, window=window) > 0
        return valid

    def on_grid(self, grid: Grid, *, nearest: bool = False) -> Source:
        """The same bands on another grid; where the file does not reach, pixels are invalid.

        Nearest neighbour where the pixels only need a shift of whole pixels (or on demand), else
        bilinear.
        """
        if self.grid.same_pixels(grid):
            return self
        both = self.grid.crs and grid.crs
        # GDAL wants some system on both sides; equal ones cancel out.
        plane = CRS.from_epsg(3857)
        warped = self._warped(
            "for the stack",
            Resampling.nearest if nearest else self._resampling(grid),
            src_crs=self.grid.crs if both else plane,
            src_transform=None if both else self.grid.transform,
            crs=grid.crs if both else plane,
            transform=grid.transform,
            width=grid.width,
            height=grid.height,
        )
        warped.grid = grid
        return warped

    def by_points(self, *, nearest: bool = False) -> Source:
        """The same bands where the file's control points say that they lie."""
        crs = self.dataset.gcps[1]
        resampling = Resampling.nearest if nearest or self._unblendable else Resampling.bilinear
        try:
            warped = self._warped("by its control points", resampling, src_crs=crs, crs=crs)
        except RASTER_FAULTS as error:
            raise TilthError(
                f"{self.path}: its control points can't be used ({error}); georeference it again"
            ) from None
        warped.grid, warped.georeferenced = _grid(warped.dataset)
        return warped

    def _warped(self, why: str, resampling: Resampling, **place: Any) -> Source:
        """The bands resampled to a place; gaps are those of the file, and what it doesn't reach."""
        if self.alpha == 0 and _alpha_numbers(self.dataset):
            raise _no_transparency(self.path, why)
        options: dict[str, Any] = {}
        if np.dtype(self.dataset.dtypes[0]).kind == "f" and self.dataset.nodata is None:
            options["src_nodata"] = float("nan")
        if self._gaps_told_twice:
            # Else GDAL moves what is nodata, but not transparent, to the next value beside it.
            options["src_nodata"] = None
        by_band = self._gaps_by_band
        if by_band:
            # Else GDAL takes only what is nodata in all bands for a gap, and blends the rest in.
            options["UNIFIED_SRC_NODATA"] = "PARTIAL"
        warped = WarpedVRT(
            self.dataset,
            add_alpha=self.alpha == 0 and not by_band,
            resampling=resampling,
            **place,
            **options,
        )
        result = Source(**{**self.__dict__, "dataset": warped}).with_parent(self.dataset)
        result.alpha = 0 if by_band else self.alpha or warped.count
        if self.cover is not None or (self._masked and self._gaps_told_twice):
            result.cover = WarpedVRT(
                self.cover or self.dataset,
                add_alpha=self.cover is None,
                UNIFIED_SRC_NODATA="NO",
                **place,
            )
            result = result.with_parent(result.cover)
        return result

    def with_parent(self, parent: rasterio.DatasetReader) -> Source:
        """Remember a dataset that ``dataset`` reads from, so that closing closes it too."""
        self.parents = [*self.parents, parent]
        return self

    @property
    def _gaps_by_band(self) -> bool:
        """Whether one nodata value alone tells the gaps, in each band for itself."""
        value, dtype = self.nodata[0], np.dtype(self.dataset.dtypes[0])
        if value is None or self._several_nodata or self.alpha or self._masked:
            return False
        return fits(value, dtype) and not may_be_measured(value, dtype)

    @property
    def _unblendable(self) -> bool:
        """Whether what lies between two values is none: of a palette, and where GDAL is not told of
        all nodata values (of several ones rasterio tells it one alone)."""
        return self.palette is not None or self._several_nodata or self._gaps_told_twice

    @property
    def _gaps_told_twice(self) -> bool:
        """Whether there are nodata values beside transparency or a mask."""
        return bool(self.alpha or self._masked) and any(v is not None for v in self.nodata)

    @property
    def _several_nodata(self) -> bool:
        # As text, since what is no number is not equal to itself.
        return len({str(value) for value in self.nodata}) > 1

    def _resampling(self, grid: Grid) -> Resampling:
        across = compose(~self.grid.transform, grid.transform)
        whole = all(abs(value - round(value)) < 0.01 for value in (across.c, across.f))
        unit = all(
            abs(value - one) < 1e-6
            for value, one in zip(
                (across.a, across.b, across.d, across.e), (1, 0, 0, 1), strict=True
            )
        )
        same_crs = self.grid.crs == grid.crs or not (self.grid.crs and grid.crs)
        exact = self._unblendable or (same_crs and whole and unit)
        return Resampling.nearest if exact else Resampling.bilinear

    def close(self) -> None:
        """Close the file."""
        for dataset in (self.dataset, *reversed(self.parents)):
            dataset.close()


def open_source(path: str, *, palette: bool = True) -> Source:
    """Open a raster file; with ``palette`` a palette image offers red, green and blue.

    Raises TilthError where it is missing, damaged, without bands, or complex.
    """
    dataset = _open(path)
    _check_bands(path, dataset)
    told: list[str] = []
    colours = _palette(dataset) if palette else None
    alpha = _alpha(dataset, told, path)
    if colours is not None:
        bands = [Band("Red", 660.0), Band("Green", 560.0), Band("Blue", 485.0)]
        numbers = [1, 1, 1]
    else:
        numbers = [number for number in dataset.indexes if number != alpha]
        bands = _bands(dataset, numbers, path)
    nodata = [dataset.nodatavals[number - 1] for number in numbers]
    source = Source(path, dataset, *_grid(dataset), bands, numbers, alpha, colours, nodata, told)
    if dataset.gcps[0] and dataset.transform == Affine.identity():
        # What lies between two codes is a third one.
        source = source.by_points(nearest=not palette)
    if source.grid.transform.determinant == 0:
        raise TilthError(f"{path}: its georeference is broken (pixels without a size); mend it")
    if source.by_rpc_alone:
        told.append(f"{path}: {RPC_ALONE}: until then its pixels are taken as coordinates")
    elif not source.georeferenced:
        told.append(f"{path}: it has no georeference; its pixels are taken as coordinates")
    elif source.grid.crs is None:
        told.append(f"{path}: it has no coordinate system")
    return source


def _open(path: str) -> rasterio.DatasetReader:
    try:
        with warnings.catch_warnings():
            # Told in words of ours, where it matters.
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            return rasterio.open(path)
    except RASTER_FAULTS as error:
        if "://" not in path and not path.startswith("/vsi") and not Path(path).exists():
            raise TilthError(f"{path}: the image does not exist; check the path") from None
        reason = str(error).replace(path, "").strip(" :'")
        raise TilthError(
            f"{path}: it can't be opened as an image ({reason}); give a raster that GDAL reads"
        ) from None


def _no_transparency(path: str, why: str) -> TilthError:
    return TilthError(
        f"{path}: its last band is tagged as transparency but holds values, and it has to be "
        f"resampled {why}; save it without an alpha band"
    )


def _damaged(path: str, error: Exception) -> TilthError:
    return TilthError(f"{path}: the file is damaged: {error}")


def _check_bands(path: str, dataset: rasterio.DatasetReader) -> None:
    if dataset.count == 0:
        parts = ", ".join(dataset.subdatasets[:5]) or "none"
        dataset.close()
        raise TilthError(f"{path}: it holds no bands itself; give one of its parts: {parts}")
    complex_bands = [name for name in dataset.dtypes if "complex" in name]
    if complex_bands:
        dataset.close()
        raise TilthError(
            f"{path}: its values are complex numbers ({complex_bands[0]}); make an image of their "
            "amplitude or intensity first"
        )


def _grid(dataset: rasterio.DatasetReader) -> tuple[Grid, bool]:
    transform = dataset.transform
    georeferenced = transform != Affine.identity()
    if not georeferenced:
        # Where QGIS shows such an image: x to the right from 0, y downwards to minus the height.
        transform = Affine(1, 0, 0, 0, -1, 0)
    crs = dataset.crs if dataset.crs else None
    return Grid(crs, transform, dataset.width, dataset.height), georeferenced


def _palette(dataset: rasterio.DatasetReader) -> np.ndarray | None:
    """The colour table [256, 4] of a one-band palette image."""
    alone = dataset.count - len(_alpha_numbers(dataset)) == 1
    kind = (dataset.colorinterp[0], dataset.dtypes[0])
    if not alone or kind != (ColorInterp.palette, "uint8"):
        return None
    try:
        entries = dataset.colormap(1)
    except ValueError:
        return None
    table = np.zeros((256, 4), np.uint8)
    for value, colour in entries.items():
        if 0 <= value <= 255:
            table[value] = colour
    return table


def _alpha_numbers(dataset: rasterio.DatasetReader) -> list[int]:
    return [
        number
        for number, colour in zip(dataset.indexes, dataset.colorinterp, strict=True)
        if colour == ColorInterp.alpha
    ]


def _alpha(dataset: rasterio.DatasetReader, told: list[str], path: str) -> int:
    """The number of the band that is really transparency, or 0.

    GDAL tags the fourth of four byte bands as alpha unless told otherwise, so many red, green,
    blue, near-infrared images carry the tag: a band that is neither clear nor opaque over most of
    the image is no transparency.
    """
    tagged = _alpha_numbers(dataset)
    if not tagged or dataset.count == 1:
        return 0
    number = tagged[-1]
    text = (dataset.descriptions[number - 1] or "").lower()
    shape = (min(256, dataset.height), min(256, dataset.width))
    try:
        values = dataset.read(number, out_shape=shape)
    except RASTER_FAULTS as error:
        raise _damaged(path, error) from None
    full = {"uint8": 255, "uint16": 65535}.get(dataset.dtypes[number - 1], values.max(initial=1))
    extreme = np.mean((values == 0) | (values >= full))
    if extreme >= 0.5 and not any(word in text for word in ("nir", "infrared")):
        return number
    told.append(f"{path}: band {number} is tagged as transparency but is used as a band")
    return 0


def _bands(dataset: rasterio.DatasetReader, numbers: Sequence[int], path: str) -> list[Band]:
    facts = []
    for number in numbers:
        tags = _lower(dataset.tags(number))
        for domain in ("IMAGERY", "ENVI"):
            tags.update(_lower(dataset.tags(number, ns=domain)))
        facts.append(
            BandFacts(
                dataset.descriptions[number - 1] or "",
                tags,
                dataset.colorinterp[number - 1].name.lower(),
            )
        )
    tags = {**_lower(dataset.tags()), **_lower(dataset.tags(ns="ENVI"))}
    dtype = dataset.dtypes[numbers[0] - 1]
    return recognise(facts, path=path, dtype=dtype, tags=tags)


def _lower(tags: dict[str, str]) -> dict[str, str]:
    return {key.lower(): value for key, value in tags.items()}
