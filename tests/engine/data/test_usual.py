"""Bands of files that don't say which they are, and images that have to have another's bands."""

from __future__ import annotations

import numpy as np
import pytest
from tilth_engine.data.imagery import Image
from tilth_engine.data.opening import open_images, open_matching
from tilth_engine.data.usual import usual_bands
from tilth_engine.errors import TilthError

from ..worlds import scene, write_image


def opened(path, values, names=()):
    return Image.open([write_image(path, values, names=names)])


@pytest.mark.parametrize(
    ("count", "lengths", "word"),
    [
        (3, [665, 560, 490], "red, green, blue"),
        (4, [490, 560, 665, 842], "near infrared"),
        (6, [490, 560, 665, 842, 1610, 2190], "short-wave"),
        (7, [443, 490, 560, 665, 842, 1610, 2190], "Landsat"),
        (10, [490, 560, 665, 705, 740, 783, 842, 865, 1610, 2190], "10 and 20 m"),
        (12, [443, 490, 560, 665, 705, 740, 783, 842, 865, 945, 1610, 2190], "without B10"),
    ],
)
def test_bands_without_a_word_are_taken_in_the_usual_order(tmp_path, count, lengths, word):
    values = np.tile(scene(20, 20), (4, 1, 1))[:count]
    with opened(tmp_path / "i.tif", values) as image:
        bands, note = usual_bands(image)

    assert [band.wavelength_nm for band in bands] == lengths
    assert f"i.tif does not say which bands it has; they are taken to be {word}" in note or (
        "taken to be" in note and word in note
    )


def test_what_a_file_says_is_believed(tmp_path):
    with opened(tmp_path / "i.tif", scene(), ("Blue", "Green", "Red", "NIR")) as image:
        bands, note = usual_bands(image)
        assert [band.wavelength_nm for band in bands] == [485, 560, 660, 840]
        assert note == ""
    with opened(tmp_path / "j.tif", scene()[:2], ("VV", "VH")) as image:
        assert usual_bands(image) == (image.bands, "")
    with opened(tmp_path / "k.tif", scene()[:2]) as image:
        assert usual_bands(image) == (image.bands, "")


def test_two_bands_in_decibels_are_radar(tmp_path):
    decibels = (scene()[:2] / 1000 - 16).astype(np.float32)
    with opened(tmp_path / "s1.tif", decibels) as image:
        bands, note = usual_bands(image)

    assert [band.name for band in bands] == ["VV", "VH"]
    assert "radar's VV and VH" in note


def test_an_image_that_says_nothing_fits_one_that_does(tmp_path):
    with opened(tmp_path / "a.tif", scene(), ("NIR", "Red", "Green", "Blue")) as image:
        wanted = image.bands
    plain = write_image(tmp_path / "b.tif", scene(), names=())

    with open_matching([plain], wanted) as image:
        assert image.selection == [4, 3, 2, 1]
    with pytest.raises(TilthError, match="lacks NIR"):
        open_matching([write_image(tmp_path / "c.tif", scene()[:3], names=())], wanted)


def test_further_scenes_that_say_nothing_fit_the_first(tmp_path):
    first = write_image(tmp_path / "a.tif", scene(), names=("NIR", "Red", "Green", "Blue"))
    second = write_image(tmp_path / "b.tif", scene(), names=())

    images = open_images([first, second])

    assert images[1].selection == [4, 3, 2, 1]
    for image in images:
        image.close()
