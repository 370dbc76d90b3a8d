"""Mapping an image with an adapter: the right bands, units, place and files."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from rasterio.transform import Affine
from rasterio.warp import transform, transform_bounds
from tilth_engine import adapter_file
from tilth_engine.data.imagery import Image
from tilth_engine.errors import Cancelled, TilthError
from tilth_engine.events import Reporter
from tilth_engine.jobs import Extent, PredictJob
from tilth_engine.model.segmenter import DecoderSettings
from tilth_engine.predict import Models, predict, window_of

from .worlds import BANDS, CRS, PLACE, scene, square, write_adapter, write_image, write_polygons


class Maps:
    """Runs prediction jobs on the trained adapter and reads what they leave."""

    def __init__(self, adapter, folder):
        self.adapter, self.folder = adapter, folder
        self.models = Models()
        self.warnings = []

    def job(self, image, **options):
        values = {"adapter": self.adapter, "images": [image], "out": str(self.folder / "map.tif")}
        return PredictJob(**{**values, "device": "cpu", "threads": 1, **options})

    def __call__(self, image, **options):
        job = self.job(image, **options)
        job.check()
        self.result = predict(job, Reporter(lambda event: None), self.models)
        self.warnings = self.result["warnings"]
        return read(job.out)


def read(path):
    with rasterio.open(path) as file:
        return file.read(1)


@pytest.fixture
def maps(trained, tmp_path):
    return Maps(trained.job.out, tmp_path)


@pytest.fixture(scope="module")
def reference(trained, tmp_path_factory):
    """The map of the scene that was trained on."""
    return Maps(trained.job.out, tmp_path_factory.mktemp("reference"))(trained.job.images[0])


def test_the_map_is_right_and_lies_where_the_image_lies(trained, maps, reference):
    expected = np.where(np.arange(96) < 48, 1, 2)

    assert (reference == expected).mean() > 0.97
    maps(trained.job.images[0])
    with rasterio.open(maps.folder / "map.tif") as made:
        assert (made.crs, made.transform) == (rasterio.crs.CRS.from_string(CRS), PLACE)
    assert maps.result["pixels"] == 96 * 96
    assert maps.result["name"] == "Wasser & Wald"
    assert [entry["name"] for entry in maps.result["classes"]] == ["water", "wood"]
    assert maps.warnings == []


def test_bands_are_matched_by_name(maps, tmp_path, reference):
    order = [3, 0, 2, 1]
    image = write_image(
        tmp_path / "turned.tif", scene()[order], names=[BANDS[index] for index in order]
    )

    assert np.array_equal(maps(image), reference)


@pytest.mark.parametrize("gain", [0.8, 1.25])
def test_another_date_with_other_shares_is_mapped_in_the_adapters_units(maps, tmp_path, gain):
    """All wood, darker or brighter: by the image's own mean it would be half water."""
    wood = np.concatenate([scene(seed=4)[:, :, 48:], scene(seed=5)[:, :, 48:]], axis=2)
    image = write_image(tmp_path / "later.tif", (wood * gain).astype(np.uint16))

    assert (maps(image) == 2).mean() > 0.95
    assert maps.warnings == []


def test_further_bands_do_no_harm(maps, tmp_path, reference):
    values = np.concatenate([scene()[::-1], scene()[:2] * 2])
    image = write_image(tmp_path / "more.tif", values, names=[*BANDS[::-1], "SWIR1", "SWIR2"])

    assert np.array_equal(maps(image), reference)


def test_a_stack_of_single_bands_is_the_same_image(maps, tmp_path, reference):
    files = [
        write_image(tmp_path / f"{name}.tif", scene()[index : index + 1], names=[name])
        for index, name in enumerate(BANDS)
    ]

    assert np.array_equal(maps(None, images=files[::-1], stack=True), reference)


def test_other_bands_are_refused_and_both_sides_named(maps, tmp_path):
    image = write_image(tmp_path / "rgb.tif", scene()[:3], names=("Red", "Green", "Blue"))

    with pytest.raises(TilthError, match=r"NIR.*Red.*Green.*Blue"):
        maps(image)
    assert not (tmp_path / "map.tif").exists()


