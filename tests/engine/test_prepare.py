"""What a training finds out before it starts: bands, dates, place, zoom, units."""

from __future__ import annotations

import contextlib
import dataclasses

import numpy as np
import pytest
import torch
from rasterio.crs import CRS
from rasterio.transform import Affine
from rasterio.warp import transform_bounds
from tilth_engine.backbones import catalogue
from tilth_engine.backbones.zoom import zoom_for
from tilth_engine.data.imagery import Image
from tilth_engine.data.place import location_of
from tilth_engine.errors import TilthError
from tilth_engine.events import Reporter
from tilth_engine.normalise import Normalisation
from tilth_engine.prepare import backbone_entry, matching_entry, prepared

from .worlds import PLACE, scene, square, train_job, two_classes, write_image, write_polygons

PRITHVI = "prithvi-2-tiny-tl"


@contextlib.contextmanager
def ready(folder, **changes):
    job = train_job(folder, **changes)
    job.check()
    with prepared(job, torch.device("cpu"), Reporter(lambda event: None)) as found:
        yield found


def ten_bands(folder):
    """Sentinel-2's bands of 10 and 20 m."""
    names = ("B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B11", "B12")
    values = np.concatenate([scene(), scene(), scene()])[:10]
    return write_image(folder / "s2.tif", values, names=names)


def series(folder, days=("20240501", "20240801")):
    return [
        write_image(folder / f"S2_{day}.tif", scene(seed=number)) for number, day in enumerate(days)
    ]


def test_the_embedded_backbone_sees_all(tmp_path):
    with ready(tmp_path) as found:
        inputs = found.inputs
        entry = matching_entry(found)

    assert (inputs.bands, inputs.left_out, inputs.zoom) == ((), (), 1.0)
    assert inputs.wavelengths == (485, 560, 660, 840)
    assert inputs.resolution_m == 10
    assert inputs.own_statistics
    assert inputs.location is None  # an adapter is shared: no place in it without need
    assert entry["summary"] == "4 of the image's 4 used; the model takes any"
    assert [row["model_band"] for row in entry["table"]] == ["+"] * 4


def test_a_model_of_six_bands_on_ten(tmp_path):
    with ready(tmp_path, images=[ten_bands(tmp_path)], backbone=PRITHVI) as found:
        inputs, entry = found.inputs, matching_entry(found)
        by_card = found.normalisations[0]

    assert inputs.left_out == (3, 4, 5, 6)
    assert inputs.seen().bands == (0, 1, 2, 3, 4, 5)
    assert inputs.zoom == 4  # tokens of 16 pixels, four of the image
    assert entry["summary"] == "6 of the image's 10 used; the model knows 6"
    assert [row["model_band"] for row in entry["table"]][6:8] == ["", entry["choices"][3]]
    assert by_card.by_card
    assert not inputs.own_statistics


def test_what_the_user_says_of_bands_units_and_zoom_goes(tmp_path):
    names = [band.name for band in catalogue.card_of(PRITHVI).bands]
    matching = [*names[:3], "", "+", "", names[3], "", "", ""]
    image = ten_bands(tmp_path)
    with ready(
        tmp_path, images=[image], backbone=PRITHVI, matching=matching, normalisation="image", zoom=2
    ) as found:
        inputs = found.inputs

    assert inputs.bands[:7] == (0, 1, 2, None, None, None, 3)
    assert inputs.picks == (0, 1, 2, 4, 6)
    assert inputs.zoom == 2
    assert inputs.own_statistics
    assert not found.normalisations[0].by_card


def test_what_is_assumed_and_what_does_not_fit_is_said(tmp_path):
    image = write_image(tmp_path / "plain.tif", scene().astype(np.uint16) + 4000, names=())
    with ready(tmp_path, images=[image], backbone=PRITHVI) as found:
        notes = " | ".join(found.notes)

    assert "does not say which bands" in notes
    assert "own statistics are used, since plain.tif: Band 1 has level-1" in notes
    with (
        pytest.raises(TilthError, match=r"normalisation: .*level-1"),
        ready(tmp_path, images=[image], backbone=PRITHVI, normalisation="card"),
    ):
        pass


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"backbone": "imaginary"}, "imaginary.*not known"),
        ({"class_field": "klass"}, "no field 'klass'; its fields are class"),
        ({"labels": "/nowhere.gpkg"}, "nowhere.gpkg: the file does not exist"),
        ({"labelled_area": "/area.gpkg"}, "area.gpkg: the file does not exist"),
    ],
)
def test_names_that_nothing_has_are_refused_before_an_image_is_opened(tmp_path, changes, message):
    with (
        pytest.raises(TilthError, match=message),
        ready(tmp_path, **{"images": [str(tmp_path / "nothing.tif")], **changes}),
    ):
        pass


