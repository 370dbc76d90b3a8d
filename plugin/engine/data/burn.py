"""Labels as pixels: class codes and object ids of a window, and the counts over an image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import rasterio.features
import shapely
from rasterio.transform import Affine
from rasterio.windows import Window

from .grid import Grid
from .imagery import Image
from .label_model import LabelPolygon, Labels

_TILE = 512
# From so many points on, cutting a polygon to the window is cheaper than burning all of it.
_MANY_POINTS = 200
_BATCH = 20_000  # shapes at a time
_DUST = 1e-6  # pixels
_MOST_CENTRES = 400  # pixel centres to test one by one in a shape's box


def rasterise(labels: Labels, image: int, window: Window) -> tuple[np.ndarray, np.ndarray]:
    """Class codes uint16 [H, W] (0 = unlabelled) and object ids int32 [H, W] (0 = none).

    A pixel belongs to the polygon that holds its centre. Pixels in polygons of different classes
    are unlabelled; a polygon lies over the background of a labelled area. The window may reach
    outside the image, where nothing is labelled.
    """
    codes, ids, _ = _burn(labels, image, window)
    return codes, ids


def find_spots(labels: Labels) -> int:
    """Let a pixel stand for each polygon, or part of one, without a pixel's centre; how many."""
    drawn = [p for p in labels.polygons if not labels.has_regions(p.image) or p.background]
    if not drawn:
        return 0
    shapes = np.array([polygon.pixel_geometry for polygon in drawn], dtype=object)
    parts, owner = shapely.get_parts(shapes, return_index=True)
    tiny = _may_be_tiny(parts)
    small = np.flatnonzero(tiny)
    tiny[small] = ~_holds_a_centre(
        parts[small], [labels.grids[drawn[i].image] for i in owner[small]]
    )
    count = 0
    for index in np.unique(owner[tiny]):
        polygon = drawn[int(index)]
        first, end = np.searchsorted(owner, (index, index + 1))
        mine, without = parts[first:end], tiny[first:end]
        spots = _spots(mine[without], labels.grids[polygon.image], alone=bool(without.all()))
        polygon.labelled = shapely.union_all([*mine[~without], *spots])
        count += len(spots)
    return count


def _spots(parts: np.ndarray, grid: Grid, *, alone: bool) -> np.ndarray:
    """For each part a square inside the pixel that stands for it.

    Parts outside of the image, and the dust that a mended ring leaves, have none; only where the
    parts are ``alone`` is there one in any case.
    """
    inside = shapely.intersection(parts, shapely.box(0, 0, grid.width, grid.height))
    areas = shapely.area(inside)
    kept = areas > _DUST
    if alone and not kept.any():
        kept[np.argmax(areas)] = True
    points = shapely.get_coordinates(shapely.point_on_surface(inside[kept]))
    left, top = np.clip(np.floor(points), 0, (grid.width - 1, grid.height - 1)).T
    return shapely.box(left + 0.25, top + 0.25, left + 0.75, top + 0.75)


def count_pixels(labels: Labels, images: Sequence[Image]) -> tuple[int, int]:
    """Set every polygon's ``pixels`` to its labelled, measured ones.

    Returns how many pixels were left out because classes overlap, and how many labelled ones the
    image has no data for.
    """
    conflicts = gaps = 0
    most = max((polygon.id for polygon in labels.polygons), default=0)
    for index, image in enumerate(images):
        counts = np.zeros(most + 1, np.int64)
        for window in labelled_windows(labels, index):
            _, ids, torn = _burn(labels, index, window)
            conflicts += torn
            labelled = ids > 0
            if not labelled.any():
                continue
            measured = image.valid(window)
            gaps += int(np.count_nonzero(labelled & ~measured))
            counts += np.bincount(ids[labelled & measured], minlength=most + 1)
        for polygon in labels.of_image(index):
            polygon.pixels = int(counts[polygon.id])
    return conflicts, gaps


def labelled_windows(labels: Labels, image: int, tile: int = _TILE) -> Iterator[Window]:
    """Windows that tile the part of the image with labels, row by row."""
    grid = labels.grids[image]
    for row in range(0, grid.height, tile):
        for col in range(0, grid.width, tile):
            width, height = min(tile, grid.width - col), min(tile, grid.height - row)
            if labels.touching(image, (col, row, col + width, row + height)):
                yield Window(col, row, width, height)


def _burn(labels: Labels, image: int, window: Window) -> tuple[np.ndarray, np.ndarray, int]:
    """Codes, ids, and how many pixels lie in polygons of different classes."""
    col, row = round(window.col_off), round(window.row_off)
    width, height = round(window.width), round(window.height)
    mine = labels.touching(image, (col - 1, row - 1, col + width + 1, row + height + 1))
    regions = labels.regions[image] if labels.regions else None
    drawn = [polygon for polygon in mine if not polygon.background]
    if regions is not None:
        codes, ids = regions.read(col, row, width, height)
        torn = np.zeros(codes.shape, bool)
    else:
        codes, ids, torn = _burn_classes(drawn, (col, row, width, height))
    areas = [polygon for polygon in mine if polygon.background]
    if areas:
        ground = _burn_ids(areas, (col, row, width, height))
        free = (ground > 0) & (codes == 0) & ~torn
        ids[free] = ground[free]
        codes[free] = areas[0].code
    _clear_outside(labels, image, (col, row), codes, ids, torn)
    return codes, ids, int(np.count_nonzero(torn))


