"""Changes that a sensor or the air could make to a batch of standardised chips."""

from __future__ import annotations

import torch
from torch import Tensor

# Standard deviations of the gain and offset of a chip, of a band, and of a pixel's noise.
GAIN, BAND, NOISE = 0.3, 0.15, 0.1


def spectral_jitter(image: Tensor, generator: torch.Generator, strength: float = 1.0) -> Tensor:
    """Brightness, contrast and noise of each chip and band, drawn at random.

    image (B, C, H, W) in standard deviations; ``strength`` 0 changes nothing. A gain and an
    offset for the whole chip (sun, haze), smaller ones for each band (calibration), and white
    noise for each pixel. Strong on purpose: a few dozen polygons know little of the light on the
    next slope (figures in docs/trials.md).
    """
    if strength == 0:
        return image
    chips, bands = image.shape[:2]

    def normal(*shape: int) -> Tensor:
        drawn = torch.randn(*shape, generator=generator)
        return (drawn * strength).to(image.device)

    gain = 1 + GAIN * normal(chips, 1, 1, 1) + BAND * normal(chips, bands, 1, 1)
    offset = GAIN * normal(chips, 1, 1, 1) + BAND * normal(chips, bands, 1, 1)
    noise = NOISE * normal(*image.shape)
    return image * gain + offset + noise
