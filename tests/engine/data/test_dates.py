"""Dates of files, and which bands of a stack are of which date."""

from __future__ import annotations

import numpy as np
import pytest
from tilth_engine.data.bands import Band
from tilth_engine.data.dates import date_in, date_of, frames_of
from tilth_engine.data.imagery import Image
from tilth_engine.errors import TilthError

RED, NIR = Band("B4", 664.6), Band("B8", 832.8)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("S2A_MSIL2A_20200615T105031_N0214_R051_T31UFS_20200616T141243", "2020-06-15"),
        ("LC08_L2SP_038034_20200610_20200824_02_T1", "2020-06-10"),
        ("T31UFS_20230501_B8A_20m", "2023-05-01"),
        ("field 2024-02-29", "2024-02-29"),
        ("field_2024_02_29", "2024-02-29"),
        ("20200615105031", "2020-06-15"),
        ("MOD09A1.A2020167.h18v04", "2020-06-15"),
        ("ndvi_202007", "2020-07-15"),
        ("ndvi-2020-07", "2020-07-15"),
        ("aerial_2019", "2019-07-01"),
        ("2020:06:15 10:50:31", "2020-06-15"),
        ("scene_20201345", ""),
        ("scene_2023-02-30", "2023-02-15"),
        ("tile_038034", ""),
        ("a120200615", ""),
        ("scene", ""),
    ],
)
def test_a_date_is_found_in_a_name(name, expected):
    assert date_in(name) == expected


def test_metadata_of_the_acquisition_come_before_the_name_and_that_before_the_files_own_date():
    tags = {"date_acquired": "2020-06-10", "tifftag_datetime": "2021:01:01 00:00:00"}
    assert date_of("/data/mosaic_20200801.tif", tags) == "2020-06-10"
    del tags["date_acquired"]
    assert date_of("/data/mosaic_20200801.tif", tags) == "2020-08-01"
    assert date_of("/2019-05-05/mosaic.tif", tags) == "2021-01-01"
    assert date_of("/data/mosaic.tif", {**tags, "date": "2021-05-27"}) == "2021-05-27"
    assert date_of("/data/mosaic.tif", {}) == ""


def test_files_with_the_same_bands_are_a_series_in_the_order_of_time():
    frames, dates = frames_of(
        [0, 0, 1, 1, 2, 2], [RED, NIR] * 3, ["2021-07-01", "2021-05-01", "2021-06-01"]
    )
    assert dates == ("2021-05-01", "2021-06-01", "2021-07-01")
    assert frames == (2, 2, 0, 0, 1, 1)


def test_a_series_may_have_a_file_for_each_band():
    days = ["2021-05-01", "2021-06-01", "2021-05-01", "2021-06-01"]
    frames, dates = frames_of([0, 1, 2, 3], [RED, RED, NIR, NIR], days)
    assert (frames, dates) == ((0, 1, 0, 1), ("2021-05-01", "2021-06-01"))


def test_names_that_say_the_date_are_the_same_band():
    bands = [Band("20210501_B4", 664.6), Band("20210601_B4", 664.6)]
    assert frames_of([0, 1], bands, ["2021-05-01", "2021-06-01"])[0] == (0, 1)


@pytest.mark.parametrize(
    ("bands", "days", "dates"),
    [
        ([RED, NIR], ["2021-05-01", "2021-06-01"], ()),  # other bands
        ([RED, RED], ["2021-05-01", ""], ()),  # a file without a date
        ([RED, NIR], ["2021-05-01", "2021-05-01"], ("2021-05-01",)),
        ([RED, NIR], ["", ""], ()),
    ],
)
def test_anything_else_is_one_date(bands, days, dates):
    assert frames_of([0, 1], bands, days) == ((), dates)


def _named(dataset):
    for number, name in enumerate(("B4", "B8"), 1):
        dataset.set_band_description(number, name)


def _series(make_raster, names):
    """A file for each name, its values the number of the file."""
    return [
        make_raster(name, np.full((2, 8, 8), number, np.uint16), finish=_named)
        for number, name in enumerate(names)
    ]


def test_a_stack_is_ordered_by_date_whatever_the_order_of_its_files(make_raster):
    paths = _series(make_raster, ["s_20210701.tif", "s_20210501.tif", "s_20210601.tif"])
    for given in (paths, paths[::-1]):
        with Image.open(given, stack=True) as image:
            assert image.times() == (
                (0, 0, 1, 1, 2, 2),
                ("2021-05-01", "2021-06-01", "2021-07-01"),
            )
            values, _ = image.read(next(image.windows()))
            assert values[::2, 0, 0].tolist() == [1, 2, 0]
            # The same bands read in another thread, and by their numbers.
            with image.reopen() as again:
                assert (again.read(next(again.windows()))[0] == values).all()
    with Image.open(paths, stack=True, bands=[1, 5]) as image:
        assert image.times() == ((0, 1), ("2021-05-01", "2021-07-01"))


def test_files_without_dates_stay_as_given(make_raster):
    paths = _series(make_raster, ["b.tif", "a.tif"])
    with Image.open(paths, stack=True) as image:
        assert image.times() == ((), ())
        assert image.read(next(image.windows()))[0][:, 0, 0].tolist() == [0, 0, 1, 1]
        assert image.times(["2021-06-01", "2021-05-01"]) == (
            (1, 1, 0, 0),
            ("2021-05-01", "2021-06-01"),
        )


def test_dates_that_make_no_sense_are_refused(make_raster):
    paths = _series(make_raster, ["b.tif", "a.tif"])
    with Image.open(paths, stack=True) as image:
        with pytest.raises(TilthError, match="dates: 3 are given for 2"):
            image.times(["2021-06-01"] * 3)
        with pytest.raises(TilthError, match="'June'"):
            image.times(["June", "2021-05-01"])
    with (
        Image.open(paths, stack=True, bands=[1, 4]) as image,
        pytest.raises(TilthError, match="same bands"),
    ):
        image.times(["2021-06-01", "2021-05-01"])


def test_the_date_of_one_image_is_told(make_raster):
    def tagged(dataset):
        dataset.update_tags(DATE_ACQUIRED="2020-06-10")

    with Image.open([make_raster("x.tif", np.ones((2, 8, 8), np.uint8), finish=tagged)]) as image:
        assert image.times() == ((), ("2020-06-10",))
        assert image.times(["2019-01-02"]) == ((), ("2019-01-02",))
