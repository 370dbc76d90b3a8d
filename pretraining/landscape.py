"""Made-up landscapes: what covers each pixel, and how it is lit. No sensor is involved yet."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from covers import CODE, COUNTRIES, COVERS, Country
from fields import Array, Integers, cells, fractal, rotated
from layout import farm, natural, roads, town, trees, water
from numpy.typing import NDArray
from spectra import INDEX


@dataclass
class Landscape:
    """A landscape on a square grid; every array is [size, size].

    A pixel shows (1 - mix) of material `main` and mix of `other` over `cover` of its area, `ground`
    over the rest, all times `light`; the share `shadow` is dark. `classes` indexes `CLASSES`.
    """

    ground_resolution_m: float
    classes: NDArray[np.uint8]
    main: Integers
    other: Integers
    ground: Integers
    mix: Array
    cover: Array
    shadow: Array
    light: Array
    elevation: Array


def make_landscape(
    rng: np.random.Generator,
    size: int,
    ground_resolution_m: float,
    country: Country | None = None,
) -> Landscape:
    """Draw a landscape of `size` pixels each way; without a `country`, of any kind."""
    if country is None:
        country = COUNTRIES[int(rng.integers(len(COUNTRIES)))]
    elevation = fractal(rng, size, rng.uniform(1.6, 2.2))
    classes, parcel = natural(rng, elevation, country.natural, size)
    rows = np.zeros((size, size), np.float32)
    if rng.random() < 0.25 + country.farms:
        rows = farm(rng, classes, parcel, size, ground_resolution_m, country.farms)
    water(rng, classes, parcel, elevation, country.water)
    if rng.random() < 0.3 + country.towns:
        town(rng, classes, parcel, elevation, ground_resolution_m, country.towns)
    if ground_resolution_m < 1.5 and rng.random() < 0.6:
        trees(rng, classes, parcel, ground_resolution_m)
    if rng.random() < 0.6:
        roads(rng, classes, parcel, size, ground_resolution_m)
    return _dress(rng, classes, parcel, rows, elevation, ground_resolution_m)


def _dress(
    rng: np.random.Generator,
    classes: NDArray[np.uint8],
    parcel: Integers,
    rows: Array,
    elevation: Array,
    resolution: float,
) -> Landscape:
    """Choose materials and texture for classes and parcels."""
    size = len(elevation)
    main, other, ground = _materials(rng, classes, parcel)
    closure, spread, shade, grain = (
        np.array([getattr(cover, name) for cover in COVERS], np.float32)[classes]
        for name in ("closure", "spread", "shade", "grain")
    )
    fine = rng.standard_normal((size, size)).astype(np.float32)
    broad = fractal(rng, size, 1.2)
    parcels = rng.normal(0, 1, (3, 14200)).astype(np.float32)[:, parcel]
    # Many objects in a pixel even out.
    calm = np.minimum(1, np.sqrt(grain / resolution)) * np.float32(0.9) + np.float32(0.1)
    cover = closure + spread * (0.6 * broad + 0.7 * fine * calm + 0.8 * parcels[0])
    if resolution > 4:
        # A pixel is larger than a house: roof, street and garden mix.
        cover -= np.float32(0.4) * ((classes == CODE["building"]) | (classes == CODE["paved"]))
    cover -= _rows(rng, rows, resolution) * (classes >= 5) * (classes <= 7)
    crown = _crowns(rng, size, resolution)
    shadow = (
        shade * (1 + 0.5 * fine * calm + 0.3 * broad)
        if crown is None
        else (shade * np.float32(2.2) * crown * (0.8 + 0.2 * fine))
    )
    mix = np.clip(0.25 + 0.25 * broad + 0.35 * parcels[1], 0, 1) * (classes != CODE["building"])
    light = 1 + 0.06 * parcels[2] + 0.03 * broad + 0.03 * fine * calm
    light = light * _relief(rng, elevation)
    tall = (classes == CODE["building"]) | (classes == CODE["broadleaf forest"])
    cast = _cast(tall | (classes == CODE["conifer forest"]), resolution, rng)
    return Landscape(
        resolution,
        classes,
        main,
        other,
        ground,
        mix.astype(np.float32),
        np.clip(cover, 0.02, 1).astype(np.float32),
        np.clip(np.maximum(shadow, cast), 0, 0.92).astype(np.float32),
        np.clip(light, 0.3, 2).astype(np.float32),
        elevation,
    )


def _materials(
    rng: np.random.Generator, classes: NDArray[np.uint8], parcel: Integers
) -> tuple[Integers, Integers, Integers]:
    """Main, other and ground material of each pixel, drawn by class and parcel."""
    variant = rng.integers(0, 1 << 30, (2, 14200))[:, parcel]
    tables = np.zeros((3, len(COVERS), 16), np.int64)
    for number, cover in enumerate(COVERS):
        odds = rng.dirichlet(np.full(len(cover.materials), 0.8))
        names = rng.choice(cover.materials, 32, p=odds)
        tables[0, number] = [INDEX[name] for name in names[:16]]
        tables[1, number] = [INDEX[name] for name in names[16:]]
        beneath = rng.choice(cover.ground, 2)
        tables[2, number] = [INDEX[name] for name in rng.choice(beneath, 16)]
    main = tables[0, classes, variant[0] % 16]
    return main, tables[1, classes, variant[1] % 16], tables[2, classes, variant[0] // 16 % 16]


def _rows(rng: np.random.Generator, across: Array, resolution: float) -> Array:
    """The share of cover missing between crop rows, or along tramlines where pixels are larger."""
    spacing = rng.uniform(0.4, 3.0) if resolution < 0.5 else rng.uniform(12, 36)
    if spacing < 2 * resolution:
        return np.zeros_like(across)
    depth = rng.uniform(0.1, 0.6) if resolution < 0.5 else rng.uniform(0, 0.25)
    wave = np.cos(across * np.float32(2 * np.pi / spacing))
    return np.where(across == 0, 0, np.float32(depth) * np.maximum(wave, 0)).astype(np.float32)


def _crowns(rng: np.random.Generator, size: int, resolution: float) -> Array | None:
    """Shadow between tree crowns, 0 on their sunny side to 1; None where pixels are too large."""
    diameter = rng.uniform(4, 11) / resolution
    if diameter < 2.5:
        return None
    u, v = rotated(size, rng.uniform(0, 6), min(diameter, size / 3), (20.0, 20.0))
    _, distance, border = cells(rng, u, v)
    tilt = np.float32(rng.uniform(0.1, 0.4)) * np.sin(u * 6).astype(np.float32)
    shade = np.clip(distance * np.float32(1.3) - border * np.float32(0.6) + tilt, 0, 1)
    result: Array = shade.astype(np.float32)
    return result


def _relief(rng: np.random.Generator, elevation: Array) -> Array:
    """Light on slopes relative to that on the level."""
    down, right = np.gradient(elevation)
    sun = rng.uniform(0, 2 * np.pi)
    slope = (np.cos(sun) * right + np.sin(sun) * down) * np.float32(rng.exponential(1.2))
    result: Array = np.clip(1 + slope, 0.35, 1.7).astype(np.float32)
    return result


def _cast(blocks: NDArray[np.bool_], resolution: float, rng: np.random.Generator) -> Array:
    """Shadows [size, size] that houses and trees cast on what lies beside them."""
    reach = rng.uniform(2, 12) / resolution
    angle = rng.uniform(0, 2 * np.pi)
    dark = np.zeros(blocks.shape, np.float32)
    for step in (0.5, 1.0) if reach >= 1 else (1.0,):
        move = (round(reach * step * np.sin(angle)), round(reach * step * np.cos(angle)))
        dark = np.maximum(dark, np.roll(blocks, move, (0, 1)))
    return dark * ~blocks * np.float32(min(1, reach) * 0.8)
