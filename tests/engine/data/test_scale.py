"""The value scale told from the values."""

from __future__ import annotations

import numpy as np
import pytest
from tilth_engine.data.scale import differs, recognise

RNG = np.random.default_rng(3)
# Reflectances of a scene: dark to bright, three bands.
SCENE = np.concatenate([RNG.uniform(0.02, 0.1, (2000, 3)), RNG.uniform(0.1, 0.5, (3000, 3))])


@pytest.mark.parametrize(
    ("sample", "dtype", "kind"),
    [
        (SCENE, "float32", "unit"),
        (np.round(SCENE * 10000), "uint16", "reflectance10000"),
        (np.round(SCENE * 10000), "float64", "reflectance10000"),
        (np.round(SCENE * 10000) + 1000, "uint16", "reflectance10000_offset"),
        (np.round(SCENE * 1000), "int16", "reflectance1000"),
        (np.round(SCENE * 255), "uint8", "bytes"),
        (np.round(SCENE * 255), "float32", "bytes"),
        (SCENE * 20 - 25, "float32", "decibel"),
        (np.round(SCENE * 30000) + 5000, "uint16", "level1"),
        (SCENE * 1e6 - 5e5, "float32", "unknown"),
        (np.zeros((0, 3)), "uint16", "unknown"),
    ],
)
def test_kinds(sample, dtype, kind):
    scale = recognise(sample.astype(np.float32), dtype)
    assert scale.kind == kind
    assert scale.text


def test_a_stated_offset_decides():
    sample = np.round(SCENE * 10000).astype(np.float32)
    assert recognise(sample, "uint16", {"processing_baseline": "05.09"}).offset == 1000
    assert recognise(sample + 1000, "uint16", {"boa_add_offset": "0"}).offset == 0
    assert recognise(sample + 1000, "uint16", {"boa_add_offset": "-1000"}).offset == 1000


def test_a_dark_image_with_sentinel_2s_metadata_is_not_x_1000():
    sample = np.round(SCENE * 2000).astype(np.float32)
    assert recognise(sample, "uint16").guessed
    for baseline, kind in (("05.09", "reflectance10000_offset"), ("02.12", "reflectance10000")):
        assert recognise(sample, "uint16", {"processing_baseline": baseline}).kind == kind


def test_differs_only_for_another_unit():
    mean, std = SCENE.mean(0), SCENE.std(0)
    assert differs(mean * 10000, std * 10000, mean, std)
    assert differs(mean * 10000, std * 10000, mean * 1000, std * 1000)
    assert not differs(mean, std, mean * 1.8, std * 0.6)
