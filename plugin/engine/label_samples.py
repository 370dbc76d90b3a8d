"""The labelled parts of the images, read once and standardised."""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.windows import Window

from .data.burn import rasterise
from .data.unseen import Box
from .events import Reporter
from .prepare import Prepared
from .training.samples import Key, Samples, keys_of


def labelled_samples(ready: Prepared, reporter: Reporter) -> Samples:
    """Read the labelled parts of the images into memory, standardised."""
    samples = Samples(ready.settings.chip, len(ready.inputs.wavelengths))
    lookup = np.zeros(max(ready.codes) + 1, np.uint8)
    lookup[ready.codes] = np.arange(1, len(ready.codes) + 1)
    units = ready.labels.units()
    last = max(units, default=0)
    to_unit = np.arange(last + 1, dtype=np.int32)
    for polygon, unit in units.items():
        to_unit[polygon] = unit
    region = ready.split.region
    near = region.near if region is not None else (None,) * len(ready.images)
    beyond = np.array(sorted({units[id_] for id_ in region.ids} if region else ()), np.int32)

    def read_image(
        image: int, row: int, column: int, size: int
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        window = Window(column, row, size, size)
        return ready.normalisations[image].read(ready.images[image], window)

    def read_labels(
        image: int, row: int, column: int, size: int
    ) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
        codes, ids = rasterise(ready.labels, image, Window(column, row, size, size))
        # A label raster also has the classes of which no pixel is measured.
        gone = ~np.isin(codes, ready.codes)
        codes[gone], ids[gone] = 0, 0
        found = to_unit[ids]
        _set_apart(found, beyond, near[image], row, column)
        return lookup[codes], found

    def step(done: int, of: int) -> None:
        reporter.progress(0.02 + 0.03 * done / of, "Reading the labelled parts of the images")

    keys = _touched(ready, keys_of(_boxes(ready), samples.size), samples.size)
    if not samples.fill(keys, read_image, read_labels, step, ready.settings.seed):
        reporter.warn("labels: they cover more than memory holds; a random part of them is used")
    return samples


def _set_apart(
    units: NDArray[np.int32], beyond: NDArray[np.int32], near: Box | None, row: int, column: int
) -> None:
    """Give the parts of an unseen region's units [S, S] that reach out of it units of their own.

    They are neither trained on, since they belong to what is held out, nor scored, since chips
    have shown them; all the same they are learnt from in the end. Changes ``units`` in place.
    """
    if near is None or not len(beyond):
        return
    rows = np.arange(row, row + units.shape[0])[:, None]
    columns = np.arange(column, column + units.shape[1])
    outside = (columns >= near[0]) & (columns < near[2]) & (rows >= near[1]) & (rows < near[3])
    # No unit is 0, so that the negative numbers are free.
    units[:] = np.where(outside & np.isin(units, beyond), -units, units)


def _boxes(ready: Prepared) -> list[tuple[int, int, int, int, int]]:
    """Each polygon's box in pixels, inside its image."""
    boxes = []
    for polygon in ready.labels.polygons:
        image = ready.images[polygon.image]
        left, top, right, bottom = polygon.labelled.bounds
        row0, column0 = max(int(top), 0), max(int(left), 0)
        row1, column1 = (
            min(int(np.ceil(bottom)), image.height),
            min(int(np.ceil(right)), image.width),
        )
        boxes.append((polygon.image, row0, column0, row1, column1))
    return boxes


def _touched(ready: Prepared, keys: list[Key], size: int) -> list[Key]:
    """Those of the cells of ``size`` pixels that labels touch: a river's box is mostly empty."""
    kept = []
    for image in sorted({key[0] for key in keys}):
        mine = np.array([key for key in keys if key[0] == image])
        top, left = (mine[:, 1:] * size).T
        cells = shapely.box(left, top, left + size, top + size)
        shapes = [polygon.labelled for polygon in ready.labels.of_image(image)]
        found = shapely.STRtree(cells).query(shapes, predicate="intersects")[1]
        kept += [(image, int(row), int(column)) for _, row, column in mine[np.unique(found)]]
    return kept
