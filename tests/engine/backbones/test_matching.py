"""Which of an image's bands are which of a model's: found, told, refused."""

from __future__ import annotations

import dataclasses

import pytest
from tilth_engine.backbones import catalogue
from tilth_engine.backbones.card import Band as ModelBand
from tilth_engine.backbones.match_text import labels
from tilth_engine.backbones.matching import EXTRA, match_bands
from tilth_engine.data.bands import LANDSAT8, SENTINEL2, Band, unique
from tilth_engine.errors import TilthError

S2 = [Band(name, length) for name, length in SENTINEL2.items()]
S2_L2A = [band for band in S2 if band.name != "B10"]
L8 = [Band(f"SR_B{n}", LANDSAT8[f"B{n}"]) for n in range(1, 8)]
DRONE = [Band("Blue", 475.0), Band("Green", 560.0), Band("Red", 668.0), Band("RedEdge", 717.0),
         Band("NIR", 842.0)]  # fmt: skip
RADAR = [Band("Sigma0_VV_db"), Band("Sigma0_VH_db")]


def card(bands, **changes):
    """A card with these bands, (name, wavelength[, group])."""
    base = dataclasses.replace(
        catalogue.card_of("embedded"), any_bands=False, bands=(ModelBand("x"),), title="The model"
    )
    return dataclasses.replace(base, bands=tuple(ModelBand(*band) for band in bands), **changes)


# By the names of HLS-Landsat, as the published configuration has them.
PRITHVI = card(
    [("B02", 490.0), ("B03", 560.0), ("B04", 665.0), ("B05", 865.0), ("B06", 1610.0),
     ("B07", 2190.0)]
)  # fmt: skip
RGB = card([("RED", 665.0), ("GREEN", 560.0), ("BLUE", 490.0)])
ALL13 = card(list(SENTINEL2.items()))
TERRAMIND = card(
    [(name, length, "S2L2A") for name, length in SENTINEL2.items() if name != "B10"]
    + [(name, length, "S2L1C") for name, length in SENTINEL2.items()]
    + [("RED", 665.0, "RGB"), ("GREEN", 560.0, "RGB"), ("BLUE", 490.0, "RGB")]
    + [(name, None, group) for group in ("S1GRD", "S1RTC") for name in ("VV", "VH")]
    + [("DEM", None, "DEM")]
)
GALILEO = card(
    [("VV", None, "S1"), ("VH", None, "S1"),
     *((name, SENTINEL2[name], "S2_RGB") for name in ("B2", "B3", "B4")),
     *((name, SENTINEL2[name], "S2_Red_Edge") for name in ("B5", "B6", "B7")),
     ("B8", SENTINEL2["B8"], "S2_NIR_10m"), ("B8A", SENTINEL2["B8A"], "S2_NIR_20m"),
     ("B11", SENTINEL2["B11"], "S2_SWIR"), ("B12", SENTINEL2["B12"], "S2_SWIR"),
     ("NDVI", None, "NDVI"), ("elevation", None, "SRTM"), ("slope", None, "SRTM")],
    several_dates=24,
    architecture="galileo",
)  # fmt: skip
ANY = card(
    [("vv", 3500.0, "s1"), ("vh", 4000.0, "s1"), ("blue", 493.0, "s2"), ("green", 560.0, "s2"),
     ("red", 665.0, "s2"), ("nir", 842.0, "s2"), ("red", 650.0, "naip"), ("green", 560.0, "naip"),
     ("blue", 480.0, "naip")],
    any_bands=True,
)  # fmt: skip


def pairs(card, bands, **options):
    """{image band: the model's} of what is used."""
    found = match_bands(card, bands, **options)
    return {band.name: name for band, name in zip(bands, found.chosen, strict=True) if name}


def test_sentinel_2_on_prithvi_by_wavelength_and_not_by_number():
    """The model's B05 is Landsat's, so 865 nm: Sentinel-2's B8A."""
    assert pairs(PRITHVI, S2) == {
        "B2": "B02", "B3": "B03", "B4": "B04", "B8A": "B05", "B11": "B06", "B12": "B07",
    }  # fmt: skip
    assert pairs(PRITHVI, L8) == {f"SR_B{n}": f"B0{n}" for n in range(2, 8)}


