"""What labels are: classes, and polygons (or a label raster's regions) on images' pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import shapely

from .grid import Grid
from .groups import UnionFind, join_overlapping
from .regions import Regions


@dataclass
class ClassInfo:
    """A class. ``code`` is its number in maps, ``value`` the class field's value as text.

    ``pixels`` are the labelled, measured ones; ``polygons`` the drawn objects (of a label raster:
    connected regions). ``validated`` is whether part of it can be held out.
    """

    code: int
    name: str
    value: str
    colour: str
    polygons: int = 0
    pixels: int = 0
    validated: bool = True

    def to_json(self) -> dict[str, Any]:
        """The class entry of cards and results."""
        return dict(self.__dict__)


@dataclass
class LabelPolygon:
    """One drawn object on one image. An object that lies on two scenes has one id, twice.

    ``geometry`` is in the image's coordinates, ``pixel_geometry`` in (column, row). ``labelled``
    is the latter too, but with a square inside the pixel that stands for it in place of each part
    that holds no pixel's centre. A ``background`` one is a labelled area.
    """

    geometry: Any
    pixel_geometry: Any
    code: int
    image: int
    id: int
    pixels: int = 0
    background: bool = False
    labelled: Any = None

    def __post_init__(self) -> None:
        if self.labelled is None:
            self.labelled = self.pixel_geometry


@dataclass
class Labels:
    """Classes and polygons on one or several images, and what to tell about them.

    ``regions`` has an entry for each image: the label raster on its grid, or None.
    """

    classes: list[ClassInfo]
    polygons: list[LabelPolygon]
    grids: list[Grid]
    warnings: list[str] = field(default_factory=list)
    regions: list[Regions | None] = field(default_factory=list)
    _trees: dict[int, tuple[shapely.STRtree, list[LabelPolygon]]] = field(
        default_factory=dict, repr=False
    )

    @property
    def ids(self) -> list[int]:
        """All ids, sorted."""
        return sorted({polygon.id for polygon in self.polygons})

    def polygons_a_class(self) -> float:
        """The mean number of drawn objects a class."""
        return sum(entry.polygons for entry in self.classes) / max(len(self.classes), 1)

    def of_image(self, image: int) -> list[LabelPolygon]:
        """The polygons on an image."""
        return [polygon for polygon in self.polygons if polygon.image == image]

    def class_of(self, code: int) -> ClassInfo:
        """The class with a code."""
        return next(entry for entry in self.classes if entry.code == code)

    def touching(self, image: int, box: tuple[float, float, float, float]) -> list[LabelPolygon]:
        """The polygons whose surroundings meet a box of (column, row) on an image, in order."""
        if image not in self._trees:
            mine = self.of_image(image)
            shapes = np.array([polygon.pixel_geometry for polygon in mine], dtype=object)
            self._trees[image] = (shapely.STRtree(shapes), mine)
        tree, mine = self._trees[image]
        return [mine[index] for index in np.sort(tree.query(shapely.box(*box)))]

    def units(self) -> dict[int, int]:
        """For each id the unit that a split must not tear apart.

        Objects of one class that share ground are one unit; a labelled area is one with all that
        is drawn in it.
        """
        sets = UnionFind(polygon.id for polygon in self.polygons)
        for image in range(len(self.grids)):
            mine = [p for p in self.of_image(image) if p.background or not self.has_regions(image)]
            kinds = [0 if polygon.background else polygon.code for polygon in mine]
            shapes = np.array([polygon.pixel_geometry for polygon in mine], dtype=object)
            join_overlapping(sets, [polygon.id for polygon in mine], kinds, shapes)
            if self.has_regions(image):
                _join_regions(sets, self.of_image(image))
        return {polygon.id: sets.find(polygon.id) for polygon in self.polygons}

    def has_regions(self, image: int) -> bool:
        """Whether an image's labels are a raster's regions."""
        return bool(self.regions) and self.regions[image] is not None


def _join_regions(sets: UnionFind, polygons: Sequence[LabelPolygon]) -> None:
    """Join the regions of a label raster with the labelled areas that they meet."""
    areas = [polygon for polygon in polygons if polygon.background]
    regions = [polygon for polygon in polygons if not polygon.background]
    if not areas or not regions:
        return
    tree = shapely.STRtree([polygon.pixel_geometry for polygon in regions])
    for area in areas:
        for index in tree.query(area.pixel_geometry, predicate="intersects"):
            sets.join(area.id, regions[int(index)].id)
