"""A finished map as layers of the project."""

from __future__ import annotations

import struct

import pytest
from qgis.core import (
    QgsLayerTreeGroup,
    QgsPalettedRasterRenderer,
    QgsRasterLayer,
    QgsSingleBandGrayRenderer,
    QgsVectorLayer,
)
from qgis.PyQt.QtGui import QColor
from tilth.plugin.engine.errors import TilthError
from tilth.plugin.layers import result as results

CLASSES = [
    {"code": 1, "name": "Forest", "colour": "#228833", "value": "3"},
    {"code": 7, "name": "Wasser/Öd", "colour": "#4477aa", "value": "7"},
    {"code": 300, "name": "background", "colour": "#bbbbbb", "value": ""},
]
CODES = [0, 1, 7, 300]


@pytest.fixture
def make(tmp_path):
    """A maker of prediction results, with real files as the engine leaves them."""
    from osgeo import gdal, osr

    def write(path, kind, nodata, values):
        data = gdal.GetDriverByName("GTiff").Create(str(path), 2, 2, 1, kind)
        data.SetGeoTransform((500000, 10, 0, 6000000, 0, -10))
        system = osr.SpatialReference()
        system.ImportFromEPSG(32630)
        data.SetProjection(system.ExportToWkt())
        band = data.GetRasterBand(1)
        if nodata is not None:
            band.SetNoDataValue(nodata)
        band.WriteRaster(0, 0, 2, 2, struct.pack("4d", *values), buf_type=gdal.GDT_Float64)
        return str(path)

    def build(name="map", adapter="Täler", confidence=True, nodata=0):
        made = {
            "map": write(tmp_path / f"{name}.tif", gdal.GDT_UInt16, nodata, CODES),
            "confidence": "",
            "probabilities": "",
            "classes": CLASSES,
            "name": adapter,
        }
        if confidence:
            path = tmp_path / f"{name}_confidence.tif"
            made["confidence"] = write(path, gdal.GDT_Byte, 255, [255, 40, 80, 100])
        return made

    return build


def tree(project):
    """The layer tree as nested lists of names; unchecked layers in brackets."""

    def walk(node):
        if isinstance(node, QgsLayerTreeGroup):
            return node.name(), [walk(child) for child in node.children()]
        return node.name() if node.itemVisibilityChecked() else f"({node.name()})"

    return [walk(child) for child in project.layerTreeRoot().children()]


def pixels(layer):
    """The colours that a layer is drawn in, row by row."""
    block = layer.renderer().block(1, layer.extent(), 2, 2)
    cells = [(row, column) for row in (0, 1) for column in (0, 1)]
    return [QColor.fromRgba(block.color(row, column)) for row, column in cells]


def test_the_classes_names_and_colours(make, project):
    layer = results.add_map(make(), project)
    renderer = layer.renderer()
    assert isinstance(renderer, QgsPalettedRasterRenderer)
    assert [(entry.value, entry.label, entry.color.name()) for entry in renderer.classes()] == [
        (1, "Forest", "#228833"), (7, "Wasser/Öd", "#4477aa"), (300, "background", "#bbbbbb"),
    ]  # fmt: skip
    colours = pixels(layer)
    assert colours[0].alpha() == 0
    assert [colour.name() for colour in colours[1:]] == ["#228833", "#4477aa", "#bbbbbb"]
    assert all(colour.alpha() == 255 for colour in colours[1:])


def test_zero_is_transparent_though_the_file_does_not_say_so(make, project):
    layer = results.add_map(make(nodata=None), project)
    assert pixels(layer)[0].alpha() == 0 and pixels(layer)[1].alpha() == 255


def test_it_lies_in_a_group_named_after_the_adapter(make, project):
    layer = results.add_map(make(), project)
    assert tree(project) == [("Täler", ["map", "(confidence)"])]
    assert project.mapLayer(layer.id()) is layer
    assert layer.metadata().title() == "Täler: classified map"
    assert "Forest, Wasser/Öd" in layer.metadata().abstract()
    assert layer.customProperty("tilth/adapter") == "Täler"


def test_labels_stay_visible_above_the_map(make, project):
    root = project.layerTreeRoot()
    project.addMapLayer(QgsVectorLayer("Polygon", "below", "memory"))
    project.addMapLayer(QgsRasterLayer(make("scene")["map"], "scene"))
    group = root.insertGroup(0, "mine")
    drawn = QgsVectorLayer("Polygon", "drawn", "memory")
    project.addMapLayer(drawn, False)
    group.addLayer(drawn)
    project.addMapLayer(QgsVectorLayer("Polygon", "area", "memory"))
    results.add_map(make(confidence=False), project)
    results.add_map(make("b", confidence=False), project)
    maps = ("Täler", ["map 2", "map"])
    assert tree(project) == ["area", ("mine", ["drawn"]), maps, "scene", "below"]
    root.insertGroup(0, "empty")
    results.add_map(make("c", adapter="other", confidence=False), project)
    assert tree(project)[:2] == [("other", ["map"]), ("empty", [])]