def test_the_match_in_words_and_in_the_inputs_terms():
    found = match_bands(PRITHVI, S2_L2A)

    assert found.bands == (None, 0, 1, 2, None, None, None, None, 3, None, 4, 5)
    assert found.left_out == (0, 4, 5, 6, 7, 9)
    assert found.summary == "6 of the image's 12 used; the model knows 6"
    assert "B8A (865 nm) = B05 (865 nm)" in found.lines
    assert "B8 (833 nm) is not used by the model" in found.lines
    assert found.choices == ("B02", "B03", "B04", "B05", "B06", "B07")


def test_the_summary_counts_the_models_bands_once_and_says_how_many_it_lacks():
    rgb = [Band("Red", 665.0), Band("Green", 560.0), Band("Blue", 490.0)]
    series = [*rgb, *rgb]

    assert match_bands(ALL13, rgb).summary == "3 of the image's 3 used; the model knows 13"
    # Sentinel-2's bands, which three groups share, two polarisations and the elevation.
    assert match_bands(TERRAMIND, rgb).summary.endswith("; the model knows 16")
    assert match_bands(ANY, rgb).summary.endswith("; the model takes any")
    dated = match_bands(
        dataclasses.replace(ALL13, several_dates=3), series, frames=(0,) * 3 + (1,) * 3
    )
    assert dated.summary == "6 of the image's 6 used; the model knows 13 on each date"


@pytest.mark.parametrize("card_of", [ALL13, GALILEO, TERRAMIND])
@pytest.mark.parametrize("spelling", ["B02,B08,B8A", "b2,b8,b8a", "B2,B08,b8A", "b02, B8, B8a"])
def test_a_bands_name_may_be_spelt_as_others_spell_it(card_of, spelling):
    bands = [Band("one"), Band("two"), Band("three")]
    if card_of is TERRAMIND:
        spelling = ",".join(f"S2L2A {word.strip()}" for word in spelling.split(","))

    found = match_bands(card_of, bands, wanted=spelling.split(","))

    names = [card_of.bands[index].name for index in found.bands if index is not None]
    assert names == ["B2", "B8", "B8A"]


def test_spellings_of_other_bands_stay_apart():
    with pytest.raises(TilthError, match=r"'B20' is no band of The model; give one of B1, B2, B3"):
        match_bands(ALL13, [Band("one")] * 3, wanted=["B20", "B3", "B4"])
    assert match_bands(ALL13, [Band("one")] * 3, wanted=["B1", "B10", "B11"]).chosen == (
        "B1", "B10", "B11",
    )  # fmt: skip


def test_the_nearest_serves_where_the_right_one_is_missing():
    assert pairs(PRITHVI, DRONE) == {"Blue": "B02", "Green": "B03", "Red": "B04", "NIR": "B05"}
    assert any("B06 (1610 nm), B07" in line for line in match_bands(PRITHVI, DRONE).lines)


def test_a_drone_on_sentinel_2s_model():
    assert pairs(ALL13, DRONE) == {
        "Blue": "B2", "Green": "B3", "Red": "B4", "RedEdge": "B5", "NIR": "B8",
    }  # fmt: skip


# Models with several sensors


@pytest.mark.parametrize(
    ("bands", "group", "count"),
    [
        (S2, "S2L1C", 13),
        (S2_L2A, "S2L2A", 12),
        (DRONE, "S2L2A", 5),
        (DRONE[:3], "RGB", 3),
        (RADAR, "S1GRD", 2),
        ([Band("elevation")], "DEM", 1),
    ],
)
def test_of_groups_that_share_bands_the_best_is_taken(bands, group, count):
    found = match_bands(TERRAMIND, bands)

    groups = {TERRAMIND.bands[index].group for index in found.bands if index is not None}
    assert groups == {group}
    assert len(bands) - len(found.left_out) == count


def test_groups_that_share_none_are_used_together():
    bands = [*S2_L2A, *RADAR, Band("DEM"), Band("nDSM")]
    found = match_bands(TERRAMIND, bands)

    groups = {TERRAMIND.bands[index].group for index in found.bands if index is not None}
    assert groups == {"S2L2A", "S1GRD", "DEM"}
    assert [bands[place].name for place in found.left_out] == ["nDSM"]
    assert "used of the model: DEM, S1GRD, S2L2A" in found.lines
    assert labels(TERRAMIND)[0] == "S2L2A B1"


