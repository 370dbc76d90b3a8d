"""Lays out a landscape: which class, and which parcel of it, lies where.

Most functions here change `classes` and `parcel` [size, size] in place; pixels of one parcel share
their material and condition.
"""

from __future__ import annotations

import numpy as np
from covers import CODE
from fields import Array, Integers, cells, fractal, rotated, strips
from numpy.typing import NDArray


def natural(
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


def farm(
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


def water(
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


def town(
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


def trees(
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


def roads(
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
