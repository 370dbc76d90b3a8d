"""Extents of the canvas, a rectangle or a layer, on an image."""

from __future__ import annotations

import pytest
from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsFeature,
    QgsGeometry,
    QgsRectangle,
    QgsVectorLayer,
)
from tilth.plugin.engine.errors import TilthError
from tilth.plugin.layers import extents

UTM = QgsCoordinateReferenceSystem("EPSG:32630")
DEGREES = QgsCoordinateReferenceSystem("EPSG:4326")


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    from osgeo import gdal, osr
    from qgis.core import QgsRasterLayer

    path = tmp_path_factory.mktemp("image") / "image.tif"
    data = gdal.GetDriverByName("GTiff").Create(str(path), 100, 100)
    data.SetGeoTransform((500000, 10, 0, 6001000, 0, -10))
    system = osr.SpatialReference()
    system.ImportFromEPSG(32630)
    data.SetProjection(system.ExportToWkt())
    del data
    return QgsRasterLayer(str(path), "scene", "gdal")


def sides(extent):
    return extent.xmin, extent.ymin, extent.xmax, extent.ymax


def test_a_rectangle_is_cut_to_the_image(image):
    extent = extents.on_image(QgsRectangle(500500, 6000500, 509000, 6009000), UTM, image)
    assert sides(extent) == (500500, 6000500, 501000, 6001000)
    assert extent.crs == "EPSG:32630"


def test_a_rectangle_in_another_crs(image):
    box = QgsRectangle(-2.9995, 54.1485, -2.998, 54.151)
    extent = extents.on_image(box, DEGREES, image)
    assert extent.crs == "EPSG:32630"
    assert extent.xmin == pytest.approx(500032, abs=2)
    assert extent.xmax == pytest.approx(500131, abs=2)
    assert (extent.ymin, extent.ymax) == pytest.approx((6000044, 6000322), abs=2)


@pytest.mark.parametrize(
    ("box", "crs"),
    [
        (QgsRectangle(0, 0, 1, 1), UTM),
        (QgsRectangle(10, 10, 11, 11), DEGREES),
        (QgsRectangle(500500, 6000500, 500500, 6000600), UTM),
        (QgsRectangle(), UTM),
    ],
)
def test_a_rectangle_that_misses_the_image_is_refused(image, box, crs):
    with pytest.raises(TilthError, match="outside the image 'scene'"):
        extents.on_image(box, crs, image)


def test_a_rectangle_that_has_no_place_in_the_images_crs(image):
    mars = QgsCoordinateReferenceSystem.fromProj("+proj=longlat +a=3396190 +b=3376200 +no_defs")
    with pytest.raises(TilthError, match="extent: "):
        extents.on_image(QgsRectangle(1e30, 1e30, 2e30, 2e30), mars, image)


def test_an_image_without_a_crs_takes_coordinates_as_they_are(image):
    bare = image.clone()
    bare.setCrs(QgsCoordinateReferenceSystem())
    extent = extents.on_image(QgsRectangle(500500, 6000500, 500600, 6000600), UTM, bare)
    assert sides(extent) == (500500, 6000500, 500600, 6000600) and extent.crs == ""


def test_a_layers_extent(image):
    layer = QgsVectorLayer("Polygon?crs=EPSG:4326", "area", "memory")
    with pytest.raises(TilthError, match="'area' is empty"):
        extents.of_layer(layer, image)
    feature = QgsFeature()
    feature.setGeometry(QgsGeometry.fromRect(QgsRectangle(-2.9995, 54.1485, -2.998, 54.151)))
    layer.dataProvider().addFeatures([feature])
    layer.updateExtents()
    assert extents.of_layer(layer, image).crs == "EPSG:32630"
    layer.setCrs(UTM)
    with pytest.raises(TilthError, match="'area' lies outside the image 'scene'"):
        extents.of_layer(layer, image)


def test_a_custom_crs_travels_as_wkt():
    custom = QgsCoordinateReferenceSystem.fromProj("+proj=laea +lat_0=10 +lon_0=20 +datum=WGS84")
    text = extents.crs_text(custom)
    assert text.startswith("PROJCRS") and "Lambert" in text
    assert extents.same_crs(QgsCoordinateReferenceSystem.fromWkt(text), custom)
    assert extents.crs_text(QgsCoordinateReferenceSystem()) == ""
    assert extents.crs_text(DEGREES) == "EPSG:4326"


def test_two_codes_are_two_systems():
    # Their PROJ texts are alike, their datums are not.
    one, other = (QgsCoordinateReferenceSystem(f"EPSG:{code}") for code in (4258, 4674))
    assert not extents.same_crs(one, other) and extents.same_crs(one, one)
    assert not extents.same_crs(one, QgsCoordinateReferenceSystem())
