"""Changes that a sensor or the air could make to a batch of standardised chips."""

from __future__ import annotations

import torch
from torch import Tensor


def spectral_jitter(image: Tensor, generator: torch.Generator, strength: float = 1.0) -> Tensor:
    """Brightness, contrast and noise of each chip and band, drawn at random.

    image (B, C, H, W) in standard deviations; ``strength`` 0 changes nothing. A gain and an
    offset for the whole chip (sun, haze), smaller ones for each band (calibration), and white
    noise for each pixel.
    """
    if strength == 0:
        return image
    chips, bands = image.shape[:2]

    def normal(*shape: int) -> Tensor:
        drawn = torch.randn(*shape, generator=generator)
        return (drawn * strength).to(image.device)

    gain = 1 + 0.1 * normal(chips, 1, 1, 1) + 0.05 * normal(chips, bands, 1, 1)
    offset = 0.1 * normal(chips, 1, 1, 1) + 0.05 * normal(chips, bands, 1, 1)
    noise = torch.randn(image.shape, generator=generator).to(image.device) * 0.03 * strength
    return image * gain + offset + noise
