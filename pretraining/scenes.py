"""Generated scenes: an image as a sensor would have taken it, and the truth about it.

Everything follows from the generator that is handed in: the same seed gives the same scene.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from fields import Array
from landscape import make_landscape
from numpy.typing import NDArray
from sensors import Sensor, observe, radar
from spectra import draw_library


@dataclass(frozen=True)
class Scene:
    """image: reflectance or dB [bands, size, size]; classes: index into `covers.CLASSES`.

    wavelengths: [bands], nm, NaN for bands without one.
    """

    image: Array
    wavelengths: Array
    classes: NDArray[np.uint8]
    ground_resolution_m: float


def make_scene(
    rng: np.random.Generator,
    sensor: Sensor,
    size: int = 128,
    further: tuple[tuple[float, float], ...] = (),
    with_radar: bool = False,
) -> Scene:
    """Draw a scene of `size` pixels each way (an even number).

    further: bands (centre, width) in nm that come after the sensor's own; `with_radar` adds two
    more, without wavelengths.
    """
    low, high = sensor.ground_resolution_m
    resolution = float(np.exp(rng.uniform(np.log(low), np.log(high))))
    landscape = make_landscape(rng, size, resolution)
    image = observe(rng, landscape, draw_library(rng), sensor, further)
    centres = [band[0] for band in (*sensor.bands, *further)]
    if with_radar:
        image = np.concatenate([image, radar(rng, landscape)])
        centres += [np.nan, np.nan]
    return Scene(image, np.array(centres, np.float32), landscape.classes, resolution)


def standardised(image: Array) -> Array:
    """An image [C, H, W] with each band's mean 0 and deviation 1, as fine-tuning sees it."""
    mean = image.mean((1, 2), keepdims=True)
    deviation = image.std((1, 2), keepdims=True)
    result: Array = ((image - mean) / np.maximum(deviation, 1e-6)).astype(np.float32)
    return result