def test_mapping_again_makes_a_version_beside_it(make, project):
    results.add_map(make("a"), project)
    results.add_map(make("b", confidence=False), project)
    results.add_map(make("c"), project)
    names = ["map 3", "(confidence 3)", "map 2", "map", "(confidence)"]
    assert tree(project) == [("Täler", names)]
    results.add_map(make("d", adapter="other", confidence=False), project)
    assert [group[0] for group in tree(project)] == ["other", "Täler"]


def test_a_version_number_is_not_used_twice(make, project):
    first = results.add_map(make("a", confidence=False), project)
    results.add_map(make("b", confidence=False), project)
    project.removeMapLayer(first)
    assert results.add_map(make("c", confidence=False), project).name() == "map 3"


def test_a_group_that_the_user_has_moved_or_given_is_found(make, project):
    own = project.layerTreeRoot().addGroup("mine")
    results.add_map(make(confidence=False), project, group_name="mine")
    assert [child.name() for child in own.children()] == ["map"]


def test_confidence_is_grey_from_none_to_full(make, project):
    results.add_map(make(), project)
    layer = project.mapLayersByName("confidence")[0]
    assert isinstance(layer.renderer(), QgsSingleBandGrayRenderer)
    stretch = layer.renderer().contrastEnhancement()
    assert (stretch.minimumValue(), stretch.maximumValue()) == (0, 100)
    colours = pixels(layer)
    assert colours[0].alpha() == 0 and colours[3].lightness() == 255
    assert colours[1].lightness() == pytest.approx(102, abs=2)


def test_a_file_that_is_no_map_changes_nothing(make, project, tmp_path):
    made = make()
    (tmp_path / "map_confidence.tif").write_bytes(b"no raster")
    with pytest.raises(TilthError, match="confidence"):
        results.add_map(made, project)
    assert tree(project) == [] and project.mapLayers() == {}


def test_the_interface_gets_the_new_layer(make, project):
    class Interface:
        def setActiveLayer(self, layer):  # noqa: N802
            self.layer = layer

    iface = Interface()
    assert results.add_map(make(), project, iface) is iface.layer


def test_the_interface_keeps_its_layer_while_something_is_drawn(make, project):
    class Interface:
        def setActiveLayer(self, layer):  # noqa: N802
            pytest.fail("the tools are taken away")

    drawn = QgsVectorLayer("Polygon", "drawn", "memory")
    project.addMapLayer(drawn)
    drawn.startEditing()
    results.add_map(make(), project, Interface())
    drawn.rollBack()


def test_free_path_spares_what_is_there_be_it_open_or_not(make, project, tmp_path):
    path = tmp_path / "map.tif"
    assert results.free_path(path, project) == path
    make(confidence=False)
    assert results.free_path(path, project) == tmp_path / "map_2.tif"
    path.unlink()
    made = make("other")
    (tmp_path / "other.tif").unlink()  # its confidence stays
    assert results.free_path(made["map"], project) == tmp_path / "other_2.tif"
    results.add_map(make(), project)
    assert results.free_path(str(path), project) == tmp_path / "map_2.tif"
    assert results.free_path(tmp_path / "sub" / ".." / "map.tif", project).name == "map_2.tif"
    (tmp_path / "map_2.tif").touch()
    assert results.free_path(path, project) == tmp_path / "map_3.tif"
    link = tmp_path / "link.tif"
    link.symlink_to(path)
    assert results.free_path(link, project).name == "link_2.tif"


def test_free_path_spares_a_confidence_that_is_open_and_gone(make, project, tmp_path):
    """QGIS may still read a file that was removed, or write beside it."""
    made = make("open")
    project.addMapLayer(QgsRasterLayer(made["confidence"], "sure"))
    for name in ("open.tif", "open_confidence.tif"):
        (tmp_path / name).unlink()
    assert results.free_path(made["map"], project) == tmp_path / "open_2.tif"


def test_free_path_spares_vector_files_and_vrt_beside(project, tmp_path, make):
    from tilth.plugin.layers.labels import new_label_layer

    path = tmp_path / "labels.gpkg"
    layer = new_label_layer(str(path), QgsRasterLayer(make()["map"], "m").crs(), [])
    project.addMapLayer(layer)
    assert results.free_path(path, project).name == "labels_2.gpkg"
