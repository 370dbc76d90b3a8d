"""The real scenes beside the clone: what their READMEs say is what we read."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
from rasterio.windows import Window
from tilth_engine.data.imagery import Image
from tilth_engine.data.label_raster import read_label_raster
from tilth_engine.data.labels import rasterise, read_labels
from tilth_engine.data.splits import folds, split
from tilth_engine.errors import TilthError


def whole(image):
    return Window(0, 0, image.width, image.height)


def test_aberystwyth(scenes):
    folder = scenes / "aberystwyth_s2"
    with Image.open([str(folder / "image_s2.tif")]) as image:
        assert [round(b.wavelength_nm) for b in image.bands] == [
            492, 560, 665, 704, 740, 783, 833, 865, 1614, 2202,
        ]  # fmt: skip
        assert image.scale.kind == "reflectance1000" and image.resolution_m == 10
        labels = read_labels(str(folder / "labels.gpkg"), "class_name", [image])
        codes, _ = rasterise(labels, 0, whole(image))
    assert [(c.code, c.name, c.polygons) for c in labels.classes] == [
        (1, "forest", 9),
        (2, "grass", 11),
        (3, "urban", 13),
        (4, "water", 7),
    ]
    assert sum(c.pixels for c in labels.classes) == 6580 and not labels.warnings
    with rasterio.open(folder / "labels_10m.tif") as reference:
        assert np.array_equal(codes, reference.read(1))
    for part in folds(labels, 5, 0):
        assert {p.code for p in labels.polygons if p.id in part} == {1, 2, 3, 4}
    assert not split(labels, "polygons", 0).unvalidated


def test_concise(scenes):
    folder = scenes / "concise_s2"
    path = f"{folder / 'labels.gpkg'}|layername=training_polygons"
    with Image.open([str(folder / "image_s2.tif")]) as image:
        assert image.scale.kind == "reflectance10000_offset"
        labels = read_labels(path, "class_id", [image])
        by_name = read_labels(path, "class_name", [image])
        codes, _ = rasterise(labels, 0, whole(image))
    assert [c.polygons for c in labels.classes] == [1, 3, 4, 6, 1, 3, 1, 3]
    assert [c.validated for c in labels.classes] == [c.polygons > 1 for c in labels.classes]
    pixels = {c.name: c.pixels for c in by_name.classes}
    assert max(pixels.values()) == pixels["lake-deep"] == 28419
    assert min(pixels.values()) == 66
    with rasterio.open(folder / "labels_10m.tif") as reference:
        assert np.array_equal(codes, reference.read(1))


def test_flanders(scenes):
    folder = scenes / "flanders_fields_s2"
    name = "BEFL-TEST-s2_2023-05-01_2023-07-01_B08-B04-B03_min_byte.tif"
    area = str(folder / "fields_BEFL-s2-fields-2023_locations.gpkg")
    polygons = str(folder / "fields_BEFL-s2-fields-2023_polygons.gpkg")
    with Image.open([str(folder / name)]) as image:
        assert [round(b.wavelength_nm) for b in image.bands] == [833, 665, 560]
        assert image.scale.kind == "bytes"
        labels = read_labels(polygons, "label_name", [image], labelled_area=area)
        with pytest.raises(TilthError, match="at least 2 classes"):
            read_labels(polygons, "label_name", [image])
        codes, ids = rasterise(labels, 0, whole(image))
    assert [(c.name, c.polygons) for c in labels.classes] == [("field", 154), ("background", 11)]
    assert any("null geometries (1)" in text for text in labels.warnings)
    assert any("44 polygons lie outside" in text for text in labels.warnings)
    boxes = [p for p in labels.polygons if p.background]
    assert sum(p.geometry.area for p in boxes) <= 11 * 640 * 640 * 1.001
    # Inside the boxes every pixel is one or the other.
    background = labels.classes[1]
    assert (codes == background.code).sum() == background.pixels
    inside = {p.id for p in boxes}
    assert set(np.unique(ids[codes == background.code])) == inside
    parts = split(labels, "polygons", 0)
    assert not parts.unvalidated and inside & parts.validation_ids and inside & parts.train_ids


def test_zion(scenes, tmp_path):
    folder = scenes / "zion_landsat8_nlcd"
    with Image.open([str(folder / "image_l8_dn.tif")]) as image:
        assert image.scale.kind == "level1" and image.resolution_m == 30
        labels = read_label_raster(str(folder / "labels_nlcd2011_8cls.tif"), [image])
        pixels = {c.code: c.pixels for c in labels.classes}
        assert pixels == {
            1: 1334, 2: 19473, 3: 117179, 4: 848057, 5: 602583, 6: 5360, 7: 9626, 8: 7172,
        }  # fmt: skip
        drawn = f"{folder / 'labels.gpkg'}|layername=simulated_training_polygons_west"
        polygons = read_labels(drawn, "class_id", [image])
        assert len(polygons.polygons) == 103
        codes, _ = rasterise(labels, 0, whole(image))
        # As the source is: tagged with a Mexican system (the same zone) and 31.5 m pixels.
        with rasterio.open(folder / "labels_nlcd2011_8cls.tif") as source:
            odd = retagged(source, tmp_path / "odd.tif", "EPSG:6367", 31.5)
            wrong = retagged(source, tmp_path / "wrong.tif", "EPSG:32633", 30)
        other, _ = rasterise(read_label_raster(odd, [image]), 0, whole(image))
        assert np.mean(other == codes) > 0.85  # nearest of coarser pixels, not shifted
        with pytest.raises(TilthError, match=r"EPSG:32633.*EPSG:32612.*numbers alone would fit"):
            read_label_raster(wrong, [image])


def retagged(source, path, crs, pixel):
    """The raster at another pixel size, with another coordinate system's tag."""
    scale = pixel / 30
    shape = (int(source.height / scale), int(source.width / scale))
    rows = ((np.arange(shape[0]) + 0.5) * scale).astype(int)
    columns = ((np.arange(shape[1]) + 0.5) * scale).astype(int)
    a = source.transform
    profile = {
        **source.profile,
        "crs": crs,
        "height": shape[0],
        "width": shape[1],
        "transform": rasterio.Affine(pixel, 0, a.c, 0, -pixel, a.f),
    }
    with rasterio.open(path, "w", **profile) as target:
        target.write(source.read(1)[np.ix_(rows, columns)], 1)
    return str(path)


def test_yellowstone_trees(scenes):
    folder = scenes / "yell_trees_rgb_10cm"
    with Image.open([str(folder / "image_rgb.tif")]) as image:
        assert [b.name for b in image.bands] == ["red", "green", "blue"]
        assert image.resolution_m == pytest.approx(0.1) and image.scale.kind == "bytes"
        labels = read_labels(str(folder / "labels.gpkg"), "split", [image])
        assert {c.name: c.polygons for c in labels.classes} == {"train": 167, "test": 95, "gap": 17}


def test_labels_of_another_scene(scenes):
    with Image.open([str(scenes / "aberystwyth_s2" / "image_s2.tif")]) as image:
        path = f"{scenes / 'concise_s2' / 'labels.gpkg'}|layername=training_polygons"
        with pytest.raises(TilthError, match=r"EPSG:32632.*EPSG:27700"):
            read_labels(path, "class_id", [image])
