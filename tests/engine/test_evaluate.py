"""Scores, and maps scored against references of every kind."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import shapely
from rasterio.transform import Affine
from sklearn.metrics import accuracy_score, f1_score, jaccard_score
from tilth_engine.errors import TilthError
from tilth_engine.evaluate import evaluate, scores
from tilth_engine.jobs import EvaluateJob

RNG = np.random.default_rng(11)
CLASSES = [{"code": code, "name": name} for code, name in ((1, "a"), (2, "b"), (5, "c"))]


def test_scores_are_those_of_scikit_learn():
    truth, found = RNG.integers(0, 3, 500), RNG.integers(0, 3, 500)
    confusion = np.zeros((3, 3), np.int64)
    np.add.at(confusion, (truth, found), 1)
    result = scores(confusion, CLASSES)
    assert result["overall_accuracy"] == pytest.approx(accuracy_score(truth, found))
    assert result["macro_f1"] == pytest.approx(f1_score(truth, found, average="macro"))
    assert result["mean_iou"] == pytest.approx(jaccard_score(truth, found, average="macro"))
    assert [row["f1"] for row in result["per_class"]] == pytest.approx(
        f1_score(truth, found, average=None).tolist()
    )
    assert [row["code"] for row in result["per_class"]] == [1, 2, 5]
    json.dumps(result, allow_nan=False)


def test_rows_are_the_reference_and_columns_the_map():
    row = scores(np.array([[6, 2], [0, 4]]), CLASSES[:2])["per_class"][0]
    assert row["producers_accuracy"] == 6 / 8 and row["users_accuracy"] == 1.0
    assert row["support"] == 8 and row["iou"] == 6 / 8


def test_a_class_without_reference_does_not_enter_the_means():
    confusion = np.array([[8, 0, 2], [0, 10, 0], [0, 0, 0]])
    result = scores(confusion, CLASSES)
    third = result["per_class"][2]
    assert third["f1"] is None and third["iou"] is None and third["producers_accuracy"] is None
    assert third["users_accuracy"] == 0.0
    assert result["macro_f1"] == pytest.approx((16 / 18 + 1) / 2)
    nothing = scores(np.zeros((3, 3)), CLASSES)
    assert nothing["overall_accuracy"] is None and nothing["macro_f1"] is None


MAP = np.repeat(np.repeat(np.array([[1, 2], [3, 0]], np.uint8), 10, 0), 10, 1)


def sidecar(path, *names):
    listed = "".join(f"<Category>{name}</Category>" for name in ("", *names))
    Path(f"{path}.aux.xml").write_text(
        f"<PAMDataset><PAMRasterBand band='1'><CategoryNames>{listed}</CategoryNames>"
        "</PAMRasterBand></PAMDataset>"
    )
    return path


@pytest.fixture
def plain_map(make_raster):
    """Codes 1, 2, 3 and nothing in a quarter each, no names."""
    return make_raster("map.tif", MAP, nodata=0)


@pytest.fixture
def named_map(make_raster):
    """The same, with names and a colour table."""
    table = {1: (1, 2, 3, 255), 2: (16, 32, 48, 255), 3: (9, 9, 9, 255)}
    path = make_raster("named.tif", MAP, nodata=0, finish=lambda d: d.write_colormap(1, table))
    return sidecar(path, "Wald", "Wiese", "See")


def run(map_path, reference, field="", out=""):
    return evaluate(EvaluateJob(str(map_path), str(reference), field, str(out)))


def test_a_raster_by_code(plain_map, make_raster):
    reference = MAP.astype(np.int16)
    reference[0, :5] = 2  # five wrong
    reference[1, :4] = -1
    reference[2, :3] = 0
    reference[3, :2] = 99
    path = make_raster("r.tif", reference, nodata=99)
    result = run(plain_map, path)
    assert result["matched_by"] == "code" and result["pixels"] == 300 - 9
    assert result["overall_accuracy"] == pytest.approx(1 - 5 / 291)
    assert [row["name"] for row in result["per_class"]] == ["1", "2", "3"]
    assert result["confusion"] == [[86, 0, 0], [5, 100, 0], [0, 0, 100]]


def test_pixels_without_a_map_are_left_out_and_counted(plain_map, make_raster):
    result = run(plain_map, make_raster("r.tif", np.ones((20, 20), np.uint8)))
    assert result["unmapped"] == 100 and result["pixels"] == 300
    assert any("100 reference pixels" in text for text in result["warnings"])


def test_polygons_by_code_and_by_name(plain_map, named_map, make_vector, box):
    shapes = [box(0, 0, 10, 10), box(10, 0, 20, 10), box(0, 10, 10, 20), box(2, 2, 4, 4)]
    codes = make_vector("c.gpkg", shapes[:3], [1, 2, 2])
    result = run(plain_map, codes, "class")
    assert result["matched_by"] == "code"
    assert result["confusion"] == [[100, 0, 0], [0, 100, 100], [0, 0, 0]]
    names = make_vector("n.gpkg", shapes[:3], ["wald ", "Wiese", "See"])
    result = run(named_map, names, "class")
    assert result["matched_by"] == "name" and result["overall_accuracy"] == 1.0
    assert [entry["name"] for entry in result["classes"]] == ["Wald", "Wiese", "See"]
    assert result["classes"][1] == {"code": 2, "name": "Wiese", "colour": "#102030"}


def test_a_named_map_and_reference_codes(named_map, make_vector, box):
    path = make_vector("c.gpkg", [box(0, 0, 10, 10), box(10, 0, 20, 10)], [1, 2])
    result = run(named_map, path, "class")
    assert result["matched_by"] == "code" and result["overall_accuracy"] == 1.0
    assert [row["name"] for row in result["per_class"]] == ["Wald", "Wiese", "See"]


def test_values_that_are_the_maps_names_though_numbers(make_raster, make_vector, box):
    # A map learned from 0/1 labels: code 1 is called "0", code 2 is called "1".
    path = sidecar(make_raster("m.tif", MAP % 3, nodata=0), "0", "1")
    reference = make_vector("r.gpkg", [box(0, 0, 10, 10), box(10, 0, 20, 10)], [0, 1])
    result = run(path, reference, "class")
    assert result["matched_by"] == "name" and result["overall_accuracy"] == 1.0


def test_zero_and_negatives_of_a_vector_are_left_out(plain_map, make_vector, box):
    shapes = [box(0, 0, 10, 10), box(10, 0, 15, 10), box(15, 0, 20, 10)]
    result = run(plain_map, make_vector("r.gpkg", shapes, [1, 0, -1]), "class")
    assert result["pixels"] == 100 and result["overall_accuracy"] == 1.0
    with pytest.raises(TilthError, match="nothing to score"):
        run(plain_map, make_vector("z.gpkg", shapes, [0, 0, -1]), "class")


def test_numbers_as_text_are_codes(plain_map, make_vector, box):
    path = make_vector("r.gpkg", [box(10, 0, 20, 10), box(0, 10, 10, 20)], ["2", "3"])
    assert run(plain_map, path, "class")["overall_accuracy"] == 1.0


def test_several_spellings_of_a_class_are_one(named_map, plain_map, make_vector, box):
    shapes = [box(0, 0, 10, 4), box(0, 4, 10, 10), box(10, 0, 20, 10)]
    worded = make_vector("w.gpkg", shapes, ["Wald", "wald", "Wiese"])
    assert run(named_map, worded, "class")["confusion"] == [[100, 0, 0], [0, 100, 0], [0, 0, 0]]
    other = make_vector("o.gpkg", shapes, ["Moor", "moor", "Wiese"])
    result = run(named_map, other, "class")
    assert [c["name"] for c in result["classes"]][3:] == ["Moor"] and result["pixels"] == 200
    numbers = make_vector("n.gpkg", shapes, ["1", "01", "2"])
    assert run(plain_map, numbers, "class")["pixels"] == 200


def test_classes_that_differ_by_case_alone_are_two(make_raster, make_vector, box):
    path = sidecar(make_raster("m.tif", MAP, nodata=0), "Water", "water", "Land")
    shapes = [box(0, 0, 10, 10), box(10, 0, 20, 10), box(0, 10, 10, 20)]
    reference = make_vector("r.gpkg", shapes, ["Water", "water", "Land"])
    assert run(path, reference, "class")["overall_accuracy"] == 1.0


def test_a_class_that_only_the_reference_has(named_map, make_vector, box):
    path = make_vector("r.gpkg", [box(0, 0, 10, 10), box(10, 0, 20, 10)], ["Wald", "Moor"])
    result = run(named_map, path, "class")
    assert [(c["code"], c["name"]) for c in result["classes"]][-1] == (4, "Moor")
    assert result["per_class"][3]["f1"] == 0.0 and result["overall_accuracy"] == 0.5
    assert result["macro_f1"] == pytest.approx(0.5)


def test_names_that_meet_nothing(plain_map, named_map, make_vector, box):
    path = make_vector("r.gpkg", [box(0, 0, 10, 10), box(10, 0, 20, 10)], ["Fels", "Moor"])
    with pytest.raises(TilthError, match=r"Fels, Moor.*classes have no names"):
        run(plain_map, path, "class")
    with pytest.raises(TilthError, match=r"Fels, Moor.*Wald, Wiese, See"):
        run(named_map, path, "class")


def test_raster_names_in_another_order(named_map, make_raster):
    reference = np.where(MAP > 0, 4 - MAP.astype(int), 0).astype(np.uint8)
    path = sidecar(make_raster("r.tif", reference, nodata=0), "See", "Wiese", "Wald")
    result = run(named_map, path)
    assert result["matched_by"] == "name" and result["overall_accuracy"] == 1.0


def test_points_count_for_their_pixel(plain_map, make_vector):
    points = [shapely.Point(500005, 4999995), shapely.Point(500155, 4999955)]
    result = run(plain_map, make_vector("p.gpkg", points, [1, 3], kind="Point"), "class")
    assert result["pixels"] == 2 and result["overall_accuracy"] == 0.5


def test_each_of_a_features_points_counts(plain_map, make_vector):
    # As QGIS collects them by class; none on a pixel's centre.
    spread = [shapely.Point(500002 + 10 * column, 4999992) for column in range(3)]
    path = make_vector("p.gpkg", [shapely.MultiPoint(spread)], [1], kind="MultiPoint")
    assert run(plain_map, path, "class")["per_class"][0]["support"] == 3


def test_references_on_other_grids(plain_map, make_raster, make_vector):
    fine = np.repeat(np.repeat(MAP, 4, 0), 4, 1)
    path = make_raster("f.tif", fine, transform=Affine(2.5, 0, 500000, 0, -2.5, 5e6), nodata=0)
    assert run(plain_map, path)["overall_accuracy"] == 1.0
    # The same ground in degrees.
    lon0, lat0, lon1, lat1 = 9.0, 45.15, 9.003, 45.155
    values = np.ones((50, 50), np.uint8)
    grid = Affine((lon1 - lon0) / 50, 0, lon0, 0, -(lat1 - lat0) / 50, lat1)
    result = run(plain_map, make_raster("g.tif", values, crs="EPSG:4326", transform=grid))
    assert result["per_class"][0]["producers_accuracy"] == pytest.approx(1 / 3)
    shape = shapely.box(lon0, lat0, lon1, lat1)
    result = run(plain_map, make_vector("g.gpkg", [shape], [2], crs="EPSG:4326"), "class")
    assert result["overall_accuracy"] == pytest.approx(1 / 3)


def test_no_common_ground(plain_map, make_raster, make_vector, box):
    far = make_raster("far.tif", MAP, transform=Affine(10, 0, 900000, 0, -10, 5e6))
    with pytest.raises(TilthError, match="none of its labelled pixels lies on the classified"):
        run(plain_map, far)
    with pytest.raises(TilthError, match="no polygon lies on the image"):
        run(plain_map, make_vector("far.gpkg", [box(500, 0, 510, 10)], [1]), "class")


def test_bad_input(plain_map, make_raster, make_vector, box, tmp_path):
    vector = make_vector("r.gpkg", [box(0, 0, 9, 9)], [1])
    # The option to give, and what there is to give.
    with pytest.raises(TilthError, match=r"r\.gpkg: .*\(--class-field\); its fields are class$"):
        run(plain_map, vector)
    with pytest.raises(TilthError, match="no field 'x'"):
        run(plain_map, vector, "x")
    with pytest.raises(TilthError, match="does not exist"):
        run(tmp_path / "no.tif", vector, "class")
    with pytest.raises(TilthError, match="does not exist"):
        run(plain_map, tmp_path / "no.tif")
    with pytest.raises(TilthError, match="3 bands"):
        run(plain_map, make_raster("rgb.tif", np.ones((3, 20, 20), np.uint8)))
    with pytest.raises(TilthError, match=r"\.json or \.html"):
        run(plain_map, vector, "class", tmp_path / "out.pdf")
    with pytest.raises(TilthError, match=r"folder .* does not exist"):
        run(plain_map, vector, "class", tmp_path / "no" / "out.json")


def test_a_report_that_cannot_be_written_is_refused_first(tmp_path):
    """Before the map is looked at, which isn't there."""
    report = tmp_path / "nowhere" / "r.html"
    with pytest.raises(TilthError, match=r"folder .*nowhere does not exist"):
        evaluate(EvaluateJob(str(tmp_path / "no.tif"), "no.gpkg", "class", str(report)))


