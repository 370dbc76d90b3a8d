"""Made-up landscapes: what covers each pixel, and how it is lit. No sensor is involved yet."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from fields import Array, Integers, cells, fractal, rotated, strips
from numpy.typing import NDArray
from spectra import INDEX

CLASSES = (
    "water",
    "conifer forest",
    "broadleaf forest",
    "grassland",
    "shrub",
    "growing crop",
    "bare field",
    "ripe crop",
    "building",
    "paved",
    "rock",
    "sand",
    "snow",
    "wetland",
    "burnt",
)
CODE = {name: number for number, name in enumerate(CLASSES)}


@dataclass(frozen=True)
class Cover:
    """What a class is made of: materials, the ground beneath, and its texture.

    `closure` and `spread` are mean and deviation of the share that the material covers; `shade` is
    the share in shadow, and `grain` the size in metres of what casts it.
    """

    materials: tuple[str, ...]
    ground: tuple[str, ...]
    closure: float
    spread: float
    shade: float
    grain: float


_SOILS = ("soil_dark", "soil_brown", "soil_red", "soil_pale")
COVERS = (
    Cover(("water_clear", "water_turbid", "water_algae"), ("water_turbid",), 0.95, 0.04, 0.0, 5),
    Cover(("conifer", "pine"), ("litter", "moss", "grass_poor"), 0.85, 0.12, 0.38, 6),
    Cover(("broadleaf", "oak"), ("litter", "grass_poor"), 0.9, 0.10, 0.24, 10),
    Cover(("grass_green", "grass_poor", "grass_dry"), ("litter", *_SOILS), 0.85, 0.12, 0.03, 1),
    Cover(("shrub", "heath", "oak"), ("grass_dry", "litter", *_SOILS), 0.6, 0.2, 0.16, 3),
    Cover(("cereal", "maize", "beet"), _SOILS, 0.8, 0.10, 0.05, 1),
    Cover(_SOILS, ("litter", "stubble"), 0.9, 0.06, 0.02, 1),
    Cover(("crop_ripe", "stubble"), _SOILS, 0.75, 0.12, 0.03, 1),
    Cover(
        ("roof_red", "roof_dark", "concrete", "roof_metal", "roof_white", "plastic"),
        ("concrete", "asphalt", "grass_green", "broadleaf"),
        0.96,
        0.03,
        0.0,
        10,
    ),
    Cover(("asphalt", "concrete"), ("soil_brown", "concrete"), 0.9, 0.06, 0.0, 3),
    Cover(("rock_grey", "rock_red"), ("soil_pale", "litter", "moss"), 0.8, 0.12, 0.10, 8),
    Cover(("sand",), ("soil_pale", "grass_dry"), 0.92, 0.06, 0.02, 4),
    Cover(("snow",), ("rock_grey",), 0.93, 0.06, 0.0, 4),
    Cover(("reed", "moss"), ("water_turbid", "soil_dark", "water_algae"), 0.65, 0.18, 0.06, 2),
    Cover(("ash",), ("soil_brown", "litter", "grass_dry"), 0.8, 0.15, 0.10, 5),
)


@dataclass(frozen=True)
class Country:
    """A kind of landscape: how frequent natural classes are beside each other, and the shares
    (0 to 1, roughly) of farmland, of towns and of water.
    """

    natural: dict[str, float]
    farms: float
    towns: float
    water: float


_COUNTRIES = (
    Country(
        {"broadleaf forest": 3, "grassland": 3, "conifer forest": 1, "wetland": 0.7, "shrub": 0.7},
        farms=0.55,
        towns=0.25,
        water=0.08,
    ),
    Country(
        {
            "conifer forest": 3,
            "broadleaf forest": 1.5,
            "grassland": 3,
            "shrub": 2,
            "rock": 0.6,
            "burnt": 0.3,
            "wetland": 0.5,
        },
        farms=0.15,
        towns=0.08,
        water=0.08,
    ),
    Country(
        {"shrub": 4, "rock": 3, "sand": 1.5, "conifer forest": 2, "grassland": 1, "burnt": 0.4},
        farms=0.08,
        towns=0.08,
        water=0.03,
    ),
    Country(
        {"rock": 3, "snow": 0.15, "grassland": 2, "conifer forest": 3, "shrub": 1},
        farms=0.03,
        towns=0.04,
        water=0.06,
    ),
    Country(
        {"sand": 1.5, "grassland": 2, "wetland": 2, "shrub": 1.5, "conifer forest": 1},
        farms=0.25,
        towns=0.2,
        water=0.3,
    ),
    Country(
        {"broadleaf forest": 2, "grassland": 3, "shrub": 0.5}, farms=0.15, towns=0.75, water=0.08
    ),
)


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
        country = _COUNTRIES[int(rng.integers(len(_COUNTRIES)))]
    elevation = fractal(rng, size, rng.uniform(1.6, 2.2))
    classes, parcel = _natural(rng, elevation, country.natural, size)
    rows = np.zeros((size, size), np.float32)
    if rng.random() < 0.25 + country.farms:
        rows = _farm(rng, classes, parcel, size, ground_resolution_m, country.farms)
    _water(rng, classes, parcel, elevation, country.water)
    if rng.random() < 0.3 + country.towns:
        _town(rng, classes, parcel, elevation, ground_resolution_m, country.towns)
    if ground_resolution_m < 1.5 and rng.random() < 0.6:
        _trees(rng, classes, parcel, ground_resolution_m)
    if rng.random() < 0.6:
        _roads(rng, classes, parcel, size, ground_resolution_m)
    return _dress(rng, classes, parcel, rows, elevation, ground_resolution_m)


def _natural(
    rng: np.random.Generator, elevation: Array, weights: dict[str, float], size: int
) -> tuple[NDArray[np.uint8], Integers]:
    """Patches of natural classes: at each place the class with the highest of rival noises."""
    names = [name for name in weights if rng.random() < 0.8] or list(weights)
    best = np.full((size, size), -np.inf, np.float32)
    classes = np.zeros((size, size), np.uint8)
    roughness = rng.uniform(1.1, 1.9)
    for name in names:
        rival = fractal(rng, size, roughness) + 0.9 * np.float32(np.log(weights[name]))
        rival += (
            elevation * np.float32(1.0 if name in ("snow", "rock") else rng.normal(0, 0.5))
            - (1.2 if name == "wetland" else 0) * elevation
        )
        classes[rival > best] = CODE[name]
        np.maximum(best, rival, out=best)
    patches = np.floor(2.5 * fractal(rng, size, 1.8) + 50).astype(np.int64)
    return classes, classes.astype(np.int64) * 101 + patches


def _farm(
    rng: np.random.Generator,
    classes: NDArray[np.uint8],
    parcel: Integers,
    size: int,
    resolution: float,
    share: float,
) -> Array:
    """Lay fields over part of a landscape, in place; give the coordinate across their rows, m."""
    width = float(np.clip(rng.uniform(60, 300) / resolution, 7, size / 2))
    angle = rng.uniform(0, np.pi)
    warp = fractal(rng, size, 2.0) * np.float32(rng.uniform(0, 0.25))
    u, v = rotated(size, angle, width, (rng.uniform(0, 50), rng.uniform(0, 50)))
    if rng.random() < 0.6:
        found, border = strips(rng, u + warp, v)
    else:
        found, _, border = cells(rng, u + warp, v * np.float32(rng.uniform(0.6, 1)))
    kinds = ("growing crop", "bare field", "ripe crop", "grassland", "broadleaf forest", "shrub")
    odds = rng.dirichlet((4, 2, 2, 3, 0.5, 0.3))
    table = rng.choice([CODE[kind] for kind in kinds], 4096, p=odds).astype(np.uint8)
    where = fractal(rng, size, 1.8) > rng.normal(0.3 - 1.6 * share, 0.5)
    hedge = where & (border * width * resolution < rng.choice((0, 2, 5)))
    classes[where] = table[found[where]]
    parcel[where] = 5000 + found[where]
    classes[hedge] = CODE["grassland" if rng.random() < 0.5 else "broadleaf forest"]
    turned = np.where(rng.random(4096) < 0.6, 0.0, np.pi / 2).astype(np.float32)[found]
    across = (u * np.cos(turned) + v * np.sin(turned)) * np.float32(width * resolution)
    return np.where(where & ~hedge, across, 0).astype(np.float32)


def _water(
    rng: np.random.Generator,
    classes: NDArray[np.uint8],
    parcel: Integers,
    elevation: Array,
    share: float,
) -> None:
    """Flood what lies low, and let a river run, in place."""
    size = len(elevation)
    if rng.random() < 0.25 + share:
        smooth = elevation + 0.03 * fractal(rng, size, 1.0)
        lake = smooth < np.quantile(smooth, rng.beta(1, 3) * (0.25 + share))
        classes[lake] = CODE["water"]
        parcel[lake] = 9901
    if rng.random() < 0.35:
        line = fractal(rng, size, 2.2)
        steep = np.hypot(*np.gradient(line)) + 1e-4
        river = np.abs(line - rng.normal(0, 0.5)) / steep < rng.uniform(0.4, 3)
        bank = np.abs(line) / steep < 4
        if rng.random() < 0.5:
            classes[river] = CODE["water"]
        elif rng.random() < 0.5:
            classes[bank & ~river] = CODE["broadleaf forest"]
            classes[river] = CODE["water"]
        parcel[river] = 9902


def _town(
    rng: np.random.Generator,
    classes: NDArray[np.uint8],
    parcel: Integers,
    elevation: Array,
    resolution: float,
    share: float,
) -> None:
    """Streets, houses and gardens over part of a landscape, in place."""
    size = len(elevation)
    where = fractal(rng, size, 2.0) - 0.3 * elevation > rng.normal(1.3 - 1.5 * share, 0.4)
    where &= classes != CODE["water"]
    plot = max(rng.uniform(14, 45) / resolution, 1.6)
    u, v = rotated(size, rng.uniform(0, np.pi), plot, (rng.uniform(0, 60), rng.uniform(0, 60)))
    across, along = np.mod(u, rng.integers(3, 8)), np.mod(v, rng.integers(3, 6))
    street = np.minimum(across, along) * plot * resolution < rng.uniform(6, 14)
    i, j = np.floor(u).astype(np.int64) & 63, np.floor(v).astype(np.int64) & 63
    half = rng.uniform(0.15, 0.48, (2, 64, 64)).astype(np.float32)
    built = rng.random((64, 64)) < rng.uniform(0.5, 0.95)
    house = (np.abs(u % 1 - 0.5) < half[0, i, j]) & (np.abs(v % 1 - 0.5) < half[1, i, j])
    house &= built[i, j] & ~street
    green = np.array([CODE["grassland"], CODE["broadleaf forest"], CODE["paved"]], np.uint8)
    garden = rng.choice(green, (64, 64), p=rng.dirichlet((3, 1.5, 1.5)))
    classes[where] = garden[i, j][where]
    classes[where & street] = CODE["paved"]
    classes[where & house] = CODE["building"]
    parcel[where] = 10000 + (i * 64 + j)[where]
    parcel[where & street] = 9903


def _trees(
    rng: np.random.Generator, classes: NDArray[np.uint8], parcel: Integers, resolution: float
) -> None:
    """Single trees over part of a landscape, in place; for pixels smaller than a crown."""
    size = len(classes)
    u, v = rotated(size, 0.0, rng.uniform(3, 9) / resolution, (20.0, 20.0))
    wobble = fractal(rng, size, 1.5) * np.float32(0.06)
    found, distance, _ = cells(rng, u, v)
    radius = rng.uniform(0.2, 0.55, 4096).astype(np.float32)
    radius *= rng.random(4096) < rng.uniform(0.1, 0.9)
    crown = (distance + wobble < radius[found]) & (classes != CODE["water"])
    crown &= fractal(rng, size, 1.8) > rng.normal(-0.3, 0.6)
    conifer, broadleaf = CODE["conifer forest"], CODE["broadleaf forest"]
    kind = np.where(rng.random(4096) < rng.random(), conifer, broadleaf)
    classes[crown] = kind[found[crown]]
    parcel[crown] = 10000 + found[crown]


def _roads(
    rng: np.random.Generator,
    classes: NDArray[np.uint8],
    parcel: Integers,
    size: int,
    resolution: float,
) -> None:
    """One to three roads across everything, in place."""
    for number in range(int(rng.integers(1, 4))):
        u, v = rotated(size, rng.uniform(0, np.pi), 1.0, (0.0, 0.0))
        wave = np.sin(v / size * rng.uniform(2, 9) + rng.uniform(0, 6))
        bend = rng.uniform(0, 0.12) * size * wave
        middle = u[size // 2, size // 2] + rng.uniform(-0.5, 0.5) * size
        half = max(rng.uniform(3, 12) / resolution / 2, 0.6)
        road = np.abs(u - middle + bend) < half
        classes[road] = CODE["paved"]
        parcel[road] = 9904 + number


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
    return shade.astype(np.float32)


def _relief(rng: np.random.Generator, elevation: Array) -> Array:
    """Light on slopes relative to that on the level."""
    down, right = np.gradient(elevation)
    sun = rng.uniform(0, 2 * np.pi)
    slope = (np.cos(sun) * right + np.sin(sun) * down) * np.float32(rng.exponential(1.2))
    return np.clip(1 + slope, 0.35, 1.7).astype(np.float32)


def _cast(blocks: NDArray[np.bool_], resolution: float, rng: np.random.Generator) -> Array:
    """Shadows [size, size] that houses and trees cast on what lies beside them."""
    reach = rng.uniform(2, 12) / resolution
    angle = rng.uniform(0, 2 * np.pi)
    dark = np.zeros(blocks.shape, np.float32)
    for step in (0.5, 1.0) if reach >= 1 else (1.0,):
        move = (round(reach * step * np.sin(angle)), round(reach * step * np.cos(angle)))
        dark = np.maximum(dark, np.roll(blocks, move, (0, 1)))
    return dark * ~blocks * np.float32(min(1, reach) * 0.8)
