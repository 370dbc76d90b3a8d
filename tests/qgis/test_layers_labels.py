"""Polygon layers of every kind as label files."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

import pytest
from osgeo import gdal
from qgis.core import (
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransform,
    QgsCoordinateTransformContext,
    QgsFeature,
    QgsFeedback,
    QgsGeometry,
    QgsPointXY,
    QgsProject,
    QgsRasterLayer,
    QgsVectorFileWriter,
    QgsVectorLayer,
    QgsVectorLayerJoinInfo,
    QgsVectorLayerUtils,
    QgsWkbTypes,
)
from tilth.plugin.engine.errors import TilthError
from tilth.plugin.layers import labels
from tilth.plugin.layers.extents import same_crs
from tilth.plugin.layers.values import new_field

SQUARE = "Polygon(({0} 0, {1} 0, {1} 1, {0} 1, {0} 0))"


def square(at):
    return SQUARE.format(at, at + 1)


def add(layer, *rows):
    """Features of (WKT or None, values...) into a layer, through its provider."""
    features = []
    for wkt, *values in rows:
        feature = QgsFeature(layer.fields())
        if wkt is not None:
            feature.setGeometry(QgsGeometry.fromWkt(wkt))
        feature.setAttributes(values)
        features.append(feature)
    ok, _ = layer.dataProvider().addFeatures(features)
    assert ok
    layer.updateExtents()


def memory(uri="Polygon?crs=EPSG:32630&field=class:string(20)", rows=None):
    layer = QgsVectorLayer(uri, "drawn", "memory")
    assert layer.isValid()
    add(layer, *(rows or [(square(0), "wood"), (square(2), "meadow"), (square(4), "wood")]))
    return layer


def raster(folder, crs, west, south, size=200000.0):
    """A raster layer of this CRS; one in degrees is a degree wide."""
    path, size = folder / "image.tif", 1.0 if crs.isGeographic() else size
    data = gdal.GetDriverByName("GTiff").Create(str(path), 10, 10)
    data.SetGeoTransform((west, size / 10, 0, south + size, 0, -size / 10))
    data.SetProjection(crs.toWkt())
    data.FlushCache()
    return QgsRasterLayer(str(path), "image", "gdal")


def read(file):
    """What a label file holds, by another layer: [(value, WKT)]."""
    layer = QgsVectorLayer(file.path, "read", "ogr")
    assert layer.isValid()
    found = []
    for feature in layer.getFeatures():
        value = feature[file.class_field] if file.class_field else None
        found.append((value, feature.geometry().asWkt(3)))
    return layer, found


def values(file):
    return [value for value, _ in read(file)[1]]


def test_a_memory_layer(tmp_path):
    file = labels.snapshot(memory(), "class").write(tmp_path)
    layer, found = read(file)
    assert [value for value, _ in found] == ["wood", "meadow", "wood"]
    assert found[1][1] == "MultiPolygon (((2 0, 3 0, 3 1, 2 1, 2 0)))"
    assert layer.crs().authid() == "EPSG:32630"
    assert (file.written, file.skipped, file.warnings) == (3, 0, [])


def test_it_is_written_in_a_thread_after_the_layer_is_gone(tmp_path):
    layer = memory()
    snapshot = labels.snapshot(layer, "class")
    del layer
    files = []
    thread = threading.Thread(target=lambda: files.append(snapshot.write(tmp_path)))
    thread.start()
    thread.join()
    assert values(files[0]) == ["wood", "meadow", "wood"]


def test_unsaved_edits_count_and_the_source_is_not_touched(tmp_path):
    path = tmp_path / "source file.gpkg"
    save(memory(), path)
    layer = QgsVectorLayer(str(path), "source", "ogr")
    first, second, _ = [feature.id() for feature in layer.getFeatures()]
    layer.startEditing()
    layer.deleteFeature(first)
    layer.changeAttributeValue(second, layer.fields().lookupField("class"), "moor")
    layer.changeGeometry(second, QgsGeometry.fromWkt(square(7)))
    new = QgsVectorLayerUtils.createFeature(layer, QgsGeometry.fromWkt(square(9)), {1: "water"})
    layer.addFeature(new)
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    file = labels.snapshot(layer, "class").write(tmp_path)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == before
    found = dict(read(file)[1])
    assert sorted(found) == ["moor", "water", "wood"]
    assert found["moor"].startswith("MultiPolygon (((7 0")
    assert layer.isEditable() and layer.isModified()
    layer.rollBack()
    assert sorted(feature["class"] for feature in layer.getFeatures()) == ["meadow", "wood", "wood"]


def test_only_selected_features(tmp_path):
    layer = memory()
    ids = [feature.id() for feature in layer.getFeatures()]
    layer.selectByIds(ids[1:])
    snapshot = labels.snapshot(layer, "class", only_selected=True)
    extent = labels.extent_of(layer, only_selected=True)
    layer.removeSelection()
    assert values(snapshot.write(tmp_path)) == ["meadow", "wood"]
    assert (extent.xmin, extent.xmax) == (2, 5)
    with pytest.raises(TilthError, match="nothing is selected"):
        labels.snapshot(layer, "class", only_selected=True)


def test_a_filtered_layer(tmp_path):
    layer = memory()
    assert layer.setSubsetString("\"class\" = 'wood'")
    assert values(labels.snapshot(layer, "class").write(tmp_path)) == ["wood", "wood"]


@pytest.mark.parametrize("cached", [True, False])
def test_a_joined_field(tmp_path, project, cached):
    table = QgsVectorLayer("None?field=code:string&field=class:string", "legend", "memory")
    add(table, (None, "wood", "forest"), (None, "meadow", "grass"))
    layer = memory("Polygon?crs=EPSG:32630&field=kind:string(20)")
    project.addMapLayers([table, layer])
    join = QgsVectorLayerJoinInfo()
    join.setJoinLayer(table)
    join.setJoinFieldName("code")
    join.setTargetFieldName("kind")
    join.setUsingMemoryCache(cached)
    layer.addJoin(join)
    assert "legend_class" in [field.name for field in labels.class_fields(layer)]
    snapshot, files = labels.snapshot(layer, "legend_class"), []
    thread = threading.Thread(target=lambda: files.append(snapshot.write(tmp_path)))
    thread.start()
    thread.join()
    assert files[0].class_field == "legend_class"
    assert values(files[0]) == ["forest", "grass", "forest"]


def test_a_virtual_field(tmp_path):
    layer = memory()
    layer.addExpressionField("if(\"class\" = 'wood', 1, 2)", new_field("code", "integer"))
    assert values(labels.snapshot(layer, "code").write(tmp_path)) == [1, 2, 1]


FORMATS = {
    "GPKG": "gpkg",
    "SQLite": "sqlite",
    "ESRI Shapefile": "shp",
    "GeoJSON": "geojson",
    "FlatGeobuf": "fgb",
}


def save(layer, path, driver="GPKG", **more):
    options = QgsVectorFileWriter.SaveVectorOptions()
    options.driverName = driver
    for name, value in more.items():
        setattr(options, name, value)
    outcome = QgsVectorFileWriter.writeAsVectorFormatV3(
        layer, str(path), QgsProject.instance().transformContext(), options
    )
    assert outcome[0] == QgsVectorFileWriter.WriterError.NoError


@pytest.mark.parametrize("driver", FORMATS)
def test_files_of_several_formats(tmp_path, driver):
    path = tmp_path / f"label file.{FORMATS[driver]}"
    save(memory(), path, driver)
    layer = QgsVectorLayer(str(path), "file", "ogr")
    assert sorted(values(labels.snapshot(layer, "class").write(tmp_path))) == [
        "meadow", "wood", "wood",
    ]  # fmt: skip


def test_a_spatialite_database(tmp_path):
    path = tmp_path / "db.sqlite"
    save(memory(), path, "SQLite", layerName="drawn", datasourceOptions=["SPATIALITE=YES"])
    layer = QgsVectorLayer(f"dbname='{path}' table=\"drawn\" (GEOMETRY)", "db", "spatialite")
    assert layer.isValid() and layer.providerType() == "spatialite"
    assert values(labels.snapshot(layer, "class").write(tmp_path)) == ["wood", "meadow", "wood"]


def test_a_virtual_layer(tmp_path, project):
    layer = memory()
    project.addMapLayer(layer)
    query = "select class, geometry from drawn where class = 'wood'"
    virtual = QgsVectorLayer(f"?query={query}", "virtual", "virtual")
    assert virtual.isValid()
    assert values(labels.snapshot(virtual, "class").write(tmp_path)) == ["wood", "wood"]


def test_delimited_text(tmp_path):
    (tmp_path / "t.csv").write_text(f'class;wkt\nwood;"{square(0)}"\n;"{square(1)}"\n')
    uri = (tmp_path / "t.csv").as_uri() + "?delimiter=;&wktField=wkt&crs=EPSG:4326"
    layer = QgsVectorLayer(uri, "csv", "delimitedtext")
    file = labels.snapshot(layer, "class").write(tmp_path)
    assert file.written == 2 and values(file)[0] == "wood"


def test_null_and_empty_geometries_are_left_out_and_counted(tmp_path):
    layer = memory(rows=[(square(0), "a"), (None, "b"), ("Polygon EMPTY", "c"), (square(1), None)])
    file = labels.snapshot(layer, "class").write(tmp_path)
    assert (file.written, file.skipped) == (2, 2)
    assert file.warnings == ["2 features of 'drawn' without a polygon left out"]
    assert values(file)[0] == "a" and not values(file)[1]


def test_curves_become_lines_and_z_goes(tmp_path):
    arc = "CircularStringZ (0 0 5, 1 1 5, 2 0 5)"
    rows = [(f"CurvePolygonZ (CompoundCurveZ ({arc}, (2 0 5, 0 0 5)))", 1)]
    layer = memory("CurvePolygonZ?crs=EPSG:32630&field=c:integer", rows)
    read_layer, found = read(labels.snapshot(layer, "c").write(tmp_path))
    assert read_layer.wkbType() == QgsWkbTypes.Type.MultiPolygon
    assert found[0][0] == 1 and found[0][1].count(",") > 20
    area = next(read_layer.getFeatures()).geometry().area()
    assert area == pytest.approx(3.14159 / 2, rel=1e-3)


def test_multipolygons_stay_whole_and_invalid_ones_are_passed_on(tmp_path):
    rows = [
        ("MultiPolygon(((0 0, 1 0, 1 1, 0 0)), ((5 5, 6 5, 6 6, 5 5)))", 7),
        ("MultiPolygon(((0 0, 1 1, 1 0, 0 1, 0 0)))", 8),
    ]
    layer = memory("MultiPolygon?crs=EPSG:32630&field=c:integer", rows)
    file = labels.snapshot(layer, "c").write(tmp_path)
    assert file.written == 2 and values(file) == [7, 8]


def test_mixed_geometries_give_their_polygons():
    bag = QgsGeometry.fromWkt(f"GeometryCollection(Point(0 0), {square(0)}, LineString(0 0, 1 1))")
    assert labels.polygons(bag).asWkt() == "MultiPolygon (((0 0, 1 0, 1 1, 0 1, 0 0)))"
    for wkt in ("Point(0 0)", "LineString(0 0, 1 1)", "GeometryCollection(Point(0 0))"):
        assert labels.polygons(QgsGeometry.fromWkt(wkt)) is None
    assert labels.polygons(QgsGeometry()) is None


@pytest.mark.parametrize(
    ("kind", "given", "kept"),
    [
        ("string(20)", ["1", "02"], ["1", "02"]),
        ("integer", [3, 0], [3, 0]),
        ("int8", [2**40, 1], [2**40, 1]),
        ("double", [1.0, 2.5], [1.0, 2.5]),
        ("boolean", [True, False], ["true", "false"]),
    ],
)
def test_class_values_keep_their_kind(tmp_path, kind, given, kept):
    rows = [(square(0), given[0]), (square(1), given[1])]
    layer = memory(f"Polygon?crs=EPSG:32630&field=class:{kind}", rows)
    assert values(labels.snapshot(layer, "class").write(tmp_path)) == kept


def test_a_field_named_fid(tmp_path):
    layer = memory("Polygon?crs=EPSG:32630&field=FID:integer", [(square(0), 5), (square(1), 5)])
    file = labels.snapshot(layer, "FID").write(tmp_path)
    assert file.class_field == "class_FID" and values(file) == [5, 5]


def test_a_labelled_area_has_no_class(tmp_path):
    file = labels.snapshot(memory(), stem="area").write(tmp_path)
    assert file.class_field == "" and file.written == 3
    assert Path(file.path.partition("|")[0]).name == "area.gpkg"


CUSTOM = "+proj=laea +lat_0=10 +lon_0=20 +x_0=0 +y_0=0 +datum=WGS84 +units=m +no_defs +type=crs"


@pytest.mark.parametrize("crs", ["EPSG:4326", CUSTOM, ""])
def test_the_crs_travels(tmp_path, crs):
    layer = memory("Polygon?field=class:string(20)")
    wanted = QgsCoordinateReferenceSystem.fromProj(crs) if "+" in crs else None
    wanted = wanted or QgsCoordinateReferenceSystem(crs)
    layer.setCrs(wanted)
    written, _ = read(labels.snapshot(layer, "class").write(tmp_path))
    if crs:
        assert same_crs(written.crs(), wanted)
    assert labels.extent_of(layer).crs.startswith(crs[:4] if "EPSG" in crs else "")


def test_polygons_lie_where_the_projects_transformation_puts_them(tmp_path, project):
    """The one that is drawn with: a datum has many, and the engine's may be tens of metres off."""
    own, image = (QgsCoordinateReferenceSystem(f"EPSG:{code}") for code in (4267, 4269))
    context = QgsCoordinateTransformContext()
    shift = "+proj=pipeline +step +proj=affine +xoff=0.001"  # degrees, as a PROJ step has them
    assert context.addCoordinateOperation(own, image, shift, False)
    project.setTransformContext(context)
    drawn = memory(
        "Polygon?crs=EPSG:4267&field=class:string(20)",
        [("Polygon((-120 45, -119.9 45, -119.9 45.1, -120 45.1, -120 45))", "wood")],
    )
    layer, found = read(
        labels.snapshot(drawn, "class", images=[raster(tmp_path, image, -120, 45)]).write(tmp_path)
    )
    assert layer.crs() == image
    seen = QgsCoordinateTransform(own, image, project).transform(QgsPointXY(-120, 45))
    assert layer.extent().xMinimum() == pytest.approx(seen.x(), abs=1e-9) != -120
    # Its long sides bend with it.
    assert found[0][1].count(",") >= 4 * 16