def _burn_classes(
    drawn: Sequence[LabelPolygon], box: tuple[int, int, int, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    _, _, width, height = box
    codes = np.zeros((height, width), np.uint16)
    ids = np.zeros((height, width), np.int32)
    torn = np.zeros((height, width), bool)
    for code in sorted({polygon.code for polygon in drawn}):
        burnt = _burn_ids([polygon for polygon in drawn if polygon.code == code], box)
        hit = burnt > 0
        torn |= hit & (codes > 0)
        ids[hit], codes[hit] = burnt[hit], code
    codes[torn], ids[torn] = 0, 0
    return codes, ids, torn


def _burn_ids(polygons: Sequence[LabelPolygon], box: tuple[int, int, int, int]) -> np.ndarray:
    """The ids of polygons of one class [H, W]; where they overlap, the last one's."""
    col, row, width, height = box
    shapes = []
    for polygon in polygons:
        shape = polygon.labelled
        if shapely.get_num_coordinates(shape) > _MANY_POINTS:
            shape = _cut(shape, (col - 1, row - 1, col + width + 1, row + height + 1))
        if not shape.is_empty:
            shapes.append((shape, polygon.id))
    if not shapes:
        return np.zeros((height, width), np.int32)
    return rasterio.features.rasterize(
        shapes,
        out_shape=(height, width),
        transform=Affine.translation(col, row),
        dtype="int32",
    )


def _cut(shape, box: tuple[float, float, float, float]):
    """The polygons of ``shape`` within the box."""
    part = shapely.clip_by_rect(shape, *box)
    if shapely.get_type_id(part) in (3, 6):
        return part
    polygons = [piece for piece in shapely.get_parts(part) if shapely.get_type_id(piece) == 3]
    return shapely.MultiPolygon(polygons)  # also of none: only the box of the shape lies here


def _clear_outside(
    labels: Labels, image: int, origin: tuple[int, int], *arrays: np.ndarray
) -> None:
    """Nothing is labelled outside of the image."""
    grid = labels.grids[image]
    height, width = arrays[0].shape
    columns = np.arange(origin[0], origin[0] + width)
    rows = np.arange(origin[1], origin[1] + height)
    outside_x = (columns < 0) | (columns >= grid.width)
    outside_y = (rows < 0) | (rows >= grid.height)
    for array in arrays:
        array[outside_y, :] = 0
        array[:, outside_x] = 0


def _may_be_tiny(shapes: np.ndarray) -> np.ndarray:
    """Which shapes are so small or so thin that they may hold no pixel's centre."""
    area, length = shapely.area(shapes), shapely.length(shapes)
    return (area < 16) | (area / np.maximum(length, 1e-9) < 0.5)


def _holds_a_centre(shapes: np.ndarray, grids: Sequence[Grid]) -> np.ndarray:
    """Which shapes hold the centre of at least one of their image's pixels inside them: bool [N].

    A centre on the very edge does not count, since burning may leave it out.
    """
    held = np.zeros(len(shapes), bool)
    if len(shapes) == 0:
        return held
    sizes = np.array([(grid.width, grid.height) for grid in grids])
    bounds = shapely.bounds(shapes)
    first = np.maximum(np.ceil(bounds[:, :2] - 0.5), 0).astype(np.int64)
    last = np.minimum(np.floor(bounds[:, 2:] - 0.5), sizes - 1).astype(np.int64)
    counts = np.maximum(last - first + 1, 0)
    for start in range(0, len(shapes), _BATCH):
        part = slice(start, start + _BATCH)
        few = np.prod(counts[part], axis=1) <= _MOST_CENTRES
        owner, points = _centres(first[part][few], counts[part][few])
        chosen = np.flatnonzero(few) + start
        inside = shapely.contains_xy(shapes[chosen][owner], points[:, 0], points[:, 1])
        held[chosen[owner[inside]]] = True
        for index in np.flatnonzero(~few) + start:
            held[index] = _burns(shapes[index], *sizes[index])
    return held


def _centres(first: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All pixel centres [M, 2] of boxes of pixels, and the box [M] that each belongs to."""
    total = counts[:, 0] * counts[:, 1]
    owner = np.repeat(np.arange(len(first)), total)
    number = np.arange(int(total.sum())) - np.repeat(np.cumsum(total) - total, total)
    across = np.maximum(counts[owner, 0], 1)
    offset = np.column_stack([number % across, number // across])
    return owner, first[owner] + offset + 0.5


def _burns(shape, width: int, height: int) -> bool:
    """The same for one large, thin shape."""
    left, top, right, bottom = shape.bounds
    left, top = max(int(np.floor(left)), 0), max(int(np.floor(top)), 0)
    right, bottom = min(int(np.ceil(right)), width), min(int(np.ceil(bottom)), height)
    if right <= left or bottom <= top:
        return False
    burnt = rasterio.features.rasterize(
        [(shape, 1)],
        out_shape=(bottom - top, right - left),
        transform=Affine.translation(left, top),
        dtype="uint8",
    )
    return bool(burnt.any())
