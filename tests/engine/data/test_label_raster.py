"""Label rasters: codes, regions, names, other grids."""

from __future__ import annotations

import time

import numpy as np
import pytest
import shapely
from rasterio.transform import Affine
from rasterio.windows import Window
from scipy import ndimage
from tilth_engine.data import label_raster
from tilth_engine.data import regions as regions_module
from tilth_engine.data.imagery import Image
from tilth_engine.data.label_raster import category_names, colour_table, read_label_raster
from tilth_engine.data.labels import rasterise
from tilth_engine.data.regions import find_regions
from tilth_engine.data.splits import split
from tilth_engine.errors import TilthError
from tilth_engine.jobs import ClassStyle


@pytest.fixture
def image(make_raster):
    with Image.open([make_raster("image.tif", np.ones((1, 40, 50), np.uint16))]) as image:
        yield image


def codes_of(labels, width=50, height=40):
    return rasterise(labels, 0, Window(0, 0, width, height))[0]


def patches():
    values = np.zeros((40, 50), np.int16)
    values[2:8, 2:8] = 3
    values[20:30, 5:9] = 3
    values[2:8, 20:30] = 7
    values[30:38, 30:40] = 7
    return values


def test_regions_are_the_polygons(image, make_raster):
    values = patches()
    values[15, 15], values[16, 16] = -1, -9999
    path = make_raster("labels.tif", values, nodata=-9999)
    labels = read_label_raster(path, [image])
    assert np.array_equal(codes_of(labels), np.maximum(patches(), 0))
    assert [(c.code, c.name, c.polygons, c.pixels) for c in labels.classes] == [
        (3, "3", 2, 36 + 40),
        (7, "7", 2, 60 + 80),
    ]
    assert len(labels.ids) == 4 and not labels.warnings
    part = rasterise(labels, 0, Window(-5, -5, 20, 20))[0]
    assert np.array_equal(part[5:, 5:], np.maximum(patches(), 0)[:15, :15])
    assert not part[:5].any()


def test_a_split_never_cuts_a_region(image, make_raster):
    labels = read_label_raster(make_raster("labels.tif", patches()), [image])
    parts = split(labels, "polygons", 0)
    codes, ids = rasterise(labels, 0, Window(0, 0, 50, 40))
    for code in (3, 7):
        found, count = ndimage.label(codes == code)
        for number in range(1, count + 1):
            assert len(np.unique(ids[found == number])) == 1
        held = np.isin(ids[codes == code], list(parts.validation_ids))
        assert held.any() and not held.all()


def test_another_grid_and_crs(image, make_raster):
    # 20 m pixels, half a pixel off, other system: nearest, and no code that was not there.
    coarse = np.zeros((22, 27), np.uint8)
    coarse[:10, :27], coarse[12:, :] = 3, 7
    path = make_raster("c.tif", coarse, transform=Affine(20, 0, 499990, 0, -20, 5000010))
    codes = codes_of(read_label_raster(path, [image]))
    assert set(np.unique(codes)) == {0, 3, 7}
    assert (codes[:19] == 3).all() and not codes[20:22].any() and (codes[24:] == 7).all()


def test_it_may_cover_a_part_only(image, make_raster):
    values = np.array([[1, 2], [2, 1]], np.uint8)
    path = make_raster("p.tif", values, transform=Affine(10, 0, 500100, 0, -10, 4999900))
    codes = codes_of(read_label_raster(path, [image]))
    assert (codes > 0).sum() == 4 and codes[10:12, 10:12].tolist() == [[1, 2], [2, 1]]


def test_elsewhere(image, make_raster):
    path = make_raster("e.tif", patches(), crs="EPSG:25833")
    with pytest.raises(TilthError) as error:
        read_label_raster(path, [image])
    text = str(error.value)
    assert "EPSG:25833" in text and "EPSG:32632" in text and "the numbers alone would fit" in text


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (np.full((40, 50), 1.5, np.float32), "fractions such as 1.5"),
        (np.full((40, 50), 70000, np.int32), "70000 is beyond 65535"),
        (np.arange(2000, dtype=np.int32).reshape(40, 50), "more than 1000 different codes"),
        (np.zeros((40, 50), np.uint8), "no labelled pixel"),
        (np.full((40, 50), 4, np.uint8), "at least 2 classes"),
        (np.ones((2, 40, 50), np.uint8), "2 bands"),
        (np.ones((40, 50), np.complex64), "complex"),
    ],
)
def test_what_is_no_label_raster(image, make_raster, values, text):
    with pytest.raises(TilthError, match=text):
        read_label_raster(make_raster("l.tif", values), [image])


def test_missing(image, tmp_path):
    with pytest.raises(TilthError, match="does not exist"):
        read_label_raster(str(tmp_path / "no.tif"), [image])


