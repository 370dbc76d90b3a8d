"""Bands recognised and matched."""

from __future__ import annotations

import pytest
from tilth_engine.data.bands import Band, BandFacts, match, recognise
from tilth_engine.errors import TilthError


def lengths(facts, **options):
    return [band.wavelength_nm for band in recognise(facts, **options)]


def described(*texts):
    return [BandFacts(description=text) for text in texts]


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ({"central_wavelength_um": "0.665"}, 665.0),
        ({"wavelength": "664.6", "wavelength_units": "Nanometers"}, 664.6),
        ({"wavelength": "0.6646", "wavelength_units": "Micrometers"}, 664.6),
        ({"wavelength": "0.6646"}, 664.6),
        ({"wavelength_nm": "842"}, 842.0),
        ({"center_wavelength": "1610 nm"}, 1610.0),
        ({"wavelength": "15000", "wavelength_units": "Wavenumber"}, None),
        ({"wavelength": "none"}, None),
        ({"wavelength": "0"}, None),
    ],
)
def test_wavelength_tags(tags, expected):
    assert lengths([BandFacts(tags=tags)]) == [expected]


def test_envi_list_of_wavelengths():
    tags = {"wavelength": "{ 0.45, 0.55 , 0.65}", "wavelength_units": "Micrometers"}
    assert lengths([BandFacts()] * 3, tags=tags) == [450.0, 550.0, 650.0]
    assert lengths([BandFacts()] * 2, tags=tags) == [None, None]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("B02", 492.4),
        ("B8A", 864.7),
        ("B08-min", 832.8),
        ("B11 (1610 nm)", 1610.0),
        ("Blue", 485.0),
        ("Red", 660.0),
        ("red edge 1", 704.1),
        ("NIR", 840.0),
        ("Near infrared", 840.0),
        ("SWIR 2", 2200.0),
        ("SR_B4", 654.6),
        ("VV", None),
        ("NDVI", None),
        ("elevation", None),
        ("450.5 Nanometers", 450.5),
    ],
)
def test_descriptions(text, expected):
    assert lengths(described(text)) == [expected]


def test_a_name_without_its_brackets_and_on_one_line():
    (band,) = recognise(described("B4 red\n(664.6 nm)"))
    assert band == Band("B4 red", 664.6)


def test_b5_means_what_the_other_bands_say():
    assert lengths(described("B2", "B3", "B4", "B5"))[3] == 864.7
    assert lengths(described("B4", "B5", "B8A"))[1] == 704.1
    assert lengths(described("B5"), tags={"sensor": "Landsat-8 OLI"}) == [864.7]
    assert lengths(described("B5"), tags={"sensor": "Sentinel-2 MSI"}) == [704.1]
    assert lengths(described("B4"), path="LT05_L1TP_B4.TIF") == [835.0]


def test_a_numbered_band_is_a_position_unless_the_sensor_is_known():
    facts = described("Band 4", "Band 3")
    assert lengths(facts) == [None, None]
    assert not recognise(facts)[0].named
    assert lengths(facts, tags={"spacecraft_id": "LANDSAT_8"}) == [654.6, 561.4]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/data/T31UFS_20230501T104031_B8A_20m.jp2", 864.7),
        ("scene_B04.tif", 664.6),
        (r"C:\data\LC08_L2SP_034_SR_B5.TIF", 864.7),
        ("ortho_nir.tif", 840.0),
        ("ortho.tif", None),
        ("b.tif", None),
    ],
)
def test_file_names(path, expected):
    assert lengths([BandFacts()], path=path) == [expected]


def test_a_file_name_that_lists_all_bands():
    found = lengths([BandFacts()] * 3, path="s2_2023-05-01_B08-B04-B03_min_byte.tif")
    assert found == [832.8, 664.6, 559.8]


def test_colours_and_defaults_of_bytes():
    colours = [BandFacts(colour=name) for name in ("red", "green", "blue")]
    assert [band.name for band in recognise(colours)] == ["Red", "Green", "Blue"]
    assert [b.name for b in recognise([*colours, BandFacts(colour="undefined")])][3] == "NIR"
    assert lengths([BandFacts()] * 3, dtype="uint8") == [660.0, 560.0, 485.0]
    assert lengths([BandFacts()] * 4, dtype="uint8")[3] == 840.0
    assert lengths([BandFacts()] * 3, dtype="uint16") == [None] * 3


def test_a_description_beats_the_colour():
    facts = [BandFacts("NIR", colour="red"), BandFacts("Red", colour="green")]
    assert [band.name for band in recognise(facts)] == ["NIR", "Red"]


def test_names_are_unique():
    assert [b.name for b in recognise(described("VV", "VV", "VH"))] == ["VV", "VV (2)", "VH"]


S2 = [Band("B2", 492.4), Band("B3", 559.8), Band("B4", 664.6), Band("B8", 832.8)]


def test_match_by_name_in_another_order():
    assert match(S2, [S2[3], S2[0], S2[2], S2[1]]) == [1, 3, 2, 0]
    assert match([Band("B4")], [Band("B3"), Band("B04 red")]) == [1]
    assert match([Band("red")], [Band("B4 red"), Band("B3 green")]) == [0]


def test_match_by_wavelength():
    landsat = [Band("a", 482.0), Band("b", 561.4), Band("c", 654.6), Band("d", 864.7)]
    assert match(S2, landsat) == [0, 1, 2, 3]
    assert match([Band("x", 704.1)], [Band("y", 740.5), Band("z", 709.0)]) == [1]


def test_equal_codes_of_other_sensors_do_not_match():
    with pytest.raises(TilthError, match=r"lacks B5 \(704 nm.*B5 \(865 nm"):
        match([Band("B5", 704.1)], [Band("B5", 864.7)])
    assert match([Band("B5", 864.7)], [Band("B5", 704.1), Band("B8A", 864.7)]) == [1]


def test_no_band_serves_twice():
    with pytest.raises(TilthError, match="lacks"):
        match([Band("B8", 832.8), Band("B8A", 864.7)], [Band("nir", 850.0)])


def test_match_by_position_only_where_nothing_is_known():
    unknown = [Band("Band 1"), Band("Band 2")]
    assert match(unknown, [Band("Band 1"), Band("Band 2")]) == [0, 1]
    with pytest.raises(TilthError, match="wanted are Band 1, Band 2; the image has Band 1"):
        match(unknown, [Band("Band 1")])
    with pytest.raises(TilthError, match="lacks"):
        match([Band("VV"), Band("VH")], unknown)
    assert match([Band("VV"), Band("VH")], [Band("VH"), Band("VV"), Band("angle")]) == [1, 0]