def test_reports_are_written(named_map, make_raster, tmp_path):
    reference = make_raster("r.tif", MAP, nodata=0)
    result = run(named_map, reference, out=tmp_path / "s.json")
    assert json.loads((tmp_path / "s.json").read_text(encoding="utf-8")) == result
    run(named_map, reference, out=tmp_path / "s.html")
    page = (tmp_path / "s.html").read_text(encoding="utf-8")
    assert "Wiese" in page and "Confusion matrix" in page
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".tilth")]


def test_many_windows_give_the_same(make_raster, monkeypatch):
    import tilth_engine.evaluate as module

    truth = RNG.integers(0, 4, (70, 90)).astype(np.uint8)
    found = RNG.integers(0, 4, (70, 90)).astype(np.uint8)
    paths = make_raster("m.tif", found, nodata=0), make_raster("r.tif", truth, nodata=0)
    first = run(*paths)
    monkeypatch.setattr(module, "_WINDOW", 16)
    assert run(*paths) == first
    both = (truth > 0) & (found > 0)
    assert first["overall_accuracy"] == pytest.approx(np.mean(truth[both] == found[both]))


def test_aberystwyth(scenes):
    folder = scenes / "aberystwyth_s2"
    result = run(folder / "class_map_modelled.tif", folder / "labels.gpkg", "class_id")
    assert result["pixels"] == 6580 and result["overall_accuracy"] == pytest.approx(0.999, abs=1e-3)
    same = run(folder / "class_map_modelled.tif", folder / "labels_10m.tif")
    assert same["confusion"] == result["confusion"]