@pytest.mark.parametrize("crs", ["EPSG:32630", ""])
def test_polygons_stay_as_they_are_where_nothing_is_to_transform(tmp_path, crs):
    image = raster(tmp_path, QgsCoordinateReferenceSystem(crs), 0, 0)
    layer, found = read(labels.snapshot(memory(), "class", images=[image]).write(tmp_path))
    assert layer.crs().authid() == "EPSG:32630"
    assert found[1][1] == "MultiPolygon (((2 0, 3 0, 3 1, 2 1, 2 0)))"


def test_what_lies_across_the_date_line_is_left_to_the_engine(tmp_path):
    image = raster(tmp_path, QgsCoordinateReferenceSystem("EPSG:4326"), 179.5, -17)
    drawn = memory(
        "Polygon?crs=EPSG:32701&field=class:string(20)",
        [("Polygon((170000 8100000, 190000 8100000, 190000 8120000, 170000 8100000))", "wood")],
    )
    layer, _ = read(labels.snapshot(drawn, "class", images=[image]).write(tmp_path))
    assert layer.crs().authid() == "EPSG:32701"


LOST = "Polygon((9 89, 500000 89, 500000 95, 9 95, 9 89))"


def test_a_polygon_without_a_place_in_the_images_crs_is_left_out(tmp_path):
    drawn = memory(
        "Polygon?crs=EPSG:4326&field=class:string(20)", [(LOST, "lost"), (square(9), "wood")]
    )
    image = raster(tmp_path, QgsCoordinateReferenceSystem("EPSG:32632"), 500000, 0)
    file = labels.snapshot(drawn, "class", images=[image]).write(tmp_path)
    assert (values(file), file.skipped) == (["wood"], 1)


