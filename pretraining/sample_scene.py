"""Writes the sample scene in resources/sample: a generated Sentinel-2-like image with polygons.

    python pretraining/sample_scene.py

The same seed gives the same pixels and polygons, and with the same libraries the same bytes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyogrio
import rasterio
import shapely
from covers import CLASSES, Country
from engine import ROOT
from fields import Array
from landscape import Landscape, make_landscape
from numpy.typing import NDArray
from outline import outline
from rasterio.transform import from_origin
from scipy.ndimage import binary_closing, distance_transform_edt
from sensors import Sensor, observe
from spectra import draw_library

FOLDER = ROOT / "resources" / "sample"
SEED = 17
SIZE = 384
CRS = "EPSG:32632"
TRANSFORM = from_origin(498_000, 5_352_000, 10, 10)
BANDS = {
    "B02": (492, 66, False),
    "B03": (560, 36, False),
    "B04": (665, 31, False),
    "B05": (704, 15, True),
    "B08": (833, 106, False),
    "B8A": (865, 21, True),
    "B11": (1614, 91, True),
    "B12": (2202, 175, True),
}
COUNTRY = Country(
    {"broadleaf forest": 2, "grassland": 2.5, "conifer forest": 2}, farms=0.8, towns=0.35, water=0.4
)
# What the analyst of the sample tells apart, in the order of the codes 1, 2, ...
LEGEND = {
    "bare soil": ("bare field", "ripe crop", "rock", "sand"),
    "broadleaf forest": ("broadleaf forest",),
    "built-up": ("building", "paved"),
    "conifer forest": ("conifer forest",),
    "crops": ("growing crop",),
    "grassland": ("grassland", "shrub", "wetland"),
    "water": ("water",),
}
POLYGONS = 7
REACH = (2.5, 9.0)  # pixels from a polygon's middle to a corner


def make(seed: int = SEED) -> tuple[NDArray[np.uint16], NDArray[np.uint8]]:
    """The sample's image [bands, SIZE, SIZE], reflectance x 10000, and its codes [SIZE, SIZE]."""
    rng = np.random.default_rng(seed)
    landscape = make_landscape(rng, SIZE, 10.0, COUNTRY)
    coarse = tuple(i for i, band in enumerate(BANDS.values()) if band[2])
    bands = tuple((float(band[0]), float(band[1])) for band in BANDS.values())
    sensor = Sensor("sample", bands, (10, 10), coarse)
    image = observe(rng, landscape, draw_library(rng), sensor)
    # Steps of 4 are below the noise, and spare a third of the file.
    counts = np.clip(np.round(image * 2500) * 4, 1, 20000).astype(np.uint16)
    return counts, _codes(landscape)


def draw(rng: np.random.Generator, codes: NDArray[np.uint8]) -> list[tuple[str, shapely.Polygon]]:
    """Polygons as a person would draw them: inside one class, irregular, of a few vertices."""
    drawn: list[tuple[str, shapely.Polygon]] = []
    for code, name in enumerate(LEGEND, start=1):
        room = distance_transform_edt(np.pad(codes == code, 1))[1:-1, 1:-1]
        taken = np.zeros(codes.shape, bool)
        for _ in range(int(rng.integers(POLYGONS - 1, POLYGONS + 2))):
            places = np.argwhere((room > min(2.5, 0.6 * room.max())) & ~taken)
            if not len(places):
                break
            row, column = (int(value) for value in places[rng.integers(len(places))])
            drawn.append((name, outline(rng, codes == code, row, column, REACH, TRANSFORM, 1)))
            taken[max(row - 30, 0) : row + 30, max(column - 30, 0) : column + 30] = True
    return drawn


def _codes(landscape: Landscape) -> NDArray[np.uint8]:
    """Codes 1, 2, ... of `LEGEND` for a landscape's classes; 0 for what isn't in it."""
    table = np.zeros(len(CLASSES), np.uint8)
    for code, names in enumerate(LEGEND.values(), start=1):
        for name in names:
            table[CLASSES.index(name)] = code
    codes = table[landscape.classes]
    # An analyst draws a town with its gardens, not each house.
    built = list(LEGEND).index("built-up") + 1
    town = binary_closing(codes == built, np.ones((3, 3)), iterations=2)
    return np.where(town & (codes != list(LEGEND).index("water") + 1), built, codes)


