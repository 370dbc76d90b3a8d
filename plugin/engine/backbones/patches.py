"""What backbones that cut images into patches share: kernels for the bands at hand, positions."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from .card import Card
from .inputs import Inputs


def slices(card: Card, inputs: Inputs, allowed: Collection[int] | None = None) -> list[int]:
    """For each band of the image the card's band whose slice of the patch kernel it takes.

    That is the band that `inputs.bands` says, and for a band that is none of the card's the one of
    the nearest wavelength, among those of `allowed` (all where None).

    Raises ValueError where there is none: the wavelength isn't known, or none of the card's is.
    """
    known = [
        (index, band.wavelength_nm)
        for index, band in enumerate(card.bands)
        if band.wavelength_nm is not None and (allowed is None or index in allowed)
    ]
    found = []
    for place, wavelength in enumerate(inputs.wavelengths):
        index = inputs.bands[place] if inputs.bands else None
        if index is None:
            if wavelength is None or not known:
                raise ValueError(
                    f"band {place + 1} of the image is none of {card.title}'s, "
                    "and without wavelengths none is nearest to it"
                )
            index = min(known, key=lambda one: abs(one[1] - wavelength))[0]
        elif not 0 <= index < len(card.bands):
            raise ValueError(f"band {index} of the card, which has {len(card.bands)}")
        found.append(index)
    return found


def cut(kernel: Tensor, chosen: Sequence[int]) -> Tensor:
    """A patch kernel [D, K, ...] for the bands at hand: [D, C, ...], `chosen` as of `slices`.

    Missing bands' slices are dropped. Bands that share a slice share its weight: together they
    count as much as the one band that it was trained on.
    """
    shares = torch.tensor([1.0 / list(chosen).count(index) for index in chosen])
    shape = [1, len(chosen)] + [1] * (kernel.ndim - 2)
    return kernel[:, list(chosen)] * shares.to(kernel).reshape(shape)


def frames(inputs: Inputs) -> list[list[int]]:
    """The places in the image of each date's bands, date by date."""
    dates: list[list[int]] = [[] for _ in range(inputs.frame_count)]
    for place, frame in enumerate(inputs.frames or [0] * len(inputs.wavelengths)):
        dates[frame].append(place)
    return dates


def sinusoids(steps: Tensor, dim: int) -> Tensor:
    """Sine-cosine codes [N, dim] of positions [N], in their precision: all sines, then all cosines.

    The wavelengths run from 2 pi to 10000 * 2 pi (Vaswani et al. 2017, arXiv 1706.03762).
    """
    exponents = torch.arange(dim // 2, dtype=steps.dtype, device=steps.device) / (dim / 2)
    angles = steps[:, None] * (1.0 / 10000**exponents)[None, :]
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def resize(codes: Tensor, rows: int, columns: int, *, align_corners: bool = False) -> Tensor:
    """Position codes [T, D, h, w] brought to a grid of rows x columns, bicubically."""
    if codes.shape[-2:] == (rows, columns):
        return codes
    return F.interpolate(codes, (rows, columns), mode="bicubic", align_corners=align_corners)
