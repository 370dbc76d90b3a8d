"""What the user has chosen, and what is plainly missing in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import List, Optional

from qgis.core import QgsRasterLayer, QgsVectorLayer
from qgis.PyQt.QtCore import QCoreApplication

from ..engine.errors import TilthError


def _tr(text: str) -> str:
    return QCoreApplication.translate("Choices", text)


@dataclass
class LabelChoice:
    """The Labels page: images, and polygons with a class field or a label raster."""

    images: List[QgsRasterLayer] = field(default_factory=list)
    stack: bool = False
    polygons: bool = True
    layer: Optional[QgsVectorLayer] = None
    class_field: str = ""
    only_selected: bool = False
    area: Optional[QgsVectorLayer] = None
    raster: Optional[QgsRasterLayer] = None

    def lacks_selection(self) -> str:
        """What to do where only selected polygons are wanted, and there are none; else empty."""
        if not self.only_selected or self.layer is None or self.layer.selectedFeatureCount():
            return ""
        return _tr(
            "Nothing is selected in “{}”: select polygons, or untick “Only selected features”."
        ).format(self.layer.name())

    def check(self) -> None:
        """Raise TilthError where something is missing."""
        if not self.images:
            raise TilthError(_tr("No image is chosen: add one under Images on the Labels page."))
        _check_images(self.images)
        if not self.polygons:
            self._check_raster()
            return
        if self.layer is None:
            raise TilthError(
                _tr("No label layer is chosen: pick a polygon layer on the Labels page, or make")
                + " "
                + _tr("one with “New label layer…”.")
            )
        if not self.layer.isValid():
            raise TilthError(_unusable(self.layer.name()))
        if not self.class_field:
            raise TilthError(
                _tr(
                    "The label layer “{}” has no class field chosen: pick the field that holds"
                ).format(self.layer.name())
                + " "
                + _tr("each polygon's class.")
            )
        if self.lacks_selection():
            raise TilthError(self.lacks_selection())

    def _check_raster(self) -> None:
        if self.raster is None:
            raise TilthError(_tr("No label raster is chosen: pick one on the Labels page."))
        if not self.raster.isValid():
            raise TilthError(_unusable(self.raster.name()))


def _check_images(images: List[QgsRasterLayer]) -> None:
    for image in images:
        if not image.isValid():
            raise TilthError(_unusable(image.name()))
        if not image.crs().isValid():
            raise TilthError(
                _tr(
                    "The image “{}” has no coordinate reference system: set it in the layer's"
                ).format(image.name())
                + " "
                + _tr("properties, under Source.")
            )


def check_image(image: Optional[QgsRasterLayer]) -> None:
    """Raise TilthError where there is no image to map, or it can't be used."""
    if image is None:
        raise TilthError(_tr("No image is chosen: pick the raster layer to map."))
    _check_images([image])


def _unusable(name: str) -> str:
    return _tr("The layer “{}” can't be read: its file is missing or damaged.").format(name)
