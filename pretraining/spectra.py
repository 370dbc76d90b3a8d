"""Reflectance of surface materials from 400 to 2500 nm, with the variation that each has.

Written from what is generally known of spectra: chlorophyll takes blue and red and leaves a green
peak; the red edge lies near 715 nm; liquid water absorbs near 970, 1200, 1450 and 1940 nm; iron
oxides dim the blue and 870 nm, clays 2200 nm, cellulose 2100 nm; snow is bright until 1000 nm.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
GRID = np.arange(400, 2501, 10).astype(np.float32)
_VISIBLE_NM = (400, 450, 500, 560, 610, 665, 705)
_INFRARED_NM = (740, 800, 870, 1000, 1200, 1600, 1700, 2100, 2200, 2300, 2500)
_KNOT_NM = (*_VISIBLE_NM, *_INFRARED_NM)

# Reflectance in percent at `_KNOT_NM`.
_KNOTS: dict[str, tuple[float, ...]] = {
    "water_clear": (6, 5, 4, 3, 1.5, 1, 0.7, 0.5, 0.4, 0.3, 0.2, 0.1) + (0.1,) * 6,
    "water_turbid": (6, 7.5, 9, 12, 12, 11, 8.5, 5, 4, 3, 1, 0.4) + (0.2,) * 6,
    "water_algae": (3, 3, 3.5, 6, 4, 3, 5, 3, 2.5, 2, 0.8, 0.3) + (0.1,) * 6,
    "soil_dark": (4, 4.5, 5, 6.5, 8, 9, 10, 11, 12, 13, 15, 18, 22, 22, 20, 19, 18, 15),
    "soil_brown": (6, 7, 9, 13, 16, 18, 20, 21, 23, 24, 28, 32, 37, 37, 34, 31, 31, 27),
    "soil_red": (4, 5, 6, 10, 18, 23, 25, 26, 27, 26, 31, 37, 42, 42, 39, 34, 36, 31),
    "soil_pale": (13, 16, 20, 26, 30, 32, 34, 35, 37, 38, 42, 46, 50, 50, 46, 42, 42, 37),
    "rock_grey": (12, 13, 14, 16, 17, 18, 18, 19, 19, 19, 20, 22, 24, 24, 23, 21, 20, 18),
    "rock_red": (5, 6, 9, 14, 24, 29, 31, 32, 33, 31, 36, 41, 44, 44, 42, 37, 39, 35),
    "sand": (12, 15, 19, 25, 29, 32, 34, 35, 37, 38, 42, 46, 50, 50, 47, 45, 44, 39),
    "snow": (95, 96, 96, 95, 95, 94, 93, 92, 90, 86, 72, 48, 12, 10, 7, 12, 9, 4),
    "asphalt": (6, 6.5, 7.5, 8.5, 9, 9.5, 10, 10, 10.5, 11, 12, 13, 14, 14, 14, 13.5, 13, 12),
    "concrete": (15, 19, 23, 27, 29, 30, 31, 31, 32, 32, 34, 36, 37, 37, 36, 34, 31, 29),
    "roof_red": (5, 6, 7, 11, 20, 25, 27, 28, 28, 27, 32, 38, 43, 44, 43, 41, 41, 38),
    "roof_metal": (32, 36, 39, 41, 42, 42, 42, 41, 40, 38, 40, 44, 46, 46, 45, 44, 44, 42),
    "roof_dark": (4, 4.5, 5, 5, 5.5, 6, 6, 6, 6.5, 7, 7.5, 8, 9, 9, 9.5, 9.5, 9.5, 9.5),
    "roof_white": (45, 62, 68, 70, 71, 71, 71, 71, 70, 69, 67, 60, 50, 42, 38, 34, 28, 24),
    "plastic": (22, 38, 40, 34, 26, 22, 26, 34, 40, 42, 44, 36, 34, 22, 30, 28, 16, 14),
    "litter": (5, 6, 8, 12, 16, 19, 22, 24, 27, 30, 34, 38, 38, 37, 27, 30, 27, 22),
    "stubble": (8, 10, 14, 20, 25, 29, 31, 33, 36, 38, 42, 46, 44, 43, 30, 33, 30, 25),
    "ash": (3, 3.2, 3.5, 4, 4.5, 5, 5.5, 6, 6.5, 7, 8, 10, 14, 14.5, 16, 16, 16, 16),
    "shadow": (1.6, 1.3, 1.0, 0.8, 0.6, 0.5, 0.6, 0.9, 1.1, 1.1, 1.0, 0.9, 0.6, 0.6) + (0.3,) * 4,
}
# Near-infrared plateau, chlorophyll, water and dry matter (relative) of green plants.
_PLANTS: dict[str, tuple[float, float, float, float]] = {
    "conifer": (0.24, 1.2, 1.2, 0.08),
    "pine": (0.29, 1.0, 1.0, 0.15),
    "broadleaf": (0.44, 1.0, 1.1, 0.03),
    "oak": (0.38, 0.9, 0.9, 0.10),
    "grass_green": (0.46, 0.8, 1.0, 0.06),
    "grass_poor": (0.36, 0.5, 0.6, 0.35),
    "grass_dry": (0.30, 0.15, 0.2, 0.85),
    "cereal": (0.48, 1.1, 1.2, 0.03),
    "maize": (0.42, 0.9, 1.0, 0.05),
    "beet": (0.58, 0.9, 1.5, 0.0),
    "crop_ripe": (0.36, 0.15, 0.3, 0.75),
    "shrub": (0.29, 0.7, 0.7, 0.25),
    "heath": (0.24, 0.6, 0.6, 0.40),
    "reed": (0.28, 0.5, 1.0, 0.35),
    "moss": (0.30, 0.4, 1.6, 0.25),
}
NAMES = (*_KNOTS, *_PLANTS)
INDEX = {name: number for number, name in enumerate(NAMES)}

# Mean radar backscatter (co-polarised, cross-polarised) in dB; every other material has (-11, -17).
_BACKSCATTER = {
    "water": (-21, -28),
    "roof": (-2, -11),
    "asphalt": (-18, -26),
    "conifer": (-8, -13),
    "pine": (-8, -14),
    "broadleaf": (-8, -13),
    "oak": (-8, -13),
    "soil": (-13, -22),
    "rock": (-9, -18),
    "sand": (-18, -26),
    "snow": (-15, -23),
    "grass": (-13, -20),
}


def draw_library(rng: np.random.Generator) -> Array:
    """A draw of every material's reflectance [len(NAMES), len(GRID)], 0 to about 1."""
    rows = [_knotted(_KNOTS[name], rng) for name in _KNOTS]
    rows += [_plant(*_PLANTS[name], rng) for name in _PLANTS]
    return np.clip(np.stack(rows), 0.0005, 1.2).astype(np.float32)