@pytest.mark.parametrize(
    "units",
    [
        lambda v: (v // 10).astype(np.uint16),
        lambda v: v + 1000,
        lambda v: (v / 10000).astype(np.float32),
    ],
    ids=["x1000", "offset", "0 to 1"],
)
def test_other_units_give_the_same_map(maps, tmp_path, reference, units):
    image = write_image(tmp_path / "units.tif", units(scene()))

    again = maps(image)

    assert (again == reference).mean() > 0.99


def test_values_that_make_no_sense_are_warned_of(maps, tmp_path):
    image = write_image(tmp_path / "odd.tif", (scene().astype(np.float32) * 1e-4 - 30))

    maps(image)

    assert any("values are far" in text for text in maps.warnings)


def test_a_far_other_resolution_is_warned_of(maps, tmp_path):
    fine = rasterio.Affine(0.2, 0, 500_000, 0, -0.2, 5_000_000)

    maps(write_image(tmp_path / "fine.tif", scene(), transform=fine))

    assert any("0.2 m" in text and "10 m" in text for text in maps.warnings)


# Places


def test_an_extent_is_the_cut_out(trained, maps, reference):
    left, top = 500_000 + 333, 5_000_000 - 207  # inside pixels 33 and 20

    part = maps(trained.job.images[0], extent=Extent(left, top - 400, left + 300, top))

    assert part.shape == (41, 31)
    assert np.array_equal(part, reference[20:61, 33:64])
    with rasterio.open(maps.folder / "map.tif") as file:
        assert file.transform[2] == 500_330
        assert file.transform[5] == 4_999_800


def test_an_extent_in_another_crs(trained, maps, reference):
    box = transform_bounds(CRS, "EPSG:4326", 500_300, 4_999_500, 500_600, 4_999_800)

    part = maps(trained.job.images[0], extent=Extent(*box, "EPSG:4326"))

    height, width = part.shape
    assert 30 <= height <= 33
    assert 30 <= width <= 33
    with rasterio.open(maps.folder / "map.tif") as file:
        column = round((file.transform[2] - PLACE[2]) / 10)
        row = round((PLACE[5] - file.transform[5]) / 10)
    assert np.array_equal(part, reference[row : row + height, column : column + width])


@pytest.mark.parametrize("west", [179.5, -180.5])
@pytest.mark.parametrize("columns", [(10, 30), (90, 110), (150, 170)])
def test_an_extent_across_180_degrees(tmp_path, west, columns):
    place = Affine(0.005, 0, west, 0, -0.005, -16.5)
    path = write_image(tmp_path / "i.tif", scene(width=200), crs="EPSG:4326", transform=place)
    # In a system that knows no break there.
    ends = [(west + 0.005 * column + 180) % 360 - 180 for column in columns]
    xs, ys = transform("EPSG:4326", "EPSG:3832", ends, [-16.8, -16.6])
    with Image.open([path]) as image:
        window = window_of(image, Extent(xs[0], ys[0], xs[1], ys[1], "EPSG:3832"))
    assert window.col_off == pytest.approx(columns[0], abs=1)
    assert window.width == pytest.approx(20, abs=2)


def test_an_extent_that_reaches_outside_is_cut(trained, maps, reference):
    part = maps(trained.job.images[0], extent=Extent(0, 0, 500_101, 9e6))

    assert np.array_equal(part, reference[:, :11])


@pytest.mark.parametrize(
    ("extent", "word"),
    [
        (Extent(0, 0, 10, 10), "outside"),
        (Extent(500_960, 4_999_040, 501_000, 5_000_000), "outside"),
        (Extent(10, 80, 20, 89, "EPSG:4326"), "outside|place"),
        (Extent(-180, -90, 180, -89.9, "EPSG:4326"), "outside|place"),
        (Extent(0, 0, 1, 1, "EPSG:0"), "coordinate"),
        (Extent(0, 0, 1, 1, "no such thing"), "coordinate"),
    ],
)
def test_an_extent_that_fails_is_told(trained, maps, extent, word):
    with pytest.raises(TilthError, match=word):
        maps(trained.job.images[0], extent=extent)
    assert list(maps.folder.iterdir()) == []


def test_a_mask_leaves_nodata_outside(trained, maps, tmp_path, reference):
    mask = write_polygons(tmp_path / "mask.gpkg", [square(40, 10, 20), None])

    part = maps(trained.job.images[0], mask=mask)

    expected = np.zeros_like(reference)
    expected[10:30, 40:60] = reference[10:30, 40:60]
    assert np.array_equal(part, expected)
    assert maps.result["pixels"] == 400


def test_a_mask_elsewhere_is_told(trained, maps, tmp_path):
    mask = write_polygons(tmp_path / "mask.gpkg", [square(4000, 10)])

    with pytest.raises(TilthError, match="mask"):
        maps(trained.job.images[0], mask=mask)
    assert not (tmp_path / "map.tif").exists()


def test_a_mask_that_leaves_nothing_to_map_is_told(trained, maps, tmp_path):
    """One beside the extent, and one whose polygon lies between the centres of pixels."""
    corner = Extent(500_000, 4_999_900, 500_100, 5_000_000)
    for shape, extent in ((square(40, 40), corner), (square(40.6, 40.6, 0.8), None)):
        mask = write_polygons(tmp_path / "mask.gpkg", [shape])
        with pytest.raises(TilthError, match=r"mask: no polygon of .* holds the centre") as caught:
            maps(trained.job.images[0], mask=mask, extent=extent)
        assert ("extent on" in str(caught.value)) == (extent is not None)
        assert not (tmp_path / "map.tif").exists()
        Path(mask).unlink()


# Gaps and sizes


def test_nodata_in_is_nodata_out_and_nothing_else_is_lost(maps, tmp_path, reference):
    values = scene().astype(np.float32)
    values[:, 10:20, 30:40] = np.nan
    values[2, 50, 50] = np.nan
    values[0, 60, 60] = np.inf
    values[:, 90:, :] = -9999
    image = write_image(tmp_path / "gaps.tif", values, nodata=-9999)
    gaps = np.isnan(values).any(0) | np.isinf(values).any(0) | (values == -9999).any(0)

    made = maps(image, confidence=str(tmp_path / "c.tif"))

    assert np.array_equal(made == 0, gaps)
    assert np.array_equal(read(tmp_path / "c.tif") == 255, gaps)
    assert (made == reference)[~gaps].mean() > 0.98


def test_an_image_of_nothing_is_a_map_of_nothing(maps, tmp_path):
    image = write_image(tmp_path / "empty.tif", np.full((4, 40, 40), np.nan, np.float32))

    assert not maps(image).any()
    assert maps.result["pixels"] == 0
    assert any("the map is empty" in text for text in maps.warnings)


@pytest.mark.parametrize(("height", "width"), [(20, 20), (64, 64), (1, 90), (90, 1), (65, 130)])
def test_any_size_of_image(maps, tmp_path, height, width):
    image = write_image(tmp_path / "s.tif", scene(height, width))

    made = maps(image)

    assert made.shape == (height, width)
    assert set(np.unique(made)) <= {1, 2}


def test_a_rotated_image_keeps_its_place(maps, tmp_path, reference):
    turned = rasterio.Affine(8, 6, 500_000, 6, -8, 5_000_000)

    made = maps(write_image(tmp_path / "turned.tif", scene(), transform=turned))

    assert np.array_equal(made, reference)
    with rasterio.open(tmp_path / "map.tif") as file:
        assert file.transform == turned


def test_confidence_and_probabilities(trained, maps, tmp_path, reference):
    maps(
        trained.job.images[0],
        confidence=str(tmp_path / "c.tif"),
        probabilities=str(tmp_path / "p.tif"),
    )

    confidence = read(tmp_path / "c.tif")
    with rasterio.open(tmp_path / "p.tif") as file:
        chances = file.read()
        assert file.descriptions == ("water", "wood")
    assert confidence.min() >= 50
    assert confidence.max() <= 100
    assert np.array_equal(chances.max(0), confidence)
    assert (np.abs(chances.sum(0).astype(int) - 100) <= 1).all()
    clear = chances[0] != chances[1]
    assert np.array_equal(chances.argmax(0)[clear] + 1, reference[clear])


# Files


def test_no_input_is_ever_written_over(trained, maps, tmp_path):
    image = str(shutil.copy(trained.job.images[0], tmp_path / "image.tif"))
    before = Path(image).read_bytes()
    (tmp_path / "link.tif").symlink_to(image)
    for options in (
        {"out": image},
        {"out": str(tmp_path / "link.tif")},
        {"out": str(tmp_path / "sub" / ".." / "image.tif")},
        {"confidence": image},
        {"probabilities": str(tmp_path / "map.tif")},
    ):
        with pytest.raises(TilthError, match="choose another"):
            maps(image, **options)
    assert Path(image).read_bytes() == before


def test_cancel_in_the_middle_leaves_nothing(trained, maps, tmp_path):
    seen = []
    job = maps.job(trained.job.images[0], confidence=str(tmp_path / "c.tif"))
    reporter = Reporter(seen.append, lambda: len(seen) > 1)

    with pytest.raises(Cancelled):
        predict(job, reporter, maps.models)
    assert list(tmp_path.iterdir()) == []


def test_an_adapter_of_other_weights_is_refused(maps, trained, tmp_path):
    values = {"id": "embedded", "title": "", "licence": "", "sha256": "0" * 64, "random": False}
    for backbone in (values, {**values, "id": "prithvi"}):
        adapter = write_adapter(tmp_path / "other.tilth", backbone=backbone)
        with pytest.raises(TilthError, match=r"other weights|does not have"):
            maps(trained.job.images[0], adapter=adapter)


def test_the_model_is_kept_until_the_adapter_changes(trained, tmp_path):
    from torch import device

    path = tmp_path / "a.tilth"
    shutil.copy(trained.job.out, path)
    models = Models()
    first = models.get(str(path), device("cpu"))
    assert models.get(str(path), device("cpu")) is first

    write_adapter(path)
    second = models.get(str(path), device("cpu"))
    assert second is not first
    assert second.card["name"] == "two"

    path.unlink()
    with pytest.raises(TilthError, match="no such"):
        models.get(str(path), device("cpu"))


@pytest.mark.parametrize("classes", [2, 254])
def test_many_classes_and_large_codes(maps, trained, tmp_path, classes):
    entries = [
        {"code": 65535 - index, "name": f"c{index}", "colour": "#123456"}
        for index in range(classes)
    ]
    adapter = write_adapter(tmp_path / "many.tilth", classes=entries)
    image = write_image(tmp_path / "i.tif", scene(40, 40))

    made = maps(image, adapter=adapter)

    assert made.dtype == np.uint16
    assert made.min() >= 65535 - classes


@pytest.mark.parametrize(
    ("name", "value"),
    [("distilled.spread", 0.0), ("distilled.lowest", 70_000.0), ("trust", 5.0), ("trust", -1.0)],
)
def test_weights_that_make_no_sense_are_refused(tmp_path, name, value):
    path = write_adapter(tmp_path / "a.tilth")
    adapter = adapter_file.read(path)
    adapter.decoder[name] = torch.full_like(adapter.decoder[name], value)
    adapter_file.write(path, adapter, {})
    image = write_image(tmp_path / "i.tif", scene())

    with pytest.raises(TilthError, match="make no sense") as caught:
        Maps(path, tmp_path)(image)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "map.tif").exists()


def test_a_forest_on_a_backbone_is_refused(tmp_path):
    path = write_adapter(tmp_path / "a.tilth")
    adapter = adapter_file.read(path)
    adapter.card["decoder"] = DecoderSettings("forest").to_dict()
    adapter_file.write(path, adapter, {})

    with pytest.raises(TilthError, match="forest looks at no backbone"):
        Maps(path, tmp_path)(write_image(tmp_path / "i.tif", scene()))


def test_a_map_that_comes_to_no_numbers_ends_in_a_clear_line(tmp_path):
    path = write_adapter(tmp_path / "a.tilth")
    adapter = adapter_file.read(path)
    # So large that sums of them are infinite, and differences of these no numbers.
    for name, tensor in adapter.decoder.items():
        if "distilled.layers" in name:
            adapter.decoder[name] = torch.full_like(tensor, 1e25)
    adapter_file.write(path, adapter, {})

    with pytest.raises(TilthError, match="no numbers here"):
        Maps(path, tmp_path)(write_image(tmp_path / "i.tif", scene()))
    assert not (tmp_path / "map.tif").exists()
