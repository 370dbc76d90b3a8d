"""Standardising an image's values, and bringing another image's values to the same units."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from .data.bands import Band
from .data.imagery import Image
from .data.scale import differs

# Standard deviations beyond which a value says no more than "very bright" or "very dark".
LIMIT = 10.0

# Centre wavelengths in nm by the number of bands, where a file says nothing: the usual orders.
_RGB = [665.0, 560.0, 490.0]
_BGRN = [490.0, 560.0, 665.0, 842.0]
_SENTINEL2 = [443.0, 490.0, 560.0, 665.0, 705.0, 740.0, 783.0, 842.0, 865.0, 945.0, 1375.0,
              1610.0, 2190.0]  # fmt: skip
_USUAL: dict[int, tuple[str, list[float]]] = {
    3: ("red, green, blue", _RGB),
    4: ("blue, green, red, near infrared", _BGRN),
    6: ("blue, green, red, near infrared and two short-wave infrared", [*_BGRN, 1610.0, 2190.0]),
    7: ("Landsat 8's bands 1 to 7", [443.0, *_BGRN, 1610.0, 2190.0]),
    10: ("Sentinel-2's bands of 10 and 20 m", [*_SENTINEL2[1:9], *_SENTINEL2[11:]]),
    12: ("Sentinel-2's bands without B10", [*_SENTINEL2[:10], *_SENTINEL2[11:]]),
    13: ("Sentinel-2's 13 bands", _SENTINEL2),
}


@dataclass(frozen=True)
class Normalisation:
    """Mean and standard deviation of each band, in the units of the training image."""

    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    scale: dict[str, Any]

    @staticmethod
    def of(image: Image) -> Normalisation:
        """An image's own statistics."""
        mean, std = image.statistics()
        scale = image.scale
        return Normalisation(
            mean, std, {"kind": scale.kind, "factor": scale.factor, "offset": scale.offset}
        )

    def to_dict(self) -> dict[str, Any]:
        """As an adapter's card holds it."""
        return {"mean": self.mean.tolist(), "std": self.std.tolist(), "scale": self.scale}

    @staticmethod
    def from_dict(data: dict[str, Any]) -> Normalisation:
        """From an adapter's card, which is checked already."""
        scale = data.get("scale")
        return Normalisation(
            np.array(data["mean"], np.float64),
            np.array(data["std"], np.float64),
            scale if isinstance(scale, dict) else {},
        )

    def apply(self, values: NDArray[np.float32], valid: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Values [C, H, W] in standard deviations, clipped; invalid pixels are 0."""
        mean = self.mean[:, None, None].astype(np.float32)
        std = self.std[:, None, None].astype(np.float32)
        result = np.clip((values - mean) / std, -LIMIT, LIMIT)
        result *= valid
        return result

    def read(self, image: Image, window: Window) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """A window of the image, standardised [C, H, W], and its valid pixels [H, W]."""
        values, valid = image.read(window)
        return self.apply(values, valid), valid

    def for_image(self, image: Image) -> tuple[Normalisation, str]:
        """The normalisation for an image that may have other units, and a warning or nothing.

        Where both scales are known reflectance, mean and deviation are converted. Where values
        still differ by far, the image's own statistics serve: the classes may then drift.
        """
        own = Normalisation.of(image)
        here = self._converted(own.scale)
        if not differs(*(list(v) for v in (here.mean, here.std, own.mean, own.std))):
            return here, ""
        return own, (
            f"{image.name}: its values are far from those that the adapter was trained on; "
            "its own statistics are used, so check the map with care"
        )

    def _converted(self, scale: dict[str, Any]) -> Normalisation:
        old, new = self.scale.get("factor"), scale.get("factor")
        kinds = (self.scale.get("kind"), scale.get("kind"))
        if not (_known(old) and _known(new)) or "bytes" in kinds or kinds[0] == kinds[1]:
            return self
        ratio = float(new) / float(old)  # type: ignore[arg-type]
        shift = float(scale.get("offset") or 0) - ratio * float(self.scale.get("offset") or 0)
        return Normalisation(self.mean * ratio + shift, self.std * ratio, scale)


def wavelengths(image: Image) -> tuple[list[float | None], str]:
    """Each band's wavelength in nm, and a note where it is only assumed from the bands' number.

    A wrong assumption costs accuracy and no more, since the decoder learns from the labels.
    """
    known = [band.wavelength_nm for band in image.bands]
    if any(value is not None for value in known) or len(known) not in _USUAL:
        return known, ""
    if any(band.named for band in image.bands):
        return known, ""
    text, usual = _USUAL[len(known)]
    return list(usual), (
        f"{image.name} does not say which bands it has; they are taken to be {text}"
    )


def named_bands(image: Image) -> list[Band]:
    """The image's bands with the wavelengths that training takes them to have."""
    return [
        Band(band.name, wavelength)
        for band, wavelength in zip(image.bands, wavelengths(image)[0], strict=True)
    ]


def _known(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value) and value > 0
