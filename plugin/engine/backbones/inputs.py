"""What an image is to a backbone: which of its bands is which, and when and where it was taken."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from .card import Card


@dataclass(frozen=True)
class Inputs:
    """The meaning of an image's C bands, fixed when a backbone is built.

    `wavelengths` are centres in nm, None where unknown. `bands` says for each band of the image
    which of the card's bands it is (an index into `card.bands`), None where it is none of them; it
    is empty for a backbone that takes any band. `left_out` are the places of bands that the
    backbone doesn't see at all (the decoder does): it is built for `seen()`. `frames` counts the
    dates from 0, one number a band; empty means that all bands are of one date. `dates` has an ISO
    date for each frame, "" where unknown; `location` is longitude and latitude of the image's
    centre in degrees. `time_location` says whether a backbone that can be told them is told them.
    `resolution_m` is the side of a pixel, before the image is enlarged `zoom` times for the
    backbone. `own_statistics` is true where the image is standardised by its own figures instead of
    the card's, so that a backbone can't tell physical values from it.
    """

    wavelengths: tuple[float | None, ...]
    bands: tuple[int | None, ...] = ()
    frames: tuple[int, ...] = ()
    dates: tuple[str, ...] = ()
    location: tuple[float, float] | None = None
    time_location: bool = False
    resolution_m: float | None = None
    zoom: float = 1.0
    left_out: tuple[int, ...] = ()
    own_statistics: bool = False

    def __post_init__(self) -> None:
        """Refuse inputs that contradict themselves. Raises ValueError."""
        count = len(self.wavelengths)
        if not count or len(self.bands) not in (0, count) or len(self.frames) not in (0, count):
            raise ValueError("inputs: not one entry a band")
        # The largest is looked at first: a stranger's card may name any number.
        if self.frames and (
            max(self.frames) >= count
            or sorted(set(self.frames)) != list(range(max(self.frames) + 1))
        ):
            raise ValueError("inputs: the dates are not numbered from 0 without gaps")
        if self.dates and len(self.dates) != self.frame_count:
            raise ValueError("inputs: not one date a frame")
        if not 0 < self.zoom <= 64:
            raise ValueError("inputs: the zoom makes no sense")
        if len(set(self.left_out) & set(range(count))) != len(self.left_out) or not self.picks:
            raise ValueError("inputs: the bands left out make no sense")

    @property
    def frame_count(self) -> int:
        """The number of dates."""
        return max(self.frames, default=0) + 1

    @property
    def picks(self) -> tuple[int, ...]:
        """The places of the bands that the backbone sees, in the image's order."""
        hidden = set(self.left_out)
        return tuple(place for place in range(len(self.wavelengths)) if place not in hidden)

    def seen(self) -> Inputs:
        """What the backbone is built for: the inputs without the bands that it doesn't see.

        Dates of which it sees no band go, and the others are numbered anew.
        """
        if not self.left_out:
            return self
        picks = self.picks
        frames = tuple(self.frames[place] for place in picks) if self.frames else ()
        kept = sorted(set(frames))
        return replace(
            self,
            wavelengths=tuple(self.wavelengths[place] for place in picks),
            bands=tuple(self.bands[place] for place in picks) if self.bands else (),
            frames=tuple(kept.index(frame) for frame in frames),
            dates=tuple(self.dates[frame] for frame in kept or [0]) if self.dates else (),
            left_out=(),
        )

    @staticmethod
    def all_of(card: Card) -> Inputs:
        """All of a card's bands, once, in its order: for the whole network as published."""
        lengths = tuple(band.wavelength_nm for band in card.bands) or (None,)
        return Inputs(lengths, tuple(range(len(card.bands))))

    def for_image(self, other: Inputs) -> Inputs:
        """The same bands in another image: with that image's dates and place."""
        return replace(self, dates=other.dates, location=other.location)

    def to_dict(self) -> dict[str, Any]:
        """In types that JSON has; `from_dict` takes it back."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Inputs:
        """What `to_dict` gave. Raises ValueError for what makes no sense."""
        try:
            place = values["location"]
            return cls(
                tuple(None if w is None else float(w) for w in values["wavelengths"]),
                tuple(None if b is None else int(b) for b in values["bands"]),
                tuple(int(frame) for frame in values["frames"]),
                tuple(str(date) for date in values["dates"]),
                None if place is None else (float(place[0]), float(place[1])),
                bool(values["time_location"]),
                None if values["resolution_m"] is None else float(values["resolution_m"]),
                float(values["zoom"]),
                tuple(int(place) for place in values.get("left_out", [])),
                bool(values.get("own_statistics", False)),
            )
        except (KeyError, IndexError, OverflowError, TypeError) as error:
            raise ValueError(f"inputs: damaged ({error})") from error
