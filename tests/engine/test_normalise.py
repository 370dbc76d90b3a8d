"""Units: standardising values, and bringing another image's values to the same."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from tilth_engine.backbones import catalogue
from tilth_engine.backbones.matching import match_bands
from tilth_engine.data.imagery import Image
from tilth_engine.data.usual import usual_bands
from tilth_engine.errors import TilthError
from tilth_engine.normalise import LIMIT, Normalisation, normalise

from .worlds import scene, write_image


def opened(path, values, **options):
    return Image.open([write_image(path, values, **options)])


@pytest.fixture
def image(tmp_path):
    with opened(tmp_path / "i.tif", scene()) as found:
        yield found


def whole(image):
    return next(image.windows(10_000))


def test_a_standardised_image_has_mean_0_and_deviation_1(image):
    values, valid = Normalisation.of(image).read(image, whole(image))

    assert valid.all()
    np.testing.assert_allclose(values.mean((1, 2)), 0, atol=0.02)
    np.testing.assert_allclose(values.std((1, 2)), 1, atol=0.05)


def test_a_card_brings_it_back(image):
    first = Normalisation.of(image)

    again = Normalisation.from_dict(first.to_dict())

    assert np.array_equal(first.mean, again.mean)
    assert np.array_equal(first.std, again.std)
    assert again.scale == first.scale


def test_invalid_pixels_are_zero_and_odd_values_are_bounded(tmp_path):
    values = scene().astype(np.float32)
    values[:, 0, 0] = np.nan
    values[:, 1, 1] = 3e38
    values[:, 2, 2] = -1e14
    with opened(tmp_path / "i.tif", values) as image:
        standard, valid = Normalisation.of(image).read(image, whole(image))

    assert not valid[0, 0]
    assert not standard[:, ~valid].any()
    assert np.isfinite(standard).all()
    assert np.abs(standard).max() <= LIMIT


@pytest.mark.parametrize(
    "units",
    [
        lambda v: (v // 10).astype(np.uint16),
        lambda v: v + 1000,
        lambda v: (v / 10000).astype(np.float32),
    ],
    ids=["x1000", "offset", "0 to 1"],
)
def test_other_units_of_reflectance_are_converted(image, tmp_path, units):
    expected, _ = Normalisation.of(image).read(image, whole(image))
    with opened(tmp_path / "other.tif", units(scene())) as other:
        for there, here in ((image, other), (other, image)):
            known = Normalisation.of(there)
            matched, warning = known.for_image(here)
            assert warning == ""
            got, _ = matched.read(here, whole(here))
            np.testing.assert_allclose(got, expected, atol=0.3)


def test_another_season_keeps_the_adapters_own_statistics(image, tmp_path):
    with opened(tmp_path / "dark.tif", (scene() * 0.6).astype(np.uint16)) as other:
        matched, warning = Normalisation.of(image).for_image(other)

    assert warning == ""
    assert np.array_equal(matched.mean, Normalisation.of(image).mean)


@pytest.mark.parametrize("gain, word", [(2.0, "brighter"), (0.4, "darker")])
def test_an_image_in_another_light_is_warned_of(image, tmp_path, gain, word):
    with opened(tmp_path / "light.tif", (scene() * gain).astype(np.uint16)) as other:
        matched, warning = Normalisation.of(image).for_image(other)

    assert warning.startswith("light.tif") and word in warning
    assert np.array_equal(matched.mean, Normalisation.of(image).mean)


def test_an_offset_that_only_one_images_dark_pixels_speak_for_is_not_taken(tmp_path):
    """Two scenes of one product; without water, nothing in the second one is dark."""
    land = (scene()[:, :, 48:].astype(np.int32) + 1200).astype(np.uint16)
    with_water = land.copy()
    with_water[:, :3] = 300
    with (
        opened(tmp_path / "a.tif", with_water) as first,
        opened(tmp_path / "b.tif", land) as second,
    ):
        assert first.scale.kind != second.scale.kind
        for there, here in ((first, second), (second, first)):
            matched, warning = Normalisation.of(there).for_image(here)
            assert np.array_equal(matched.mean, Normalisation.of(there).mean)
            assert warning == ""


@pytest.mark.parametrize("card", [None, "prithvi-2-tiny-tl"])
def test_a_dark_image_is_not_taken_for_one_in_other_units(tmp_path, card):
    """Water, or forest in visible light, has values below those of reflectance x 1000, too."""
    rng = np.random.default_rng(0)
    mixed = rng.integers(200, 700, (6, 64, 64)).astype(np.uint16)
    dark = mixed.copy()
    mixed[:, 32:] += 2500
    with (
        opened(tmp_path / "mixed.tif", mixed) as first,
        opened(tmp_path / "dark.tif", dark) as second,
        opened(tmp_path / "same.tif", (mixed // 10).astype(np.uint16)) as same,
    ):
        kinds = [image.scale.kind for image in (first, second, same)]
        assert kinds == ["reflectance10000", "reflectance1000", "reflectance1000"]
        if card is None:
            trained = Normalisation.of(first)
        else:
            trained = by("card", catalogue.card_of(card), [first])[0][0]
            (learnt,), _ = by("card", catalogue.card_of(card), [second])
            assert learnt.mean[:4] == pytest.approx(trained.mean[:4])  # those that match

        assert trained.for_image(second)[0].mean == pytest.approx(trained.mean)
        assert trained.for_image(same)[0].mean == pytest.approx(trained.mean / 10, rel=0.01)


def test_values_of_another_kind_are_warned_of(image, tmp_path):
    with opened(tmp_path / "radar.tif", scene() / np.float32(1e4) - 30) as other:
        matched, warning = Normalisation.of(image).for_image(other)
        values, _ = matched.read(other, whole(other))

    assert "other.tif" in warning or "radar.tif" in warning
    assert np.abs(values).max() < LIMIT


# By the backbone's card


def card_like(name="galileo-nano", **changes):
    return dataclasses.replace(catalogue.card_of(name), **changes)


def by(wanted, card, images):
    bands, _ = usual_bands(images[0])
    return normalise(wanted, card, match_bands(card, bands).bands, images, bands)


UNITS = {
    "x10000": lambda v: v,
    "x1000": lambda v: (v // 10).astype(np.uint16),
    "offset": lambda v: v + 1000,
    "0 to 1": lambda v: (v / 10000).astype(np.float32),
}


@pytest.mark.parametrize("units", UNITS.values(), ids=UNITS)
@pytest.mark.parametrize("name", ["galileo-nano", "decur-resnet50", "ssl4eo-s12-vit-s"])
def test_the_cards_figures_in_the_images_units(tmp_path, units, name):
    """One with figures of values x 10000, one of reflectance, one that only divides by 10000."""
    card = card_like(name)
    with opened(tmp_path / "i.tif", units(scene())) as image:
        (made,), note = by("card", card, [image])
        got, _ = made.read(image, whole(image))

    places = [
        index for index, band in enumerate(card.bands) if band.name in ("B2", "B3", "B4", "B8")
    ]
    mean = np.array(card.mean)[places, None, None] / card.scale
    std = np.array(card.std)[places, None, None] / card.scale
    expected = np.clip((scene() - mean) / std, -LIMIT, LIMIT)
    assert note == ""
    assert made.by_card
    np.testing.assert_allclose(got, expected, atol=0.02)


def test_bands_that_the_card_lacks_go_by_the_image(tmp_path):
    values = np.concatenate([scene(), scene()[:1] // 3])
    with opened(tmp_path / "i.tif", values, names=("Blue", "Green", "Red", "NIR", "nDSM")) as image:
        (made,), _ = by("card", card_like(), [image])
        own = Normalisation.of(image)

    assert made.mean[4] == own.mean[4]
    assert (made.mean[:4] != own.mean[:4]).all()


def test_radar_in_decibels_is_taken_as_it_is_and_amplitudes_are_refused(tmp_path):
    decibels = (scene()[:2] / 1000 - 16).astype(np.float32)
    with opened(tmp_path / "radar.tif", decibels, names=("VV", "VH")) as image:
        (made,), _ = by("card", card_like(), [image])
        assert made.mean.tolist() == list(card_like().mean[:2])
        assert image.scale.kind == "decibel"
    with opened(tmp_path / "linear.tif", scene()[:2] / 1e4, names=("VV", "VH")) as image:
        with pytest.raises(TilthError, match=r"linear.tif: VV is not in decibels"):
            by("card", card_like(), [image])
        (made,), note = by("auto", card_like(), [image])
        assert not made.by_card
        assert "VV is not in decibels" in note


def test_a_model_of_pictures_takes_bytes_alone(tmp_path):
    card = card_like("dinov3-sat-large")
    picture = (scene()[:3] // 8).clip(0, 255).astype(np.uint8)
    with opened(tmp_path / "i.tif", picture, names=("Red", "Green", "Blue")) as image:
        (made,), _ = by("card", card, [image])
        assert made.mean == pytest.approx(np.array([0.43, 0.411, 0.296]) * 255)
    with (
        opened(tmp_path / "j.tif", scene()[:3], names=("Red", "Green", "Blue")) as image,
        pytest.raises(TilthError, match="trained on bytes"),
    ):
        by("card", card, [image])


@pytest.mark.parametrize(
    "values",
    [(scene() // 20).astype(np.uint8), (scene().astype(np.uint16) * 8 + 4000), scene() * -3.0],
    ids=["bytes", "level 1", "unknown"],
)
def test_an_unknown_scale_asks_for_the_images_own_figures(tmp_path, values):
    with opened(tmp_path / "i.tif", values.astype(values.dtype)) as image:
        with pytest.raises(TilthError, match=r"i\.tif: Blue has .*choose the image's own"):
            by("card", card_like(), [image])
        (made,), note = by("auto", card_like(), [image])
        expected = Normalisation.of(image).mean

    assert np.array_equal(made.mean, expected)
    assert image.scale.text in note


def test_automatic_is_what_the_card_prefers(image):
    assert by("auto", card_like(), [image])[0][0].by_card
    assert not by("image", card_like(), [image])[0][0].by_card
    assert by("auto", card_like("embedded"), [image])[1] == ""
    assert not by("auto", card_like("embedded"), [image])[0][0].by_card
    with pytest.raises(TilthError, match="no mean and deviation of its own"):
        by("card", card_like("embedded"), [image])
    assert not normalise("auto", None, (), [image], image.bands)[0][0].by_card


def test_values_far_from_the_cards_ask_for_the_images_own(tmp_path):
    with opened(tmp_path / "night.tif", (scene() / 3e5).astype(np.float32)) as image:
        (made,), note = by("auto", card_like(), [image])

    assert not made.by_card
    assert "night.tif are far from" in note


def test_scenes_of_differing_units_are_each_converted(image, tmp_path):
    with opened(tmp_path / "other.tif", UNITS["offset"](scene())) as other:
        first, second = by("card", card_like(), [image, other])[0]
        expected = first.read(image, whole(image))[0]

        np.testing.assert_allclose(second.read(other, whole(other))[0], expected, atol=1e-3)


@pytest.mark.parametrize("units", UNITS.values(), ids=UNITS)
def test_an_adapter_by_the_card_stays_by_the_card(image, tmp_path, units):
    """Also where a dark image's own figures lie far from the card's."""
    stored = by("card", card_like("ssl4eo-s12-vit-s"), [image])[0][0].to_dict()
    known = Normalisation.from_dict(json.loads(json.dumps(stored)))
    with opened(tmp_path / "dark.tif", units((scene() * 0.8).astype(np.uint16))) as other:
        matched, warning = known.for_image(other)
        got, _ = matched.read(other, whole(other))

    assert warning == ""
    assert matched.by_card
    np.testing.assert_allclose(got, (scene() * 0.8) / 10000, atol=0.01)


def test_an_adapter_by_the_card_meets_bytes(image, tmp_path):
    known = by("card", card_like(), [image])[0][0]
    with opened(tmp_path / "bytes.tif", (scene() // 20).astype(np.uint8)) as other:
        matched, warning = known.for_image(other)

    assert "bytes.tif" in warning
    assert not matched.by_card