def write(folder: Path, seed: int = SEED) -> None:
    """Write image.tif, truth.tif and polygons.gpkg into a folder."""
    image, codes = make(seed)
    folder.mkdir(parents=True, exist_ok=True)
    profile = {
        "driver": "GTiff",
        "width": SIZE,
        "height": SIZE,
        "crs": CRS,
        "transform": TRANSFORM,
        "compress": "deflate",
        "zlevel": 9,
        "tiled": True,
        "blockxsize": 128,
        "blockysize": 128,
    }
    with rasterio.open(
        folder / "image.tif",
        "w",
        count=len(BANDS),
        dtype="uint16",
        nodata=0,
        predictor=2,
        interleave="band",
        **profile,
    ) as target:
        target.write(image)
        target.update_tags(scale="0.0001", units="reflectance x 10000, generated")
        for number, (name, band) in enumerate(BANDS.items(), start=1):
            target.set_band_description(number, name)
            target.update_tags(number, wavelength_nm=str(band[0]))
            target.update_tags(
                number,
                ns="IMAGERY",
                CENTRAL_WAVELENGTH_UM=f"{band[0] / 1000:.4f}",
                FWHM_UM=f"{band[1] / 1000:.4f}",
            )
    with rasterio.open(
        folder / "truth.tif", "w", count=1, dtype="uint8", nodata=0, **profile
    ) as target:
        target.write(codes, 1)
        target.set_band_description(1, "class")
    # GDAL keeps a GeoTIFF's category names in a file beside it, and rasterio can't write them.
    names = "".join(f"<Category>{name}</Category>" for name in ("", *LEGEND))
    (folder / "truth.tif.aux.xml").write_text(
        '<PAMDataset><PAMRasterBand band="1">'
        f"<CategoryNames>{names}</CategoryNames></PAMRasterBand></PAMDataset>\n",
        encoding="utf-8",
    )
    _write_polygons(folder / "polygons.gpkg", draw(np.random.default_rng([seed, 1]), codes))


def _write_polygons(path: Path, drawn: list[tuple[str, shapely.Polygon]]) -> None:
    """Write polygons to a GeoPackage, layer "polygons", with a fixed date."""
    path.unlink(missing_ok=True)
    pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": "2026-01-01T00:00:00.000Z"})
    try:
        pyogrio.raw.write(
            path,
            shapely.to_wkb(np.array([polygon for _, polygon in drawn])),
            [np.array([name for name, _ in drawn], dtype=object)],
            np.array(["class"]),
            layer="polygons",
            driver="GPKG",
            geometry_type="Polygon",
            crs=CRS,
        )
    finally:
        pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": None})


def forest_accuracy(image: NDArray[np.uint16], codes: NDArray[np.uint8]) -> float:
    """Overall accuracy over the scene of a random forest on raw bands, trained on the polygons."""
    from rasterio.features import rasterize
    from sklearn.ensemble import RandomForestClassifier

    names = list(LEGEND)
    drawn = draw(np.random.default_rng([SEED, 1]), codes)
    shapes = [(polygon, names.index(name) + 1) for name, polygon in drawn]
    labels = rasterize(shapes, codes.shape, transform=TRANSFORM)
    forest = RandomForestClassifier(60, random_state=0, n_jobs=1)
    forest.fit(image[:, labels > 0].T, labels[labels > 0])
    chosen = np.random.default_rng(0).permutation(np.flatnonzero((labels == 0) & (codes > 0)))
    chosen = chosen[:20000]
    found: Array = forest.predict(image.reshape(len(image), -1)[:, chosen].T)
    return float((found == codes.ravel()[chosen]).mean())


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the sample and say what a random forest makes of it. Gives the exit status."""
    parser = argparse.ArgumentParser(description="Write the sample scene")
    parser.add_argument("--out", type=Path, default=FOLDER)
    parser.add_argument("--score", action="store_true", help="train a random forest on it")
    options = parser.parse_args(arguments)
    write(options.out)
    if options.score:
        print(f"random forest on raw bands: accuracy {forest_accuracy(*make()):.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