@pytest.mark.parametrize("shape", [LOST, square(77), square(500000)])
def test_polygons_off_the_images_stay_where_they_say_that_they_are(tmp_path, shape):
    """The engine then says what may be wrong, such as a coordinate system in name only."""
    drawn = memory("Polygon?crs=EPSG:4326&field=class:string(20)", [(shape, "wood")])
    image = raster(tmp_path, QgsCoordinateReferenceSystem("EPSG:32632"), 500000, 0)
    layer, found = read(labels.snapshot(drawn, "class", images=[image]).write(tmp_path))
    assert layer.crs().authid() == "EPSG:4326"
    assert len(found) == 1


def test_a_folder_with_blanks_and_umlauts_and_a_second_write(tmp_path):
    folder = tmp_path / "für Täler"
    folder.mkdir()
    snapshot = labels.snapshot(memory(), "class")
    assert values(snapshot.write(folder)) == values(snapshot.write(folder))


def test_what_is_no_use_is_said(tmp_path):
    cases = [
        (None, "", "pick a polygon layer"),
        (QgsVectorLayer("/no/such.gpkg", "lost", "ogr"), "", "can't be read"),
        (QgsVectorLayer("Point?crs=EPSG:4326", "dots", "memory"), "", "has no polygons"),
        (memory(), "klass", "no field 'klass'"),
    ]
    for layer, name, message in cases:
        with pytest.raises(TilthError, match=message):
            labels.snapshot(layer, name)
    nothing = memory(rows=[(None, "a")])
    assert labels.extent_of(nothing) is None
    empty = labels.snapshot(nothing, "class")
    with pytest.raises(TilthError, match="no polygons to use"):
        empty.write(tmp_path)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(TilthError, match="could not be written"):
        labels.snapshot(memory(), "class").write(tmp_path / "nowhere")


def test_cancel_leaves_no_file(tmp_path):
    feedback = QgsFeedback()
    feedback.cancel()
    with pytest.raises(TilthError):
        labels.snapshot(memory(), "class").write(tmp_path, feedback)
    assert list(tmp_path.iterdir()) == []


def test_ten_thousand_polygons_take_a_moment(tmp_path):
    layer = memory(rows=[(square(number), "wood") for number in range(10_000)])
    assert labels.snapshot(layer, "class").write(tmp_path).written == 10_000
