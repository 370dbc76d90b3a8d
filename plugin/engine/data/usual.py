"""Which bands an image has whose file doesn't say: the usual ones for their number."""

from __future__ import annotations

from collections.abc import Sequence

from .bands import Band
from .imagery import Image

# Centre wavelengths in nm by the number of bands.
_RGB = [665.0, 560.0, 490.0]
_BGRN = [490.0, 560.0, 665.0, 842.0]
_SENTINEL2 = [443.0, 490.0, 560.0, 665.0, 705.0, 740.0, 783.0, 842.0, 865.0, 945.0, 1375.0,
              1610.0, 2190.0]  # fmt: skip
_USUAL: dict[int, tuple[str, Sequence[float]]] = {
    3: ("red, green, blue", _RGB),
    4: ("blue, green, red, near infrared", _BGRN),
    6: ("blue, green, red, near infrared and two short-wave infrared", [*_BGRN, 1610.0, 2190.0]),
    7: ("Landsat 8's bands 1 to 7", [443.0, *_BGRN, 1610.0, 2190.0]),
    10: ("Sentinel-2's bands of 10 and 20 m", [*_SENTINEL2[1:9], *_SENTINEL2[11:]]),
    12: ("Sentinel-2's bands without B10", [*_SENTINEL2[:10], *_SENTINEL2[11:]]),
    13: ("Sentinel-2's 13 bands", _SENTINEL2),
}
_RADAR = ("VV", "VH")


def usual_bands(image: Image) -> tuple[list[Band], str]:
    """The image's bands, and a note where they are only assumed.

    Where the file names no band and gives no wavelength, the number of bands decides; two bands
    in decibels are radar's VV and VH. A wrong assumption costs accuracy and no more, since the
    decoder learns from the labels.
    """
    bands = list(image.bands)
    if any(band.named or band.wavelength_nm is not None for band in bands):
        return bands, ""
    note = f"{image.name} does not say which bands it has; they are taken to be "
    if len(bands) == len(_RADAR) and image.scale.kind == "decibel":
        return [Band(name) for name in _RADAR], note + "radar's VV and VH"
    if len(bands) not in _USUAL:
        return bands, ""
    text, lengths = _USUAL[len(bands)]
    pairs = zip(bands, lengths, strict=True)
    return [Band(band.name, length) for band, length in pairs], note + text
