"""The unseen region: a straight line, all classes before it, as many as possible beyond."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
import shapely
from rasterio.transform import Affine
from rasterio.windows import Window
from tilth_engine.data.burn import rasterise
from tilth_engine.data.grid import apply
from tilth_engine.data.imagery import Image
from tilth_engine.data.labels import read_labels
from tilth_engine.data.splits import split
from tilth_engine.errors import TilthError


@pytest.fixture
def image(make_raster):
    with Image.open([make_raster("image.tif", np.ones((1, 100, 100), np.uint16))]) as image:
        yield image


@pytest.fixture
def labelled(image, make_vector):
    def read(shapes, values, **options):
        return read_labels(make_vector("l.gpkg", shapes, values), "class", [image], **options)

    return read


def grid(box, columns, rows, side=6):
    return [box(x, y, x + side, y + side) for y in rows for x in columns]


def columns_of(labels, ids):
    return [p.pixel_geometry.centroid.x for p in labels.polygons if p.id in ids]


def test_a_quarter_beyond_a_line_and_a_quarter_of_the_rest(labelled, box):
    labels = labelled(grid(box, range(0, 100, 10), range(0, 100, 10)), (["a", "a", "b"] * 34)[:100])

    parts = split(labels, "regions", 3)

    there = parts.region.ids
    assert parts.train_ids | parts.validation_ids | there == set(labels.ids)
    assert not parts.train_ids & parts.validation_ids
    assert not (parts.train_ids | parts.validation_ids) & there
    assert len(there) in (20, 30)
    assert len(parts.validation_ids) == pytest.approx((100 - len(there)) / 4, abs=2)
    assert not parts.unvalidated
    assert split(labels, "regions", 3) == parts
    other = split(labels, "regions", 4)
    assert other.region == parts.region and other.validation_ids != parts.validation_ids


def test_the_line_lies_where_the_classes_are_on_both_sides(labelled, box):
    # Class c is in the north alone, so that no line from west to east leaves it on both sides.
    shapes = grid(box, range(0, 100, 10), range(0, 100, 20))
    values = ["c" if number < 10 and number % 2 else "ab"[number % 2] for number in range(50)]
    labels = labelled(shapes, values)

    region = split(labels, "regions").region

    assert region.name in ("the east", "the west")
    beyond = {p.code for p in labels.polygons if p.id in region.ids}
    assert beyond == {1, 2, 3}


@pytest.mark.parametrize(
    ("name", "there", "inside"),
    [
        ("the east", (90, 50), lambda x, y: x),
        ("the west", (0, 50), lambda x, y: -x),
        ("the north", (50, 0), lambda x, y: -y),
        ("the south", (50, 90), lambda x, y: y),
    ],
)
def test_what_the_region_is_called(labelled, box, name, there, inside):
    """A class of one polygon at each of the other edges leaves one way to cut."""
    places = [(x, y) for y in range(0, 100, 10) for x in range(0, 100, 10)]
    lonely = {place: f"only {place}" for place in ((90, 50), (0, 50), (50, 0), (50, 90))}
    values = [lonely.get(place, "ab"[number % 3 // 2]) for number, place in enumerate(places)]
    values[places.index(there)] = "a"
    labels = labelled(grid(box, range(0, 100, 10), range(0, 100, 10)), values)

    region = split(labels, "regions").region

    depth = {p.id: inside(*p.pixel_geometry.centroid.coords[0]) for p in labels.polygons}
    assert region.name == name
    assert min(depth[i] for i in region.ids) > max(
        depth[i] for i in labels.ids if i not in region.ids
    )


def test_no_pixel_of_the_near_polygons_lies_beyond(labelled, box):
    rng = np.random.default_rng(1)
    corners = rng.uniform(0, 90, (60, 2))
    shapes = [box(x, y, x + rng.uniform(1, 9), y + rng.uniform(1, 9)) for x, y in corners]
    labels = labelled(shapes, ["a", "b"] * 30)

    parts = split(labels, "regions")

    left, top, right, bottom = (max(0, min(100, edge)) for edge in parts.region.near[0])
    outside = np.ones((100, 100), bool)
    outside[top:bottom, left:right] = False
    ids = rasterise(labels, 0, Window(0, 0, 100, 100))[1]
    near = np.isin(ids, sorted(parts.train_ids | parts.validation_ids))
    assert near.any() and not (near & outside).any()
    assert (np.isin(ids, sorted(parts.region.ids)) & outside).any()
    assert (ids[outside] > 0).sum() / (ids > 0).sum() == pytest.approx(0.25, abs=0.08)


def test_an_image_whose_rows_go_north(make_raster, make_vector, box):
    values = np.ones((1, 100, 100), np.uint16)
    upwards = Affine(10, 0, 500000, 0, 10, 4999000)
    shapes = [box(x, y, x + 5, y + 5) for y in range(0, 100, 10) for x in (0, 40)]
    path = make_vector("l.gpkg", shapes, ["a", "b"] * 10)
    with Image.open([make_raster("up.tif", values, transform=upwards)]) as image:
        labels = read_labels(path, "class", [image])
        region = split(labels, "regions").region

    there = [p.geometry.centroid.y for p in labels.polygons if p.id in region.ids]
    rest = [p.geometry.centroid.y for p in labels.polygons if p.id not in region.ids]
    assert region.name in ("the north", "the south")
    assert (min(there) > max(rest)) == (region.name == "the north")
    assert (max(there) < min(rest)) == (region.name == "the south")


def test_an_image_that_lies_aslant_has_a_right_and_a_left_part(make_raster, make_vector):
    step, across = 10 * np.cos(np.pi / 6), 10 * np.sin(np.pi / 6)
    place = Affine(step, across, 500000, across, -step, 5000000)
    corners = [(x, y) for x in range(0, 100, 10) for y in (0, 40)]
    shapes = [
        shapely.Polygon(
            [apply(place, *p) for p in ((x, y), (x + 5, y), (x + 5, y + 5), (x, y + 5))]
        )
        for x, y in corners
    ]
    path = make_vector("l.gpkg", shapes, ["a", "b"] * 10)
    raster = make_raster("aslant.tif", np.ones((1, 100, 100), np.uint16), transform=place)
    with Image.open([raster]) as image:
        labels = read_labels(path, "class", [image])
        region = split(labels, "regions").region

    there, rest = (columns_of(labels, ids) for ids in (region.ids, set(labels.ids) - region.ids))
    assert region.name in ("the right part", "the left part")
    assert (min(there) > max(rest)) == (region.name == "the right part")


def test_of_several_scenes_a_whole_one(make_raster, make_vector, box):
    values = np.ones((1, 100, 100), np.uint16)
    names = [f"{name}.tif" for name in "abc"]
    places = [Affine(10, 0, 500000 + 2000 * n, 0, -10, 5000000) for n in range(3)]
    shapes = [
        box(200 * n + x, y, 200 * n + x + 5, y + 5)
        for n in range(3)
        for y in (0, 30, 60)
        for x in (0, 50)
    ]
    path = make_vector("l.gpkg", shapes, ["a", "b"] * 9)
    with contextlib.ExitStack() as stack:
        images = [
            stack.enter_context(Image.open([make_raster(name, values, transform=place)]))
            for name, place in zip(names, places, strict=True)
        ]
        labels = read_labels(path, "class", images)
        region = split(labels, "regions").region

    assert region.name == "image 1"
    assert region.near[0] is None and None not in region.near[1:]
    assert region.ids == {p.id for p in labels.polygons if p.image == 0}


def test_scenes_of_the_same_ground_are_cut_by_one_line(make_raster, make_vector, box):
    """Two dates as two images, the second of half the resolution: no ground on both sides."""
    first = make_raster("a.tif", np.ones((1, 100, 100), np.uint16))
    coarse = Affine(20, 0, 500000, 0, -20, 5000000)
    second = make_raster("b.tif", np.ones((1, 50, 50), np.uint16), transform=coarse)
    shapes = [box(x, y, x + 6, y + 6) for y in (0, 30, 60) for x in range(0, 90, 10)]
    path = make_vector("l.gpkg", shapes, (["a", "b"] * 14)[:27])
    with Image.open([first]) as one, Image.open([second]) as two:
        labels = read_labels(path, "class", [one, two])
        parts = split(labels, "regions")

    near, half = parts.region.near
    edges = [(a, b) for a, b in zip(near, half, strict=True) if abs(a) < 10**8]
    assert len(edges) == 1 and edges[0][1] == pytest.approx(edges[0][0] / 2, abs=0.5)
    for polygon in labels.polygons:
        left, top, right, bottom = polygon.pixel_geometry.bounds
        box_ = parts.region.near[polygon.image]
        inside = left >= box_[0] and top >= box_[1] and right <= box_[2] and bottom <= box_[3]
        assert inside or polygon.id in parts.region.ids


def test_overlapping_polygons_and_labelled_areas_are_not_torn(labelled, make_vector, box):
    shapes = grid(box, range(5, 100, 20), range(5, 100, 20), 4)
    area = make_vector("a.gpkg", grid(box, range(0, 100, 20), range(0, 100, 20), 15),
                       list(range(25)), field="n")  # fmt: skip
    labels = labelled(shapes, ["a"] * 25, labelled_area=area)

    parts = split(labels, "regions")

    units = labels.units()
    there = {units[id_] for id_ in parts.region.ids}
    assert not there & {units[id_] for id_ in parts.train_ids | parts.validation_ids}


@pytest.mark.parametrize(
    ("places", "values"),
    [
        (((0, 0), (50, 0), (0, 50), (50, 50)), "aabb"),  # nothing would be left to score near
        (((0, 0), (0, 10), (0, 20), (60, 0), (60, 10), (60, 20)), "abcdef"),
        (((0, 0), (0, 10), (0, 20), (60, 0), (60, 10), (60, 20)), "aaabcd"),
    ],
)
def test_too_few_polygons_are_one_clear_line(labelled, box, places, values):
    labels = labelled([box(x, y, x + 5, y + 5) for x, y in places], list(values))

    with pytest.raises(TilthError, match=r"split regions: no straight line .* draw polygons"):
        split(labels, "regions")


def test_a_class_of_one_polygon_stays_near(labelled, box):
    shapes = grid(box, range(0, 100, 10), range(0, 100, 10))
    for lonely in (0, 9, 90, 99, 55):
        values = ["ab"[number % 2] for number in range(100)]
        values[lonely] = "c"
        labels = labelled(shapes, values)
        parts = split(labels, "regions")
        assert lonely + 1 in parts.train_ids
        assert labels.classes[2].code in parts.unvalidated
