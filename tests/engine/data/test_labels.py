"""Label polygons: every kind of geometry, value and place."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio.warp
import shapely
from rasterio.transform import Affine
from rasterio.windows import Window
from shapely import affinity
from tilth_engine.data import colours
from tilth_engine.data.grid import apply
from tilth_engine.data.imagery import Image
from tilth_engine.data.labels import class_codes, rasterise, read_labels
from tilth_engine.data.masks import Mask
from tilth_engine.errors import TilthError
from tilth_engine.jobs import ClassStyle

UTM, WGS = "EPSG:32632", "EPSG:4326"

pytestmark = pytest.mark.filterwarnings(
    "ignore::rasterio.errors.NotGeoreferencedWarning", "ignore:.crs. was not provided"
)


@pytest.fixture
def image(make_raster):
    """20 x 20 pixels, the smallest image that has to work."""
    with Image.open([make_raster("image.tif", np.ones((1, 20, 20), np.uint16))]) as image:
        yield image


def on(image):
    """The field and the images, as read_labels wants them."""
    return "class", [image]


def ones():
    return np.ones((1, 20, 20), np.uint8)


def pixels(labels, image=0, size=20):
    return rasterise(labels, image, Window(0, 0, size, size))


def warned(labels, *words):
    return any(all(word in text for word in words) for text in labels.warnings)


def two(box):
    """Two polygons of either of two classes, apart."""
    return [box(0, 0, 4, 4), box(8, 0, 12, 4), box(0, 8, 4, 12), box(8, 8, 12, 12)]


def test_polygons_become_pixels(image, make_vector, box):
    path = make_vector("l.gpkg", two(box), ["a", "b", "a", "b"])
    labels = read_labels(path, *on(image))
    codes, ids = pixels(labels)
    assert codes.dtype == np.uint16 and ids.dtype == np.int32
    assert (codes[:4, :4] == 1).all() and (codes[8:12, 8:12] == 2).all()
    assert (codes > 0).sum() == 64 and np.array_equal(codes > 0, ids > 0)
    assert [(c.code, c.name, c.pixels, c.polygons, c.validated) for c in labels.classes] == [
        (1, "a", 32, 2, True),
        (2, "b", 32, 2, True),
    ]
    assert labels.warnings == []


def test_a_window_is_a_part_of_the_whole(image, make_vector, box):
    path = make_vector("l.gpkg", two(box), ["a", "b", "a", "b"])
    labels = read_labels(path, *on(image))
    all_codes, all_ids = pixels(labels)
    codes, ids = rasterise(labels, 0, Window(-3, 5, 15, 20))
    assert np.array_equal(codes[:15, 3:], all_codes[5:, :12])
    assert np.array_equal(ids[:15, 3:], all_ids[5:, :12])
    assert not codes[:, :3].any() and not codes[15:].any()


def test_nothing_is_labelled_outside_of_the_image(image, make_vector, box):
    path = make_vector("l.gpkg", [box(-9, -9, 3, 3), box(15, 15, 40, 40)], ["a", "b"])
    labels = read_labels(path, *on(image))
    codes, _ = rasterise(labels, 0, Window(-10, -10, 60, 60))
    assert (codes > 0).sum() == 9 + 25
    assert [entry.pixels for entry in labels.classes] == [9, 25]


def test_the_pixel_centre_decides(image, make_vector, box):
    path = make_vector("l.gpkg", [box(0.4, 0.4, 2.6, 2.6), box(8.6, 8.6, 10.4, 10.4)], ["a", "b"])
    codes, _ = pixels(read_labels(path, *on(image)))
    assert np.argwhere(codes == 1).tolist() == [[r, c] for r in range(3) for c in range(3)]
    assert np.argwhere(codes == 2).tolist() == [[9, 9]]


@pytest.mark.parametrize(
    ("values", "codes"),
    [
        ({3, 10, 200}, {3: 3, 10: 10, 200: 200}),
        ({1, 65535}, {1: 1, 65535: 65535}),
        ({0, 1}, {0: 1, 1: 2}),
        ({-1, 5, 2}, {-1: 1, 2: 2, 5: 3}),
        ({1, 65536}, {1: 1, 65536: 2}),
        ({"b", "a"}, {"a": 1, "b": 2}),
        ({"10", "9", "x"}, {"9": 1, "10": 2, "x": 3}),
        ({"1", "2"}, {"1": 1, "2": 2}),
        ({"true", "false"}, {"false": 1, "true": 2}),
        ({1.5, 0.5}, {0.5: 1, 1.5: 2}),
    ],
)
def test_codes(values, codes):
    assert class_codes(values) == codes


def test_a_field_of_ids_is_no_class_field():
    with pytest.raises(TilthError, match="1001 different values"):
        class_codes(set(range(1001)))


def test_integers_keep_their_codes_also_beside_null(image, make_vector, box):
    path = make_vector("l.gpkg", [*two(box), box(15, 15, 18, 18)], [40, 7, 40, 7, None])
    labels = read_labels(path, *on(image))
    assert [(c.code, c.name, c.value) for c in labels.classes] == [(7, "7", "7"), (40, "40", "40")]
    assert warned(labels, "1 polygon without a class (NULL)")


def test_booleans_are_called_as_in_qgis_also_beside_null(image, make_vector, box):
    path = make_vector("l.gpkg", two(box), [True, False, True, False])
    whole = read_labels(path, *on(image))
    path = make_vector("n.gpkg", [*two(box), box(15, 15, 18, 18)], [True, False, True, False, None])
    gap = read_labels(path, *on(image))
    assert [(c.code, c.name) for c in whole.classes] == [(1, "false"), (2, "true")]
    assert gap.classes == whole.classes
    # The dock hands them over as text.
    path = make_vector("d.gpkg", two(box), ["true", "false", "true", "false"])
    assert read_labels(path, *on(image)).classes == whole.classes
    assert warned(gap, "1 polygon without a class (NULL)")


def test_blank_text_counts_as_null(image, make_vector, box):
    path = make_vector("l.gpkg", [*two(box), box(15, 15, 18, 18)], ["a", "b", "a", " b", "  "])
    labels = read_labels(path, *on(image))
    assert [c.name for c in labels.classes] == ["a", "b"]
    assert warned(labels, "NULL")


def test_only_null(image, make_vector, box):
    path = make_vector("l.gpkg", two(box), [None] * 4)
    with pytest.raises(TilthError, match="'class' is empty"):
        read_labels(path, *on(image))


def test_styles_give_names_and_colours(image, make_vector, box):
    path = make_vector("l.gpkg", two(box), [3, 5, 3, 5])
    styles = [
        ClassStyle("3", "Wald", "#11AA22"),
        ClassStyle("5", "", "red"),
        ClassStyle("9", "x", ""),
    ]
    first, second = read_labels(path, *on(image), styles=styles).classes
    assert (first.name, first.colour, first.value) == ("Wald", "#11aa22", "3")
    assert second.name == "5" and colours.is_colour(second.colour)


def test_styles_that_share_a_name_are_told_apart(image, make_vector, box):
    path = make_vector("l.gpkg", two(box), [3, 5, 3, 5])
    styles = [ClassStyle("3", "Wald", "#112233"), ClassStyle("5", "Wald", "#112233")]
    names = [c.name for c in read_labels(path, *on(image), styles=styles).classes]
    assert names == ["Wald (3)", "Wald (5)"]


def test_the_palette_does_not_repeat():
    many = [colours.palette(position) for position in range(60)]
    assert len(set(many)) == 60 and all(map(colours.is_colour, many))
    assert not colours.is_colour("#12345g") and not colours.is_colour("url(x)")


def test_geometries_of_every_kind(image, make_vector, box):
    # Bow tie: two triangles that meet in the middle; mended, both are kept.
    bow = shapely.Polygon([(500000, 5e6), (500040, 4999960), (500040, 5e6), (500000, 4999960)])
    multi = shapely.MultiPolygon([box(8, 0, 10, 2), box(12, 0, 14, 2)])
    deep = shapely.force_3d(box(0, 8, 4, 12), 55.0)
    hole = box(8, 8, 14, 14) - box(10, 10, 12, 12)
    rest = [
        None,
        shapely.Polygon(),
        shapely.Point(500050, 4999950),
        shapely.LineString([(500050, 4999950), (500090, 4999950)]),
        shapely.GeometryCollection([box(0, 16, 2, 18), shapely.Point(0, 0)]),
    ]
    values = ["bow", "multi", "deep", "hole", "a", "a", "a", "a", "collection"]
    path = make_vector("l.gpkg", [bow, multi, deep, hole, *rest], values)
    labels = read_labels(path, *on(image))
    found = {entry.name: entry.pixels for entry in labels.classes}
    # GDAL gives a centre that lies on an edge to one side or the other.
    assert 8 <= found.pop("bow") <= 12
    assert found == {"multi": 8, "deep": 16, "hole": 32, "collection": 4}
    assert len([p for p in labels.polygons if p.code == labels.classes[-1].code]) == 1
    assert warned(
        labels, "empty geometries (1)", "null geometries (1)", "geometries that are no polygons (2)"
    )
    ids = pixels(labels)[1]
    assert ids[0, 8] == ids[0, 12] > 0  # a multipolygon is one object


def test_curves(image, tmp_path):
    # A circle of radius 4 pixels around the middle, as one arc there and one back.
    arcs = "500060 4999900,500100 4999940,500140 4999900,500100 4999860,500060 4999900"
    table = tmp_path / "c.csv"
    square = "POLYGON((500000 5000000,500030 5000000,500030 4999970,500000 4999970,500000 5000000))"
    table.write_text(
        f'WKT,class\n"CURVEPOLYGON(CIRCULARSTRING({arcs}))",round\n"{square}",square\n'
    )
    labels = read_labels(str(table), "class", [image])
    counts = {entry.name: entry.pixels for entry in labels.classes}
    assert counts["square"] == 9
    assert counts["round"] == pytest.approx(np.pi * 16, abs=4)
    assert warned(labels, "no coordinate system")


def test_polygons_smaller_than_a_pixel(image, make_vector, box):
    shapes = [*two(box), box(15.1, 15.1, 15.3, 15.3), box(17.05, 2.1, 17.2, 9)]
    labels = read_labels(
        make_vector("l.gpkg", shapes, ["a", "b", "a", "b", "a", "b"]), "class", [image]
    )
    codes, _ = pixels(labels)
    assert codes[15, 15] == 1
    assert (codes[:, 17] == 2).sum() == 1  # the sliver's own pixel
    assert warned(labels, "2 polygons, or parts of them, are smaller than a pixel")
    part, _ = rasterise(labels, 0, Window(14, 14, 3, 3))
    assert part[1, 1] == 1


def test_each_part_smaller_than_a_pixel_has_its_own(image, make_vector, box):
    specks = [box(at + 0.1, 17.1, at + 0.3, 17.3) for at in (1, 5, 9)]
    dust = box(18, 18, 18.0005, 18.0005)  # as a mended ring leaves it
    beyond = box(30.1, 3.1, 30.3, 3.3)
    merged = shapely.MultiPolygon(specks)
    mixed = shapely.MultiPolygon([box(0, 0, 4, 4), box(15.1, 2.1, 15.3, 2.3), dust, beyond])
    path = make_vector("l.gpkg", [merged, mixed, box(8, 8, 12, 12)], ["a", "b", "a"])
    labels = read_labels(path, *on(image))
    codes, ids = pixels(labels)
    assert (codes == 1).sum() == 3 + 16 and (codes == 2).sum() == 16 + 1
    assert len(set(ids[17, [1, 5, 9]])) == 1 and codes[17, 1] == 1  # one object all the same
    assert codes[2, 15] == 2 and ids[2, 15] == ids[0, 0]
    assert [(c.polygons, c.pixels) for c in labels.classes] == [(2, 19), (1, 17)]
    assert warned(labels, "4 polygons, or parts of them, are smaller than a pixel")
    part, _ = rasterise(labels, 0, Window(4, 16, 3, 3))
    assert part[1, 1] == 1 and (part > 0).sum() == 1


def test_overlaps_of_classes_are_nobodys(image, make_vector, box):
    shapes = [box(0, 0, 6, 6), box(4, 4, 10, 10), box(12, 12, 16, 16), box(14, 14, 18, 18)]
    labels = read_labels(make_vector("l.gpkg", shapes, ["a", "b", "a", "a"]), *on(image))
    codes, ids = pixels(labels)
    assert not codes[4:6, 4:6].any() and not ids[4:6, 4:6].any()
    assert (codes[12:18, 12:18] == 1).sum() == 28  # one class: no conflict
    assert warned(labels, "overlap; 4 pixels")


def test_polygons_outside_are_left_out(image, make_vector, box):
    shapes = [*two(box), box(100, 100, 110, 110), box(20, 0, 25, 5)]  # the last only touches
    labels = read_labels(
        make_vector("l.gpkg", shapes, ["a", "b", "a", "b", "c", "d"]), "class", [image]
    )
    assert [entry.name for entry in labels.classes] == ["a", "b"]
    assert warned(labels, "2 polygons lie outside")


def test_all_outside_names_both_extents(image, make_vector, box):
    path = make_vector("l.gpkg", [box(100, 100, 110, 110)], ["a"])
    with pytest.raises(TilthError) as error:
        read_labels(path, *on(image))
    text = str(error.value)
    assert "x 501000 to 501100" in text and "x 500000 to 500200" in text
    assert text.count("EPSG:32632") == 2 and "\n" not in text


def test_all_outside_of_an_image_that_polynomials_place(make_raster, make_vector, box, rpcs):
    path = make_raster("i.tif", ones(), crs=None, transform=None, finish=rpcs)
    with Image.open([path]) as image, pytest.raises(TilthError) as caught:
        read_labels(make_vector("l.gpkg", two(box), ["a", "b"] * 2), "class", [image])
    assert "rational polynomial coefficients (RPC)" in str(caught.value)
    assert str(caught.value).endswith("with Warp (reproject) in QGIS or gdalwarp -rpc")


def test_a_wrong_crs_is_suspected(image, make_vector, box):
    path = make_vector("l.gpkg", two(box), ["a", "b", "a", "b"], crs="EPSG:25833")
    with pytest.raises(TilthError, match="the numbers alone would fit"):
        read_labels(path, *on(image))


def test_labels_in_another_crs(image, make_vector, box):

    def move(points):
        return np.column_stack(rasterio.warp.transform(UTM, WGS, points[:, 0], points[:, 1]))

    shapes = [shapely.transform(shape, move) for shape in two(box)]
    labels = read_labels(make_vector("l.gpkg", shapes, ["a", "b", "a", "b"], crs="EPSG:4326"),
                         "class", [image])  # fmt: skip
    codes, _ = pixels(labels)
    assert (codes[:4, :4] == 1).all() and (codes > 0).sum() == 64


@pytest.mark.parametrize("west", [179.9, -180.1])
def test_polygons_across_180_degrees(make_raster, make_vector, west):
    # Fiji's zone ends there: UTM coordinates come back as 179.99 and -179.99 degrees.
    fiji, grid = "EPSG:32760", Affine(0.01, 0, west, 0, -0.01, -17)

    def move(points):
        places = apply(grid, points[:, 0], points[:, 1])
        return np.column_stack(rasterio.warp.transform(WGS, fiji, *places))

    boxes = [(1, 1, 4, 5), (8, 8, 12, 11), (14, 2, 18, 6)]
    shapes = [shapely.transform(shapely.segmentize(shapely.box(*b), 0.5), move) for b in boxes]
    path = make_vector("l.gpkg", shapes, ["a", "b", "c"], crs=fiji)
    with Image.open([make_raster("i.tif", ones(), crs=WGS, transform=grid)]) as image:
        codes, _ = pixels(read_labels(path, *on(image)))
        inside = Mask.open(path, image).inside(Window(0, 0, 20, 20))
    wanted = np.zeros((20, 20), int)
    for code, (left, top, right, bottom) in enumerate(boxes, 1):
        wanted[top:bottom, left:right] = code
    assert np.array_equal(codes, wanted) and np.array_equal(inside, wanted > 0)


def test_polygons_around_the_world_stay_where_they_are(make_raster, make_vector):
    mercator, grid = "EPSG:3857", Affine(0.01, 0, 20, 0, -0.01, 10)
    spread = shapely.MultiPolygon([shapely.box(-150, 9, -149, 9.1), shapely.box(20, 9.9, 20.1, 10),
                                   shapely.box(40, 9, 41, 9.1)])  # fmt: skip
    world = shapely.box(-179, 9.8, 179, 9.85)
    shapes = [
        shapely.transform(
            shape,
            lambda p: np.column_stack(rasterio.warp.transform(WGS, mercator, p[:, 0], p[:, 1])),
        )
        for shape in (spread, world)
    ]
    path = make_vector("l.gpkg", shapes, ["a", "b"], crs=mercator)
    with Image.open([make_raster("i.tif", ones(), crs=WGS, transform=grid)]) as image:
        codes, _ = pixels(read_labels(path, *on(image)))
    assert (codes[:10, :10] == 1).all() and (codes[15] == 2).all()


def test_what_a_crs_cannot_hold_is_outside(image, make_vector, box):
    # A polygon around the south pole has no place in this UTM zone.
    pole = shapely.Polygon([(-170, -89.9), (170, -89.9), (0, -90)])
    bounds = [rasterio.warp.transform_bounds(UTM, WGS, *b.bounds) for b in two(box)[:2]]
    shapes = [pole, *(shapely.box(*b) for b in bounds)]
    path = make_vector("l.gpkg", shapes, ["a", "b", "c"], crs="EPSG:4326")
    labels = read_labels(path, *on(image))
    assert "a" not in [entry.name for entry in labels.classes]


@pytest.mark.parametrize("side", ["image", "labels"])
def test_without_crs_the_numbers_are_taken_as_they_are(make_raster, make_vector, box, side):
    values = np.ones((1, 20, 20), np.uint8)
    path = make_raster("n.tif", values, crs=None if side == "image" else "EPSG:32632")
    vector = make_vector("l.gpkg", two(box), ["a", "b", "a", "b"],
                         crs=None if side == "labels" else "EPSG:32632")  # fmt: skip
    with Image.open([path]) as image:
        labels = read_labels(vector, "class", [image])
    assert (pixels(labels)[0] > 0).sum() == 64
    assert warned(labels, "no coordinate system")


def test_rotated_image(make_raster, make_vector, box):
    turn = Affine.translation(500000, 5e6) @ Affine.rotation(25) @ Affine.scale(10, -10)
    with Image.open(
        [make_raster("r.tif", np.ones((1, 20, 20), np.uint8), transform=turn)]
    ) as image:
        # The polygon is drawn on the map; in pixels of the image it is columns 2-8, rows 5-9.
        shapes = [
            affinity.affine_transform(
                shapely.box(*b), [turn.a, turn.b, turn.d, turn.e, turn.c, turn.f]
            )
            for b in ((2, 5, 8, 9), (12, 12, 15, 15))
        ]
        labels = read_labels(make_vector("l.gpkg", shapes, ["a", "b"]), *on(image))
    codes, _ = pixels(labels)
    assert (codes[5:9, 2:8] == 1).all() and (codes == 1).sum() == 24


def test_south_up_image(make_raster, make_vector, box):
    up = Affine(10, 0, 500000, 0, 10, 4999800)
    with Image.open([make_raster("s.tif", ones(), transform=up)]) as image:
        labels = read_labels(
            make_vector("l.gpkg", two(box), ["a", "b", "a", "b"]), "class", [image]
        )
    assert (pixels(labels)[0][::-1][:4, :4] == 1).all()


def test_missing_file_layer_and_field(image, make_vector, box, tmp_path):
    path = make_vector("l.gpkg", two(box), ["a", "b", "a", "b"], layer="mine")
    with pytest.raises(TilthError, match="does not exist"):
        read_labels(str(tmp_path / "no.gpkg"), "class", [image])
    with pytest.raises(TilthError, match="no layer 'other'; its layers are mine"):
        read_labels(f"{path}|layername=other", "class", [image])
    with pytest.raises(TilthError, match="no field 'kind'; its fields are class"):
        read_labels(path, "kind", [image])
    text = tmp_path / "a.txt"
    text.write_text("hello")
    with pytest.raises(TilthError, match=r"opened as a vector layer \([^;]*format\)$"):
        read_labels(str(text), "class", [image])


def test_layers_are_chosen_where_only_one_fits(image, make_vector, box):
    shapes, values = two(box), ["a", "b", "a", "b"]
    make_vector("l.gpkg", shapes, values, layer="first", kind="Polygon")
    more = {"kind": "Polygon", "append": True}
    path = make_vector("l.gpkg", shapes, values, layer="other", field="x", **more)
    assert read_labels(path, *on(image)).classes[0].name == "a"
    make_vector("l.gpkg", shapes, values, layer="third", **more)
    with pytest.raises(TilthError, match=r"several layers would do \(first, third\)"):
        read_labels(path, *on(image))
    labels = read_labels(f"{path}|layername=third|subset=\"class\" = 'a'", "class", [image],
                         minimum_classes=1)  # fmt: skip
    assert [entry.name for entry in labels.classes] == ["a"]


def test_points_only(image, make_vector):
    path = make_vector("l.gpkg", [shapely.Point(500050, 4999950)], ["a"], kind="Point")
    with pytest.raises(TilthError, match="no layer of polygons"):
        read_labels(path, *on(image))
    with pytest.raises(TilthError, match="no usable polygon"):
        read_labels(f"{path}|layername=labels", "class", [image])


def test_one_class(image, make_vector, box):
    path = make_vector("l.gpkg", two(box), ["a"] * 4)
    with pytest.raises(TilthError, match=r"at least 2 classes .* only a .*labelled areas"):
        read_labels(path, *on(image))


def test_a_class_with_one_polygon(image, make_vector, box):
    path = make_vector("l.gpkg", [*two(box), box(15, 15, 18, 18)], ["a", "b", "a", "b", "lone"])
    labels = read_labels(path, *on(image))
    assert [entry.validated for entry in labels.classes] == [True, True, False]
    assert warned(labels, "nothing of lone can be held out")


def test_labels_where_the_image_has_no_data(make_raster, make_vector, box):
    values = np.ones((1, 20, 20), np.uint16)
    values[:, :2, :] = 0
    values[:, 8:12, 8:12] = 0
    shapes = [*two(box), box(15, 15, 18, 18)]
    path = make_vector("l.gpkg", shapes, ["a", "a", "b", "gone", "b"])
    with Image.open([make_raster("g.tif", values, nodata=0)]) as image:
        labels = read_labels(path, *on(image))
    assert {entry.name: entry.pixels for entry in labels.classes} == {"a": 16, "b": 25}
    assert warned(labels, "32 labelled pixels have no data")
    assert warned(labels, "no labelled pixel is left of gone")
    assert 2 not in pixels(labels)[0] or labels.class_of(2).name == "b"


def areas(make_vector, *shapes):
    return make_vector("areas.gpkg", shapes, list(range(len(shapes))), field="n")


def test_labelled_areas_make_a_background(image, make_vector, box):
    path = make_vector("l.gpkg", two(box), ["tree"] * 4)
    area = areas(make_vector, box(0, 0, 6, 6), box(7, 7, 13, 13), box(50, 50, 60, 60))
    labels = read_labels(path, *on(image), labelled_area=area)
    assert [(c.code, c.name, c.pixels, c.polygons) for c in labels.classes] == [
        (1, "tree", 64, 4),
        (2, "background", 2 * 20, 2),
    ]
    codes, ids = pixels(labels)
    assert codes[5, 5] == 2 and codes[0, 0] == 1 and codes[6, 6] == 0
    assert ids[5, 5] != ids[7, 7]
    units = labels.units()
    assert units[ids[0, 0]] == units[ids[5, 5]] != units[ids[8, 8]] == units[ids[7, 7]]
    assert labels.class_of(2).validated


def test_the_background_code_is_the_next_free_one(image, make_vector, box):
    all_of_it = areas(make_vector, box(0, 0, 20, 20))
    path = make_vector("l.gpkg", two(box), [65535, 4, 65535, 4])
    labels = read_labels(path, "class", [image], labelled_area=all_of_it)
    assert [entry.code for entry in labels.classes] == [4, 65535, 1]
    path = make_vector("m.gpkg", two(box), [5, 4, 5, 4])
    labels = read_labels(path, "class", [image], labelled_area=all_of_it)
    assert [entry.code for entry in labels.classes] == [4, 5, 6]


def test_a_conflict_in_a_labelled_area_is_no_background(image, make_vector, box):
    all_of_it = areas(make_vector, box(0, 0, 20, 20))
    path = make_vector("l.gpkg", [box(0, 0, 6, 6), box(4, 4, 10, 10)], ["a", "b"])
    labels = read_labels(path, "class", [image], labelled_area=all_of_it)
    assert not pixels(labels)[0][4:6, 4:6].any()


def test_a_class_called_background_stays_apart(image, make_vector, box):
    all_of_it = areas(make_vector, box(0, 0, 20, 20))
    path = make_vector("l.gpkg", two(box), ["Background", "b", "Background", "b"])
    labels = read_labels(path, "class", [image], labelled_area=all_of_it)
    assert [c.name for c in labels.classes] == ["Background", "b", "background (labelled areas)"]


def test_labelled_areas_elsewhere(image, make_vector, box):
    path = make_vector("l.gpkg", two(box), ["a", "b", "a", "b"])
    labels = read_labels(
        path, "class", [image], labelled_area=areas(make_vector, box(50, 50, 60, 60))
    )
    assert len(labels.classes) == 2 and warned(labels, "there is no background")


def test_several_scenes_share_the_ids(make_raster, make_vector, box):
    east = Affine(10, 0, 500100, 0, -10, 5e6)  # half of it overlaps the first
    images = [
        Image.open([make_raster("w.tif", ones())]),
        Image.open([make_raster("e.tif", ones(), transform=east)]),
    ]
    shapes = [box(1, 1, 4, 4), box(11, 1, 14, 4), box(22, 1, 25, 4)]
    labels = read_labels(make_vector("l.gpkg", shapes, ["a", "b", "a"]), "class", images)
    where = {(polygon.id, polygon.image) for polygon in labels.polygons}
    assert where == {(1, 0), (2, 0), (2, 1), (3, 1)}
    assert pixels(labels, 0)[1][2, 12] == pixels(labels, 1)[1][2, 2] == 2
    assert [(c.polygons, c.pixels) for c in labels.classes] == [(2, 18), (1, 18)]
    assert not labels.class_of(2).validated  # one drawn object, though on two scenes


def test_objects_of_a_class_that_share_ground_are_one_unit(image, make_vector, box):
    shapes = [
        box(0, 0, 4, 4),
        box(2, 2, 6, 6),
        box(6, 2, 9, 6),
        box(12, 12, 14, 14),
        box(5, 5, 8, 8),
    ]
    labels = read_labels(make_vector("l.gpkg", shapes, ["a", "a", "a", "a", "b"]), *on(image))
    units = labels.units()
    assert units[1] == units[2] != units[3] != units[4]  # an edge in common is no ground
    assert units[5] == 5


def test_a_polygon_of_many_points(image, make_vector):
    turns = np.linspace(0, 2 * np.pi, 5000)
    ring = np.column_stack([500100 + 60 * np.cos(turns), 4999900 + 60 * np.sin(turns)])
    shapes = [shapely.Polygon(ring), shapely.box(500000, 4999980, 500020, 5e6)]
    labels = read_labels(make_vector("l.gpkg", shapes, ["a round", "b"]), *on(image))
    all_codes, _ = pixels(labels)
    assert (all_codes == 1).sum() == pytest.approx(np.pi * 36, abs=4)
    for col in range(0, 20, 5):  # cut to each window, it is the same
        part, _ = rasterise(labels, 0, Window(col, 7, 5, 6))
        assert np.array_equal(part, all_codes[7:13, col : col + 5])


def test_a_polygon_of_many_points_past_a_window(image, make_vector, box):
    # A diagonal river's box covers the window's corner, the river itself does not.
    middle = [(500000 + 10 * step, 5e6 - 10 * step) for step in np.linspace(0, 20, 300)]
    river = shapely.LineString(middle).buffer(10, cap_style="flat")
    labels = read_labels(make_vector("l.gpkg", [river, box(14, 0, 18, 4)], ["a", "b"]), *on(image))
    all_codes, _ = pixels(labels)
    part, _ = rasterise(labels, 0, Window(14, 0, 6, 6))
    assert np.array_equal(part, all_codes[:6, 14:]) and not (part == 1).any()
    assert (all_codes == 1).sum() > 20


def test_a_scene_without_any_polygon(image, make_raster, make_vector, box):
    far = Affine(10, 0, 700000, 0, -10, 5e6)
    with Image.open([make_raster("far.tif", ones(), transform=far)]) as other:
        path = make_vector("l.gpkg", two(box), ["a", "b", "a", "b"])
        labels = read_labels(path, "class", [image, other])
    assert not pixels(labels, 1)[0].any() and (pixels(labels, 0)[0] > 0).sum() == 64