def test_floats_with_nan_as_unlabelled(image, make_raster):
    values = patches().astype(np.float32)
    values[values == 0] = np.nan
    assert np.array_equal(
        codes_of(read_label_raster(make_raster("f.tif", values), [image])), patches()
    )


LISTED = """<PAMDataset><PAMRasterBand band="1"><CategoryNames><Category />
<Category></Category><Category></Category><Category>Moor &amp; bog</Category><Category></Category>
<Category></Category><Category></Category><Category>Wald</Category></CategoryNames>
</PAMRasterBand></PAMDataset>"""
TABLE = """<PAMDataset><PAMRasterBand band="1"><GDALRasterAttributeTable tableType="thematic">
<FieldDefn index="0"><Name>Class</Name><Type>2</Type><Usage>2</Usage></FieldDefn>
<FieldDefn index="1"><Name>Value</Name><Type>0</Type><Usage>5</Usage></FieldDefn>
<Row index="0"><F>Moor &amp; bog</F><F>3</F></Row><Row index="1"><F>Wald</F><F>7</F></Row>
</GDALRasterAttributeTable></PAMRasterBand></PAMDataset>"""


@pytest.mark.parametrize("sidecar", [LISTED, TABLE])
def test_names_and_colours_of_the_raster(image, make_raster, sidecar):
    table = {3: (16, 32, 48, 255), 7: (0, 128, 0, 255)}
    path = make_raster(
        "n.tif", patches().astype(np.uint8), finish=lambda d: d.write_colormap(1, table)
    )
    with open(f"{path}.aux.xml", "w") as file:  # noqa: PTH123
        file.write(sidecar)
    assert category_names(path) == {3: "Moor & bog", 7: "Wald"}
    assert colour_table(path)[7] == "#008000"
    labels = read_label_raster(path, [image], styles=[ClassStyle("7", "Forest", "#123456")])
    assert [(c.name, c.colour) for c in labels.classes] == [
        ("Moor & bog", "#102030"),
        ("Forest", "#123456"),
    ]
    assert labels.classes[1].polygons == 2


def test_names_of_tilths_own_tag(make_raster):
    tag = '[{"code": 3, "name": "Wald"}]'
    path = make_raster("t.tif", patches(), finish=lambda d: d.update_tags(TILTH_CLASSES=tag))
    assert category_names(path) == {3: "Wald"}
    path = make_raster("u.tif", patches(), finish=lambda d: d.update_tags(TILTH_CLASSES='{"a": 1}'))
    assert category_names(path) == {}


@pytest.mark.parametrize(
    "tag",
    [
        '[{"code": 1e999, "name": "x"}]',
        '[{"code": 70000, "name": "x"}, {"code": -1, "name": "x"}]',
        '[{"code": {}, "name": "x"}]',
        "[" * 100_000,
        "[5]",
        "5",
    ],
)
def test_a_tag_that_holds_no_classes_is_none(make_raster, tag):
    path = make_raster("t.tif", patches(), finish=lambda d: d.update_tags(TILTH_CLASSES=tag))
    assert category_names(path) == {}


def with_sidecar(make_raster, text):
    path = make_raster("s.tif", patches())
    with open(f"{path}.aux.xml", "w", encoding="utf-8") as file:  # noqa: PTH123
        file.write(f"<PAMDataset><PAMRasterBand band='1'>{text}</PAMRasterBand></PAMDataset>")
    return path


def table_of(columns, *rows):
    fields = "".join(f"<FieldDefn index='0'>{column}</FieldDefn>" for column in columns)
    lines = "".join(f"<Row index='0'>{row}</Row>" for row in rows)
    return f"<GDALRasterAttributeTable x='y'>{fields}{lines}</GDALRasterAttributeTable>"


VALUE, NAME = "<Name>v</Name><Usage>5</Usage>", "<Name>n</Name><Usage>2</Usage>"


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (
            "<CategoryNames>\n<Category/><Category />a<Category>x</Category></CategoryNames>",
            {2: "x"},
        ),
        ("<CategoryNames><Category></Category><Category>a&lt;b</Category>", {}),
        ("<CategoryNames/>", {}),
        ("<CategoryNamesOf><Category/><Category>x</Category></CategoryNamesOf>", {}),
        (table_of([VALUE, "<Name>free</Name>", NAME], "<F>3</F><F/><F>a</F>"), {3: "a"}),
        (table_of([NAME, VALUE], "<F>a</F><F>3.000</F>", "<F />  <F>4</F>"), {3: "a"}),
        (table_of([VALUE, NAME], "<F>3</F>", "<F>-4</F><F>a</F>", "<F>5.5</F><F>a</F>"), {}),
        (table_of([VALUE, NAME], f"<F>{'9' * 400}</F><F>a</F>"), {}),
        (table_of([VALUE], "<F>3</F>"), {}),
        (table_of([VALUE, NAME], f"<F>3</F><F>&#{'9' * 5000};</F>"), {3: f"&#{'9' * 5000};"}),
    ],
)
def test_names_are_read_as_they_stand_in_the_file_beside(make_raster, monkeypatch, text, names):
    monkeypatch.setattr(label_raster, "_virtual_copy", lambda path: "")  # GDAL's reading of it
    assert category_names(with_sidecar(make_raster, text)) == names


