"""Which pixels the declared nodata values leave out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def declared_valid(raw: Sequence[np.ndarray], nodata: Sequence[float | None]) -> np.ndarray:
    """Valid by the declared nodata values: raw bands [H, W] to bool [H, W].

    A pixel is invalid where any band is nodata. Where the value also occurs as a measurement
    (0, or 255 in bytes), only where all bands are: a shadow that is 0 in one band is no gap.
    """
    gap_any = np.zeros(raw[0].shape, bool)
    gap_all = np.ones(raw[0].shape, bool)
    ambiguous = 0
    for band, value in zip(raw, nodata, strict=True):
        if value is None:
            continue
        hit = _equals(band, value)
        if may_be_measured(value, band.dtype):
            ambiguous += 1
            gap_all &= hit
        else:
            gap_any |= hit
    if ambiguous == len(nodata) and ambiguous:
        gap_any |= gap_all
    return ~gap_any


def may_be_measured(value: float, dtype: np.dtype) -> bool:
    """Whether a nodata value also occurs as a measurement."""
    return dtype.kind in "iu" and (value == 0 or (dtype == np.uint8 and value == 255))


def fits(value: float, dtype: np.dtype) -> bool:
    """Whether a band of this type can have the value at all."""
    if dtype.kind not in "iu":
        return True
    info = np.iinfo(dtype)
    return info.min <= value <= info.max and float(value).is_integer()


def _equals(band: np.ndarray, value: float) -> np.ndarray:
    if not fits(value, band.dtype):
        return np.zeros(band.shape, bool)
    if band.dtype.kind in "iu":
        return band == band.dtype.type(int(value))
    if np.isnan(value):
        return np.isnan(band)
    # Files round their nodata value: -3.4e38 stands for the smallest float.
    return np.isclose(band, value, rtol=1e-5, atol=0)