def test_bands_are_refused_before_the_labels_are_read(tmp_path):
    """These labels would be refused, too: they lie nowhere near."""
    far = write_polygons(
        tmp_path / "far.gpkg", [square(9000, 9000), square(9100, 9000)], ["a", "b"]
    )
    with (
        pytest.raises(TilthError, match=r"'B99' is no band of .*B02, B03"),
        ready(tmp_path, labels=far, backbone=PRITHVI, matching=["B99", "", "", ""]),
    ):
        pass
    with pytest.raises(TilthError, match="no polygon lies on"), ready(tmp_path, labels=far):
        pass


def test_no_backbone_at_all(tmp_path):
    with ready(tmp_path, backbone="none", method="frozen") as found:
        entry = matching_entry(found)

    assert found.match is None
    assert entry["summary"] == ""
    assert backbone_entry(train_job(tmp_path, backbone="none"))["id"] == "none"
    with pytest.raises(TilthError, match="choose frozen"):
        train_job(tmp_path, backbone="none", method="lora").check()


def test_several_scenes_are_standardised_as_a_map_of_each_will_be(tmp_path):
    """By the first one's figures, in whatever units; where values are far off, by their own."""
    east = [PLACE.c + 2000 * number for number in range(4)]
    scenes = (scene(), scene() * 1.3, scene() / 10_000, scene() * 1e-6)
    kinds = (np.uint16, np.uint16, np.float32, np.float32)
    images = [
        write_image(
            tmp_path / f"{number}.tif",
            values.astype(kind),
            transform=Affine(10, 0, east[number], 0, -10, PLACE.f),
        )
        for number, (values, kind) in enumerate(zip(scenes, kinds, strict=True))
    ]
    with ready(tmp_path, images=images) as found:
        stored = Normalisation.from_dict(found.normalisations[0].to_dict())
        for image, made in zip(found.images, found.normalisations, strict=True):
            np.testing.assert_allclose(made.mean, stored.for_image(image)[0].mean)
        first, bright, unit, far = (made.mean for made in found.normalisations)

    assert np.array_equal(bright, first)
    np.testing.assert_allclose(unit, first / 10_000)
    assert (far < unit / 10).all()
    assert [text.split(":")[0] for text in found.warnings] == ["3.tif"]


def test_a_band_that_the_model_lacks_is_standardised_as_a_map_will_have_it(tmp_path):
    names = ("B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B11", "B12", "height")
    images = []
    for number, height in enumerate((100, 400)):
        values = np.concatenate([scene(), scene(), scene()])[:11]
        values[10] = height + np.arange(values[10].size).reshape(values[10].shape) % 50
        place = Affine(10, 0, PLACE.c + 2000 * number, 0, -10, PLACE.f)
        path = tmp_path / f"{number}.tif"
        images.append(write_image(path, values, names=names, transform=place))
    with ready(tmp_path, images=images, backbone="galileo-nano", normalisation="card") as found:
        assert found.normalisations[0].by_card and not found.inputs.own_statistics
        trained = [made.mean[10] for made in found.normalisations]
        assert trained == [pytest.approx(found.normalisations[0].mean[10])] * 2


def test_scenes_of_other_pixels_are_warned_of(tmp_path):
    coarse = Affine(30, 0, PLACE.c + 2000, 0, -30, PLACE.f)
    images = [
        write_image(tmp_path / "fine.tif", scene()),
        write_image(tmp_path / "coarse.tif", scene(), transform=coarse),
    ]
    with ready(tmp_path, images=images) as found:
        (text,) = found.warnings
    assert text.startswith("coarse.tif has pixels of 30 m, fine.tif of 10 m")


@pytest.mark.parametrize("split", ["polygons", "none"])
def test_what_nothing_is_held_out_of_is_not_validated(tmp_path, split):
    with ready(tmp_path, split=split) as found:
        held = {p.code for p in found.labels.polygons if p.id in found.split.validation_ids}
        assert {c.code for c in found.labels.classes if c.validated} == held
        assert found.warnings == []