def test_galileos_groups():
    bands = [band for band in S2_L2A if band.name not in ("B1", "B9")]
    assert set(pairs(GALILEO, bands).values()) == {band.name for band in bands}
    assert pairs(GALILEO, [*RADAR, Band("SRTM")]) == {
        "Sigma0_VV_db": "VV", "Sigma0_VH_db": "VH", "SRTM": "elevation",
    }  # fmt: skip
    assert pairs(GALILEO, [*DRONE[:3], Band("NIR", 842.0)])["NIR"] == "B8"
    assert pairs(GALILEO, L8)["SR_B5"] == "B8A"


# Models for any bands


def test_the_embedded_backbone_takes_all():
    found = match_bands(catalogue.card_of("embedded"), [*DRONE, Band("nDSM")])

    assert (found.bands, found.left_out) == ((), ())
    assert set(found.chosen) == {EXTRA}


def test_a_model_for_any_bands_knows_its_own_and_takes_in_more():
    found = match_bands(ANY, [*DRONE, *RADAR, Band("nDSM")])

    assert found.chosen == ("s2 blue", "s2 green", "s2 red", EXTRA, "nir", "vv", "vh", "")
    assert found.bands == (2, 3, 4, None, 5, 0, 1, None)
    assert "RedEdge (717 nm) is taken in by its wavelength" in found.lines
    assert match_bands(ANY, [Band("Green", 560.0), Band("Red", 655.0)]).chosen == (
        "naip green", "naip red",
    )  # fmt: skip


def test_a_model_for_any_bands_takes_what_it_never_saw():
    found = match_bands(ANY, [Band("SWIR1", 1610.0), Band("SWIR2", 2200.0)])

    assert found.bands == (None, None)
    assert found.left_out == ()


THERMAL = Band("B10", 10900.0)
REAL_ANY = sorted(card.id for card in catalogue.cards().values() if card.bands and card.any_bands)


@pytest.mark.parametrize("name", REAL_ANY)
def test_a_thermal_band_is_taken_in_only_where_the_user_says_so(name):
    """They were trained on reflected sunlight, and on radar by a wavelength that stands in."""
    model = catalogue.card_of(name)
    bands = [*DRONE, Band("hyperspectral", 1400.0), THERMAL, *RADAR]
    found = match_bands(model, bands)

    assert found.left_out == (6,) and found.chosen[6] == ""
    assert found.chosen[5] == EXTRA
    assert {model.bands[index].name.lower() for index in found.bands[7:]} == {"vv", "vh"}
    assert "B10 (10900 nm) is not used by the model" in found.lines
    assert match_bands(model, bands[:7], wanted=["+"] * 7).left_out == ()
    assert match_bands(model, [THERMAL], wanted=["+"]).chosen == (EXTRA,)
    with pytest.raises(TilthError, match=r"bands: the image's \(B10 .* are not enough for"):
        match_bands(model, [THERMAL])


def test_the_real_models_for_any_bands_are_these():
    assert REAL_ANY == ["clay-1", "clay-1.5", "dofa-base", "dofa-large"]


# What makes no sense


@pytest.mark.parametrize(
    ("model", "bands"),
    [
        (RGB, [Band("SWIR1", 1610.0), Band("SWIR2", 2200.0)]),
        (ALL13, [Band("B4", 664.6)]),
        (ALL13, S2[1:3]),
        (PRITHVI, [Band("NIR", 840.0)]),
        (PRITHVI, [Band("Band 1"), Band("Band 2")]),
        (TERRAMIND, [Band("nDSM")]),
        (TERRAMIND, [Band("B8", 833.0)]),
        (ANY, [Band("nDSM")]),
    ],
)
def test_too_little_is_refused_and_both_sides_named(model, bands):
    with pytest.raises(TilthError, match=r"bands: .*not enough for The model, which knows") as told:
        match_bands(model, bands)
    assert all(band.name in str(told.value) for band in bands)


def test_enough_is_a_fifth_of_a_groups_bands():
    assert pairs(RGB, [Band("B4", 664.6)]) == {"B4": "RED"}
    assert len(pairs(ALL13, S2[1:4])) == 3
    assert len(pairs(PRITHVI, DRONE[3:] + DRONE[:1])) == 2


# What the user says


