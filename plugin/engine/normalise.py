"""Standardising an image's values, and bringing another image's values to the same units.

By the image's own statistics, or by those that a backbone's card has of what it was trained on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.windows import Window

from .backbones.card import Card
from .card_units import in_units_of
from .data.bands import Band
from .data.imagery import Image
from .data.scale import Scale, alternatives, differs
from .errors import TilthError

# Standard deviations beyond which a value says no more than "very bright" or "very dark".
LIMIT = 10.0
# Another season, or other shares of the classes, move an image's mean by less.
SHIFT = 2.5
# Scales that are told apart by how bright or dark an image is.
FACTORS = {"reflectance1000", "reflectance10000"}
GUESSED = FACTORS | {"reflectance10000_offset"}


@dataclass(frozen=True)
class Normalisation:
    """Mean and standard deviation of each band, in the units of the training image.

    `scale` is that image's; its entry `by_card` is true where the figures are a backbone card's.
    """

    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    scale: dict[str, Any]

    @staticmethod
    def of(image: Image) -> Normalisation:
        """An image's own statistics."""
        mean, std = image.statistics()
        return Normalisation(mean, std, image.scale.to_dict())

    @property
    def by_card(self) -> bool:
        """Whether the figures are a backbone card's, and not an image's own."""
        return bool(self.scale.get("by_card"))

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
        still differ by far, the image's own statistics serve: the classes may then drift. Where
        they are merely brighter or darker than what was trained on, the warning alone says so.
        """
        own = Normalisation.of(image)
        here = self._converted(own.scale)
        converted = here is not self or self.scale.get("kind") == own.scale["kind"]
        if self._misled(own, here):
            here = self
        if self.by_card and converted:
            return here, ""
        if not differs(*(list(v) for v in (here.mean, here.std, own.mean, own.std))):
            return here, _shift(image.name, own, here)
        return own, (
            f"{image.name}: its values are far from those that the adapter was trained on; "
            "its own statistics are used, so check the map with care"
        )

    def _misled(self, own: Normalisation, here: Normalisation) -> bool:
        """Whether a factor or offset was guessed that only the one image's pixels speak for."""
        kinds = {str(scale.get("kind")) for scale in (self.scale, own.scale)}
        guessed = self.scale.get("guessed") or own.scale.get("guessed")
        # A card's figures are of the whole world, too broad to judge an offset by.
        if not guessed or len(kinds) == 1 or not kinds <= (FACTORS if self.by_card else GUESSED):
            return False
        # A mean of 0 is no statistic.
        told = self.mean != 0
        return bool(told.any()) and _distance(own, self, told) <= _distance(own, here, told)

    def _converted(self, scale: dict[str, Any]) -> Normalisation:
        old, new = self.scale.get("factor"), scale.get("factor")
        kinds = (self.scale.get("kind"), scale.get("kind"))
        if not (_known(old) and _known(new)) or "bytes" in kinds or kinds[0] == kinds[1]:
            return self
        ratio = float(new) / float(old)  # type: ignore[arg-type]
        shift = float(scale.get("offset") or 0) - ratio * float(self.scale.get("offset") or 0)
        kept = {**scale, "by_card": True} if self.by_card else scale
        return Normalisation(self.mean * ratio + shift, self.std * ratio, kept)


def normalise(
    wanted: str,
    card: Card | None,
    bands: Sequence[int | None],
    images: Sequence[Image],
    named: Sequence[Band],
) -> tuple[list[Normalisation], str]:
    """Each image's normalisation, and a note where it is not by what the card prefers.

    `wanted` is "auto" (what the card prefers), "image" or "card"; `bands` are as a `Match` has
    them, `named` the images' bands. By the card are the bands that it has; all others by the
    image's own statistics. Raises TilthError for "card" where that can't be done.
    """
    own = [Normalisation.of(image) for image in images]
    prefers = card is not None and card.normalisation == "card"
    if wanted == "image" or (wanted == "auto" and not prefers):
        return own, ""
    try:
        if card is None or not card.mean:
            title = card.title if card is not None else "no backbone"
            raise ValueError(f"{title} has no mean and deviation of its own")
        made = [
            _by_card(card, bands, values, image, named)
            for image, values in zip(images, own, strict=True)
        ]
    except ValueError as error:
        if wanted == "card":
            raise TilthError(f"normalisation: {error}; choose the image's own statistics") from None
        return own, f"the image's own statistics are used, since {error}"
    if wanted == "auto":
        far = [image.name for image, *pair in zip(images, own, made, strict=True) if _far(*pair)]
        if far:
            return own, (
                f"the image's own statistics are used, since the values of {far[0]} are far from "
                "those that the backbone was trained on"
            )
    return made, ""


def _by_card(
    card: Card,
    bands: Sequence[int | None],
    own: Normalisation,
    image: Image,
    named: Sequence[Band],
) -> Normalisation:
    """The card's figures in the image's units. Raises ValueError, with the reason, without.

    Where the image's scale is guessed, it is the one by which its values are nearest to the card's.
    """
    matched = {place: index for place, index in enumerate(bands) if index is not None}

    def made(scale: Scale) -> Normalisation:
        mean, std = own.mean.copy(), own.std.copy()
        for place, index in matched.items():
            try:
                mean[place], std[place] = in_units_of(card, index, scale, own.mean[place])
            except ValueError as error:
                raise ValueError(f"{image.name}: {named[place].name} {error}") from error
        return Normalisation(mean, std, {**scale.to_dict(), "by_card": True})

    first, *others = [made(scale) for scale in (image.scale, *alternatives(image.scale))]
    told = np.isin(np.arange(len(own.mean)), list(matched)) & (first.mean != 0)
    if not told.any():
        return first
    return min([first, *others], key=lambda figures: _distance(own, figures, told))


def _far(own: Normalisation, made: Normalisation) -> bool:
    """Whether an image's values are far from the card's; a mean of 0 is no statistic."""
    told = made.mean != 0
    parts = [values[told].tolist() for values in (own.mean, own.std, made.mean, made.std)]
    return bool(told.any()) and differs(*parts)


def _above(own: Normalisation, trained: Normalisation) -> NDArray[np.float64]:
    """How far the bands' means are above those in training, in its standard deviations."""
    return (own.mean - trained.mean) / np.maximum(trained.std, 1e-12)  # type: ignore[no-any-return]


def _distance(own: Normalisation, trained: Normalisation, told: NDArray[np.bool_]) -> float:
    """How far the means of the bands that are told are from those in training: the median."""
    return abs(float(np.median(_above(own, trained)[told])))


def _shift(name: str, own: Normalisation, trained: Normalisation) -> str:
    """A warning where half of the bands or more are much brighter or darker than in training."""
    shift = float(np.median(_above(own, trained)))
    if abs(shift) <= SHIFT:
        return ""
    return (
        f"{name}: it is {'brighter' if shift > 0 else 'darker'} than the images that the adapter "
        f"was trained on, by {abs(shift):.1f} of their standard deviations; check the map with "
        "care, and draw polygons on this image, too, if it is wrong"
    )


def _known(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value) and value > 0