# Date and place


def test_date_and_place_are_told_where_that_is_wanted(tmp_path):
    image = write_image(tmp_path / "S2_20240615.tif", scene())
    with ready(tmp_path, images=[image], backbone=PRITHVI, time_location=True) as found:
        inputs = found.inputs

    assert inputs.time_location
    assert inputs.dates == ("2024-06-15",)
    assert inputs.location == pytest.approx((-3, 45.15), abs=0.02)
    assert found.notes == []


def test_dates_that_are_given_and_those_that_nobody_knows(tmp_path):
    with ready(tmp_path, backbone=PRITHVI, time_location=True, dates=["2023-05-05"]) as found:
        assert found.inputs.dates == ("2023-05-05",)
    with ready(tmp_path, backbone=PRITHVI, time_location=True) as found:
        assert found.inputs.dates == ()
        assert "date is not known" in found.notes[0]
    with ready(tmp_path, time_location=True) as found:
        assert "can't be told date and place" in found.notes[0]
        assert not found.inputs.time_location


def test_a_stack_of_dates(tmp_path):
    labels = two_classes(tmp_path / "labels.gpkg")
    options = {"images": series(tmp_path), "stack": True, "labels": labels}
    with ready(tmp_path, backbone=PRITHVI, **options) as found:
        inputs = found.inputs

    assert inputs.frames == (0,) * 4 + (1,) * 4
    assert inputs.dates == ("2024-05-01", "2024-08-01")
    assert inputs.bands == (0, 1, 2, 3) * 2
    with ready(tmp_path, backbone="ssl4eo-s12-vit-s", **options) as found:
        seen = found.inputs.seen()
    assert len(seen.wavelengths) == 4
    assert seen.dates == ("2024-08-01",)


def test_place():
    class Nowhere:
        crs, georeferenced = None, False

    assert location_of(Nowhere()) is None


@pytest.mark.parametrize("crs", ["EPSG:32630", "EPSG:3857", "EPSG:4326"])
def test_the_place_is_the_centre_whatever_the_coordinates(tmp_path, crs):
    left, bottom, right, top = transform_bounds("EPSG:4326", crs, -3.1, 47.0, -3.0, 47.1)
    place = Affine((right - left) / 8, 0, left, 0, (bottom - top) / 8, top)
    path = write_image(tmp_path / "i.tif", scene(8, 8), crs=crs, transform=place)
    with Image.open([path]) as image:
        assert image.crs == CRS.from_string(crs)
        assert location_of(image) == pytest.approx((-3.05, 47.05), abs=0.01)


# Zoom


def test_zoom_makes_a_token_of_four_pixels_as_far_as_the_model_knows_such_sizes():
    base = catalogue.card_of(PRITHVI)

    def zoom(chip, **changes):
        return zoom_for(dataclasses.replace(base, **changes), chip)

    assert zoom(64, patch=16, native_size=224) == 4
    assert zoom(96, patch=16, native_size=224) == pytest.approx(1.15 * 224 / 96)
    assert zoom(512, patch=16, native_size=224) == 1
    assert zoom(64, patch=14, native_size=224) == 3.5
    assert zoom(64, patch=8, native_size=256) == 2
    assert zoom(64, patch=4, native_size=96) == 1
    assert zoom(64, patch=1, native_size=1) == 1
    for name in ("decur-resnet50", "unet-random", "timm:test_resnet"):
        card = catalogue.card_of(name)
        assert card.patch > 4
        assert zoom_for(card, 64) == 1, "its finest map is fine enough"
    assert zoom_for(catalogue.card_of("timm:test_vit"), 16) > 1


def test_a_name_that_no_adapter_file_holds_is_refused_before_the_training(tmp_path):
    long = "x" * 2001
    with pytest.raises(TilthError, match=r"name: x+… has 2001 letters, more than the 2000"):
        ready(tmp_path, name=long).__enter__()
    labels = write_polygons(
        tmp_path / "long.gpkg", [square(0, 0, 9), square(20, 20, 9)], ["a", long]
    )
    with pytest.raises(TilthError, match=r"labels: a class's name: x+… has 2001 letters"):
        ready(tmp_path, labels=labels).__enter__()