@pytest.mark.parametrize(
    "text",
    [
        "<CategoryNames>" * 20_000,
        "<CategoryNames>" + "<Category>" * 20_000 + "</CategoryNames>",
        table_of(["<Usage>1</Usage><FieldDefn>" * 4000], "<F>" * 20_000),
        "<GDALRasterAttributeTable>" + "<FieldDefn>" * 20_000 + "</GDALRasterAttributeTable>",
        "<GDALRasterAttributeTable>"
        + "<FieldDefn>" * 300
        + "<Usage>1</Usage>" * 300
        + "</GDALRasterAttributeTable>",
    ],
)
def test_a_crafted_file_beside_takes_no_time(make_raster, text):
    path = with_sidecar(make_raster, text)
    start = time.process_time()
    assert category_names(path) == {}
    assert time.process_time() - start < 2


def test_a_huge_file_beside_is_not_read(make_raster, monkeypatch):
    listed = "<CategoryNames><Category/><Category>x</Category></CategoryNames>"
    path = with_sidecar(make_raster, listed)
    monkeypatch.setattr(label_raster, "_virtual_copy", lambda path: "")
    assert category_names(path) == {1: "x"}
    monkeypatch.setattr(label_raster, "_MOST_BYTES", 50)
    assert category_names(path) == {}


def test_labelled_areas_and_regions(image, make_raster, make_vector, box):
    values = patches()
    values[values == 7] = 0
    area = make_vector("a.gpkg", [box(0, 0, 10, 10), box(0, 18, 12, 32)], [1, 2], field="n")
    labels = read_label_raster(make_raster("l.tif", values), [image], labelled_area=area)
    assert [(c.code, c.name, c.pixels) for c in labels.classes] == [
        (3, "3", 76),
        (4, "background", 100 - 36 + 12 * 14 - 40),
    ]
    units = labels.units()
    assert len(set(units.values())) == 2  # each area with what lies in it


def noise(height, width, classes=3, seed=0):
    rng = np.random.default_rng(seed)
    smooth = ndimage.uniform_filter(rng.random((height, width)), 3)
    return (np.digitize(smooth, np.quantile(smooth, [0.3, 0.6, 0.8])) % (classes + 1)).astype("u2")


def reader_of(values):
    return lambda col, row, width, height: values[row : row + height, col : col + width]


@pytest.mark.parametrize("tile", [7, 16, 64])
def test_regions_do_not_depend_on_tiles(monkeypatch, tile):
    values = noise(41, 53)
    monkeypatch.setattr(regions_module, "_TILE", tile)
    found = find_regions(reader_of(values), 53, 41, offset=10)
    codes, ids = found.read(0, 0, 53, 41)
    assert np.array_equal(codes, values)
    assert set(np.unique(ids[ids > 0])) == set(range(11, 11 + found.count))
    expected = sum(ndimage.label(values == code)[1] for code in (1, 2, 3))
    assert found.count == expected
    for number in range(1, found.count + 1):
        where = np.argwhere(ids == number + 10)
        assert len(np.unique(values[ids == number + 10])) == 1
        low, high = where.min(0), where.max(0) + 1
        assert found.boxes[number].tolist() == [low[1], low[0], high[1], high[0]]


def test_very_many_regions_share_ids_but_are_not_cut(monkeypatch):
    values = noise(60, 80)
    before = find_regions(reader_of(values), 80, 60)
    monkeypatch.setattr(regions_module, "_MOST_REGIONS", 50)
    monkeypatch.setattr(regions_module, "_CELLS", 4)
    after = find_regions(reader_of(values), 80, 60)
    assert after.count <= 3 * 16 < before.count
    fine, coarse = before.read(0, 0, 80, 60)[1], after.read(0, 0, 80, 60)
    assert np.array_equal(coarse[0], values)
    pairs = np.unique(np.stack([fine.ravel(), coarse[1].ravel()]), axis=1)
    assert len(np.unique(pairs[0])) == pairs.shape[1]  # each region lies in one group


def test_large_grids_lie_in_a_file(monkeypatch):
    monkeypatch.setattr(regions_module, "_IN_MEMORY", 100)
    values = noise(30, 30)
    found = find_regions(reader_of(values), 30, 30)
    assert isinstance(found._ids, np.memmap)
    assert np.array_equal(found.read(0, 0, 30, 30)[0], values)


def test_boxes_of_regions_on_the_map(image, make_raster):
    labels = read_label_raster(make_raster("labels.tif", patches()), [image])
    first = labels.polygons[0]
    assert first.geometry.equals(shapely.box(500020, 4999920, 500080, 4999980))
