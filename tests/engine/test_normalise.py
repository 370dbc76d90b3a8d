"""Units: standardising values, and bringing another image's values to the same."""

from __future__ import annotations

import numpy as np
import pytest
from tilth_engine.data.imagery import Image
from tilth_engine.normalise import LIMIT, Normalisation, wavelengths

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


def test_values_of_another_kind_are_warned_of(image, tmp_path):
    with opened(tmp_path / "radar.tif", scene() / np.float32(1e4) - 30) as other:
        matched, warning = Normalisation.of(image).for_image(other)
        values, _ = matched.read(other, whole(other))

    assert "other.tif" in warning or "radar.tif" in warning
    assert np.abs(values).max() < LIMIT


def test_bands_without_a_word_are_taken_in_the_usual_order(tmp_path):
    with opened(tmp_path / "i.tif", scene(), names=("", "", "", "")) as plain:
        lengths, note = wavelengths(plain)
    assert lengths == [490, 560, 665, 842]
    assert "taken to be" in note

    with opened(tmp_path / "j.tif", scene()) as named:
        lengths, note = wavelengths(named)
    assert lengths == [485, 560, 660, 840]
    assert note == ""

    with opened(tmp_path / "k.tif", scene()[:2], names=("VV", "VH")) as radar:
        assert wavelengths(radar) == ([None, None], "")