def test_what_the_user_says_goes():
    found = match_bands(RGB, DRONE, wanted=["", "blue", "Green", "", "RED"])

    assert found.bands == (None, 2, 1, None, 0)
    assert found.left_out == (0, 3)
    assert "NIR (842 nm) = RED (665 nm)" in found.lines


def test_an_extra_band_takes_the_weights_of_the_nearest():
    wanted = ["B02", "B03", "B04", EXTRA, "B05"]
    found = match_bands(PRITHVI, DRONE, wanted=wanted)

    assert found.bands == (0, 1, 2, None, 3)
    assert found.left_out == ()
    assert found.chosen == tuple(wanted)
    assert "RedEdge (717 nm) is extra: it takes the weights of B04 (665 nm)" in found.lines


def test_names_in_several_groups_mean_the_group_of_the_others():
    radar = match_bands(TERRAMIND, RADAR, wanted=["S1RTC VV", "VH"])
    assert [TERRAMIND.bands[index].group for index in radar.bands] == ["S1RTC", "S1RTC"]

    rgb = match_bands(TERRAMIND, DRONE, wanted=["BLUE", "GREEN", "RED", "", ""])
    assert {TERRAMIND.bands[i].group for i in rgb.bands if i is not None} == {"RGB"}


def test_the_embedded_backbones_bands_can_be_left_out():
    found = match_bands(catalogue.card_of("embedded"), DRONE, wanted=["+", "+", "+", "", "+"])

    assert found.left_out == (3,)


@pytest.mark.parametrize(
    ("model", "wanted", "words"),
    [
        (RGB, ["RED", "RED", "", "", ""], r"Blue and Green are both said to be RED"),
        (RGB, ["RED", "PINK", "", "", ""], r"'PINK' is no band .*RED, GREEN, BLUE"),
        (RGB, ["RED"], r"1 entries for 5 bands"),
        (RGB, ["", "", "", "", ""], r"not enough"),
        (PRITHVI, ["", "", "B04", "", ""], r"not enough"),
        (catalogue.card_of("embedded"), ["", "", "", "", ""], r"no band is left"),
        (catalogue.card_of("embedded"), ["RED", "", "", "", ""], r"'RED' is no band"),
    ],
)
def test_what_the_user_says_may_make_no_sense(model, wanted, words):
    with pytest.raises(TilthError, match=words):
        match_bands(model, DRONE, wanted=wanted)


def test_an_extra_band_without_a_wavelength_is_refused():
    with pytest.raises(TilthError, match=r"nDSM has no wavelength"):
        match_bands(PRITHVI, [*DRONE, Band("nDSM")], wanted=["B02", "B03", "B04", "", "B05", "+"])


def test_a_model_with_tokens_by_group_takes_no_extra_band():
    with pytest.raises(TilthError, match="no other bands than its own; leave out RedEdge"):
        match_bands(GALILEO, DRONE, wanted=["B2", "B3", "B4", EXTRA, "B8"])


# Dates


def test_dates_are_matched_each_for_itself():
    bands = unique([*DRONE, *DRONE[::-1]])
    frames = (0,) * 5 + (1,) * 5
    found = match_bands(GALILEO, bands, frames=frames)

    names = [GALILEO.bands[index].name for index in found.bands]
    assert names[:5] == ["B2", "B3", "B4", "B5", "B8"]
    assert names[5:] == names[:5][::-1]
    assert "Blue (475 nm) = B2 (492 nm)" in found.lines
    assert not any("(2)" in line for line in found.lines)

    one = match_bands(GALILEO, bands, frames=frames, wanted=["B2", "B3", "B4", "", "B8"])
    assert one.left_out == (3, 6)  # the red edge of either date


def test_dates_beyond_what_a_model_takes_are_left_out():
    bands = unique(DRONE * 5)
    frames = tuple(number // 5 for number in range(25))

    one = match_bands(PRITHVI, bands, frames=frames)
    assert {frames[place] for place in range(25) if place not in one.left_out} == {2}
    assert one.lines[0].startswith("1 of 5 dates")

    few = match_bands(dataclasses.replace(GALILEO, several_dates=3), bands, frames=frames)
    assert {frames[place] for place in range(25) if place not in few.left_out} == {0, 2, 4}

    everything = match_bands(catalogue.card_of("embedded"), bands, frames=frames)
    assert everything.left_out == ()