def backscatter() -> Array:
    """Mean backscatter [len(NAMES), 2] in dB: co-polarised and cross-polarised."""
    table = np.full((len(NAMES), 2), (-11.0, -17.0), np.float32)
    for number, name in enumerate(NAMES):
        for start, values in _BACKSCATTER.items():
            if name.startswith(start):
                table[number] = values
    return table


def _knotted(percent: tuple[float, ...], rng: np.random.Generator) -> Array:
    """A material given by knots, with its brightness and the shape of its curve varied."""
    values = np.interp(GRID, _KNOT_NM, percent) / 100
    bends = rng.normal(0, 0.07, 6).cumsum()
    shape = np.interp(GRID, np.linspace(400, 2500, 6), bends - bends.mean())
    minerals = 1 - _dip(1410, 25, rng.uniform(0, 0.06)) - _dip(1910, 35, rng.uniform(0, 0.1))
    clay = 1 - _dip(2205, 25, rng.uniform(0, 0.06))
    return _smooth(values * np.exp(shape + rng.normal(0, 0.18)) * minerals * clay)


def _plant(nir: float, green: float, water: float, dry: float, rng: np.random.Generator) -> Array:
    """A plant canopy, by a few absorbers whose amounts vary; a rough stand-in for PROSAIL."""
    nir, green, water = (v * np.exp(rng.normal(0, 0.15)) for v in (nir, green, water))
    dry = float(np.clip(dry * np.exp(rng.normal(0, 0.3)) + rng.uniform(0, 0.04), 0, 0.95))
    pigment = np.exp(-green * (0.4 + _dip(440, 70, 2.4) + _dip(665, 45, 2.2) + _dip(610, 40, 0.7)))
    edge = 1 / (1 + np.exp(-(GRID - 706 - 10 * min(green, 1.5)) / 11))
    visible = 0.16 * pigment + 0.25 * pigment * dry
    liquid = 0.05 + _dip(970, 30, 0.09) + _dip(1200, 50, 0.2) + _dip(1450, 70, 1.0)
    liquid += _dip(1940, 90, 1.6)
    liquid += np.interp(GRID, (400, 1100, 1650, 2200, 2500), (0, 0, 0.5, 1, 2))
    leaf = (visible + (1 - visible) * edge) * np.exp(-water * liquid)
    straw = np.interp(GRID, _KNOT_NM, _KNOTS["stubble"]) / 38
    return _smooth(nir * ((1 - dry) * leaf + dry * straw))


def _dip(centre: float, width: float, depth: float) -> Array:
    """A Gaussian absorption over `GRID`."""
    result: Array = (depth * np.exp(-(((GRID - centre) / width) ** 2))).astype(np.float32)
    return result


def _smooth(values: NDArray[np.floating]) -> Array:
    """Round off the corners that linear interpolation left."""
    padded = np.pad(values, 2, mode="edge")
    return np.convolve(padded, (0.1, 0.2, 0.4, 0.2, 0.1), mode="valid").astype(np.float32)
