"""Random fields and partitions of the plane, from which landscapes are put together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Integers = NDArray[np.int64]


def fractal(rng: np.random.Generator, size: int, roughness: float) -> Array:
    """Noise [size, size], mean 0, deviation 1, whose amplitude falls as frequency^-`roughness`."""
    rows = np.fft.fftfreq(size)[:, None]
    columns = np.fft.rfftfreq(size)[None, :]
    frequency = np.hypot(rows, columns)
    frequency[0, 0] = np.inf
    shape = frequency.shape
    waves = rng.standard_normal(shape) + 1j * rng.standard_normal(shape)
    field = np.fft.irfft2(waves * frequency**-roughness, s=(size, size))
    result: Array = (field / (field.std() + 1e-9)).astype(np.float32)
    return result


def rotated(
    size: int, angle: float, unit: float, shift: tuple[float, float]
) -> tuple[Array, Array]:
    """Coordinates [size, size] of pixels on axes turned by `angle`, in units of `unit` pixels."""
    y, x = np.mgrid[:size, :size].astype(np.float32) / unit
    cosine, sine = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return x * cosine + y * sine + shift[0], y * cosine - x * sine + shift[1]


def cells(rng: np.random.Generator, u: Array, v: Array) -> tuple[Integers, Array, Array]:
    """Voronoi cells of a jittered grid: id, distance to the seed, distance past the next seed.

    u, v: coordinates in units of a cell. The id is below 4096 and repeats every 64 cells; the third
    value is 0 on a border. Worley 1996, "A cellular texture basis function".
    """
    jitter = rng.uniform(0.1, 0.9, (2, 64, 64)).astype(np.float32)
    column, row = np.floor(u).astype(np.int64), np.floor(v).astype(np.int64)
    first = np.full(u.shape, np.inf, np.float32)
    second = np.full(u.shape, np.inf, np.float32)
    found = np.zeros(u.shape, np.int64)
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            i, j = (column + right) & 63, (row + down) & 63
            across = column + right + jitter[0, i, j] - u
            along = row + down + jitter[1, i, j] - v
            distance = across**2 + along**2
            nearer = distance < first
            second = np.where(nearer, first, np.minimum(second, distance))
            first = np.where(nearer, distance, first)
            found = np.where(nearer, i * 64 + j, found)
    first, second = np.sqrt(first), np.sqrt(second)
    return found, first.astype(np.float32), (second - first).astype(np.float32)


def strips(rng: np.random.Generator, u: Array, v: Array) -> tuple[Integers, Array]:
    """Long fields side by side: id (below 4096) and the distance to the nearest border.

    u, v: coordinates in units of a strip's mean width.
    """
    borders = rng.uniform(0.5, 1.5, 64).cumsum().astype(np.float32)
    period = borders[-1]
    place = np.mod(u, period)
    row = np.searchsorted(borders, place).clip(0, 63)
    length = rng.uniform(1.0, 4.0, 64).astype(np.float32)[row]
    along = v / length + rng.uniform(0, 1, 64).astype(np.float32)[row]
    column = np.floor(along).astype(np.int64)
    start = np.concatenate([[0], borders[:-1]]).astype(np.float32)[row]
    side = np.minimum(place - start, borders[row] - place)
    end = np.minimum(along - column, 1 - (along - column)) * length
    return row * 64 + (column & 63), np.minimum(side, end).astype(np.float32)