@pytest.mark.parametrize("codes", [(1, 2, 3), (7, 300, 60000)])
def test_tilths_own_maps_tell_their_names(make_vector, box, tmp_path, codes):
    from rasterio.crs import CRS
    from tilth_engine.map_file import class_map

    names = ("Wald & Moor", "<Wiese>", "Sée")
    classes = [
        {"code": code, "name": name, "value": name, "colour": f"#0000{number:02x}"}
        for number, (code, name) in enumerate(zip(codes, names, strict=True), 1)
    ]
    path = tmp_path / "own.tif"
    grid = Affine(10, 0, 500000, 0, -10, 5e6)
    with class_map(str(path), 20, 20, CRS.from_epsg(32632), grid, classes, {}) as target:
        values = np.array([0, *codes])[MAP]
        target.write(values.astype(target.dtypes[0]), 1)
    shapes = [box(0, 0, 10, 10), box(10, 0, 20, 10), box(0, 10, 10, 20), box(10, 10, 20, 20)]
    reference = make_vector("r.gpkg", shapes, [*names, "Sée"])
    result = run(path, reference, "class")
    assert result["matched_by"] == "name" and result["overall_accuracy"] == 1.0
    assert [entry["code"] for entry in result["classes"]] == list(codes)
    Path(f"{path}.aux.xml").unlink()  # the tag in the file itself still knows them
    assert run(path, reference, "class")["per_class"] == result["per_class"]
