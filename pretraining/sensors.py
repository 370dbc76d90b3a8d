"""Cameras and satellites: which bands they have, and what they do to a landscape."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from fields import Array, fractal
from landscape import Landscape
from scipy.ndimage import gaussian_filter1d
from spectra import GRID, INDEX, backscatter

_S2_10 = (
    (492, 66),
    (560, 36),
    (665, 31),
    (704, 15),
    (741, 15),
    (783, 20),
    (833, 106),
    (865, 21),
    (1614, 91),
    (2202, 175),
)
_S2_12 = ((443, 21), *_S2_10[:8], (945, 20), *_S2_10[8:])
_L8 = ((443, 16), (482, 60), (561, 57), (655, 37), (865, 28), (1609, 85), (2201, 187))
_PLANET8 = ((443, 20), (490, 50), (531, 36), (565, 36), (610, 20), (665, 31), (705, 15), (865, 40))
_AERIAL = ((470, 60), (550, 60), (640, 60), (830, 90))


@dataclass(frozen=True)
class Sensor:
    """Bands as (centre, width) in nm, finest first, and the range of ground resolutions in m.

    `coarse` are the numbers of bands with half the resolution; `bytes` quantises to 8 bits.
    """

    name: str
    bands: tuple[tuple[float, float], ...]
    ground_resolution_m: tuple[float, float]
    coarse: tuple[int, ...] = ()
    bytes: bool = False


SENSORS = (
    Sensor("drone", ((460, 80), (540, 80), (620, 80)), (0.05, 0.4), bytes=True),
    Sensor(
        "multispectral drone", ((475, 32), (560, 27), (668, 14), (717, 12), (842, 57)), (0.05, 0.4)
    ),
    Sensor("aerial", _AERIAL, (0.3, 1.5), bytes=True),
    Sensor(
        "worldview",
        ((425, 50), (480, 60), (545, 70), (605, 40), (660, 60), (725, 40), (832, 130), (950, 180)),
        (1.2, 2.5),
    ),
    Sensor("planet 4", ((485, 60), (545, 90), (630, 80), (820, 80)), (3, 5)),
    Sensor("planet 8", _PLANET8, (3, 5)),
    Sensor("sentinel-2, 10 bands", _S2_10, (10, 10), coarse=(3, 4, 5, 7, 8, 9)),
    Sensor("sentinel-2, 12 bands", _S2_12, (10, 20), coarse=(0, 4, 5, 6, 8, 9, 10, 11)),
    Sensor("landsat 8", _L8, (30, 30)),
    Sensor(
        "aster",
        (
            (560, 80),
            (660, 60),
            (810, 100),
            (1650, 100),
            (2165, 40),
            (2205, 40),
            (2260, 50),
            (2330, 70),
        ),
        (15, 30),
    ),
)


def hyperspectral(rng: np.random.Generator, bands: int) -> Sensor:
    """A sensor with `bands` narrow bands at random places."""
    centres = np.sort(rng.uniform(410, 2450, bands))
    return Sensor("hyperspectral", tuple((float(c), 12.0) for c in centres), (1, 30))


def responses(bands: tuple[tuple[float, float], ...]) -> Array:
    """Weights [len(GRID), bands] of Gaussian responses with the given centres and widths, nm."""
    centres = np.array([band[0] for band in bands])
    deviations = np.maximum([band[1] for band in bands], 12) / 2.355
    weights = np.exp(-0.5 * ((GRID[:, None] - centres) / deviations) ** 2)
    result: Array = (weights / weights.sum(0)).astype(np.float32)
    return result


def observe(
    rng: np.random.Generator,
    landscape: Landscape,
    library: Array,
    sensor: Sensor,
    further: tuple[tuple[float, float], ...] = (),
) -> Array:
    """What a sensor sees: reflectance [bands + further, size, size], 0 to about 1, with its flaws.

    library: reflectance of the materials [materials, len(GRID)], from `draw_library`.
    further: bands seen beside the sensor's own, as a teacher's knowledge.
    """
    bands = (*sensor.bands, *further)
    image = _shown(landscape, library @ responses(bands))
    image = gaussian_filter1d(image, rng.uniform(0.35, 0.85), axis=1, truncate=2.5)
    image = gaussian_filter1d(image, rng.uniform(0.35, 0.85), axis=2, truncate=2.5)
    centres = np.array([band[0] for band in bands], np.float32)
    _air(rng, image, centres)
    _flaws(rng, image)
    size = image.shape[-1]
    for band in sensor.coarse:
        coarse = image[band].reshape(size // 2, 2, size // 2, 2).mean((1, 3))
        image[band] = coarse.repeat(2, 0).repeat(2, 1)
    noise = rng.standard_normal(image.shape, np.float32)
    level = image.mean((1, 2), keepdims=True)
    image += noise * (np.float32(rng.uniform(0.002, 0.02)) * level + np.float32(0.0008))
    if sensor.bytes:
        top = np.quantile(image, 0.98) * rng.uniform(0.9, 1.4)
        image = np.round(np.clip(image / top, 0, 1) ** rng.uniform(0.5, 1) * 255) / 255
    seen: Array = image.astype(np.float32)
    return seen


def radar(rng: np.random.Generator, landscape: Landscape) -> Array:
    """Backscatter [2, size, size] in dB with speckle: co-polarised and cross-polarised."""
    power = 10 ** (backscatter() / 10)
    scene = _shown(landscape, power.astype(np.float32), lit=False)
    looks = rng.uniform(3, 30)
    speckle = rng.gamma(looks, 1 / looks, scene.shape).astype(np.float32)
    result: Array = 10 * np.log10(scene * speckle + 1e-4).astype(np.float32)
    return result


def _shown(landscape: Landscape, table: Array, lit: bool = True) -> Array:
    """Mix values [materials, bands] of the materials by their shares: [bands, size, size]."""
    table = np.ascontiguousarray(table.T)
    mix = landscape.mix * landscape.cover
    shown = table[:, landscape.main] * (landscape.cover - mix)
    shown += table[:, landscape.other] * mix
    shown += table[:, landscape.ground] * (1 - landscape.cover)
    if lit:
        dark = table[:, INDEX["shadow"], None, None] + np.float32(0.12) * shown
        shown = shown * (landscape.light * (1 - landscape.shadow)) + dark * landscape.shadow
    return shown


def _air(rng: np.random.Generator, image: Array, centres: Array) -> None:
    """Add path radiance, more at short wavelengths, at times uneven, in place."""
    haze = rng.exponential(0.02) * (centres / 500) ** -rng.uniform(1.3, 4)
    image += haze[:, None, None].astype(np.float32)
    if rng.random() < 0.2:
        veil = np.maximum(fractal(rng, image.shape[-1], 2.0) * np.float32(0.03), 0)
        image += veil * ((centres / 500) ** -0.8)[:, None, None].astype(np.float32)


def _flaws(rng: np.random.Generator, image: Array) -> None:
    """Shift a band by part of a pixel, or stripe the image, in place and seldom."""
    if rng.random() < 0.25:
        band, share = rng.integers(len(image)), np.float32(rng.uniform(0, 0.6))
        moved = np.roll(image[band], 1, int(rng.integers(2)))
        image[band] += share * (moved - image[band])
    if rng.random() < 0.15:
        stripes = rng.normal(0, rng.uniform(0.003, 0.03), image.shape[::2])
        image *= 1 + stripes[:, None, :].astype(np.float32)
