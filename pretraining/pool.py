"""A pool of generated scenes to pre-train on, in groups that share their bands."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

import numpy as np
from fields import Array
from numpy.typing import NDArray
from scenes import make_scene, standardised
from sensors import SENSORS, Sensor, hyperspectral

HALF = NDArray[np.float16]
# Bands beyond the sensor's own, so that it is asked for wavelengths that it never saw.
FURTHER = 5
# Crops a batch and their side in pixels: about equal numbers of tokens.
SHAPES = ((24, 64), (11, 96))


@dataclass(frozen=True)
class Group:
    """Scenes of one sensor: images [N, C, size, size], standardised; classes [N, size, size]."""

    images: HALF
    classes: NDArray[np.uint8]
    wavelengths: Array
    sensor_bands: int


@dataclass(frozen=True)
class Batch:
    """What a step learns from.

    image [B, C, S, S] and its wavelengths [C]: what is shown; target [B, T, S, S] with wavelengths
    [T]: what is asked for, including bands that aren't shown; classes [B, S, S].
    """

    image: Array
    wavelengths: Array
    target: Array
    target_wavelengths: Array
    classes: NDArray[np.int64]


def make_pool(seed: int, groups: int, scenes: int, size: int, workers: int) -> list[Group]:
    """Generate `groups` groups of `scenes` scenes each; the same seed gives the same pool."""
    jobs = [(seed, number, scenes, size) for number in range(groups)]
    with ProcessPoolExecutor(workers, mp_context=get_context("fork")) as executor:
        return list(executor.map(_make_group, jobs))


def _make_group(job: tuple[int, int, int, int]) -> Group:
    """Generate the scenes of one group."""
    seed, number, scenes, size = job
    rng = np.random.default_rng([seed, number])
    sensor, further, with_radar = _choose_bands(rng, number)
    images, classes = [], []
    wavelengths = np.zeros(0, np.float32)
    for _ in range(scenes):
        scene = make_scene(rng, sensor, size, further, with_radar)
        images.append(np.clip(standardised(scene.image), -8, 8).astype(np.float16))
        classes.append(scene.classes)
        wavelengths = scene.wavelengths
    return Group(np.stack(images), np.stack(classes), wavelengths, len(sensor.bands))


def _choose_bands(
    rng: np.random.Generator, number: int
) -> tuple[Sensor, tuple[tuple[float, float], ...], bool]:
    """A sensor, in turn, further bands at random places, and whether radar is there."""
    turn = number % (len(SENSORS) + 2)
    if turn >= len(SENSORS):
        return hyperspectral(rng, int(rng.integers(16, 40))), (), False
    further = tuple((float(rng.uniform(410, 2450)), 20.0) for _ in range(FURTHER))
    return SENSORS[turn], further, bool(rng.random() < 0.4)


def batches(rng: np.random.Generator, pool: list[Group]) -> Iterator[Batch]:
    """Batches of crops of one of `SHAPES`, each from one group, without end."""
    while True:
        count, side = SHAPES[int(rng.integers(len(SHAPES)))]
        yield _batch(rng, pool[int(rng.integers(len(pool)))], count, side)


def _batch(rng: np.random.Generator, group: Group, count: int, side: int) -> Batch:
    """Crops of one group, turned and mirrored at random, with bands chosen at random."""
    shown, asked = _split_bands(rng, group)
    bands = np.concatenate([shown, asked])
    size = group.classes.shape[-1]
    images = np.empty((count, len(bands), side, side), np.float32)
    classes = np.empty((count, side, side), np.int64)
    for item in range(count):
        number = int(rng.integers(len(group.images)))
        y, x = (int(v) for v in rng.integers(0, size - side + 1, 2))
        turns, mirror = int(rng.integers(4)), bool(rng.integers(2))
        image = group.images[number, bands, y : y + side, x : x + side].astype(np.float32)
        truth = group.classes[number, y : y + side, x : x + side]
        image, truth = np.rot90(image, turns, (1, 2)), np.rot90(truth, turns)
        images[item] = image[:, :, ::-1] if mirror else image
        classes[item] = truth[:, ::-1] if mirror else truth
    wavelengths = group.wavelengths[bands].copy()
    image_wavelengths = wavelengths[: len(shown)].copy()
    if rng.random() < 0.06:
        image_wavelengths[:] = np.nan
    # Every band shown is asked for too, up to a number that keeps the step cheap.
    kept = rng.permutation(len(bands))[:10]
    kept = kept[~np.isnan(wavelengths[kept])]
    return Batch(
        images[:, : len(shown)], image_wavelengths, images[:, kept], wavelengths[kept], classes
    )


def _split_bands(
    rng: np.random.Generator, group: Group
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Numbers of bands to show, and of bands only to ask for."""
    own = np.arange(group.sensor_bands)
    others = np.arange(group.sensor_bands, len(group.wavelengths))
    draw = rng.random()
    if draw < 0.45:
        shown = own
    elif draw < 0.9:
        shown = np.sort(rng.permutation(own)[: rng.integers(1, len(own) + 1)])
    else:
        every = rng.permutation(len(group.wavelengths))
        shown = every[: rng.integers(1, min(len(every), 16) + 1)]
    radar = others[np.isnan(group.wavelengths[others])]
    if len(radar) and rng.random() < 0.5:
        shown = np.union1d(shown, radar[: rng.integers(1, 3)])
    asked = np.setdiff1d(np.arange(len(group.wavelengths)), shown)
    asked = asked[~np.isnan(group.wavelengths[asked])]
    return shown, rng.permutation(asked)[:6]
