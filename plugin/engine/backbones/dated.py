"""An image's bands by date and by the card's groups: the input of Galileo and Presto.

Both cut a series of images into tokens of one group of bands at one date, and leave out the tokens
of groups that aren't there (Galileo: Tseng et al. 2025, arXiv 2502.09356; Presto: Tseng et al.
2023, arXiv 2304.14065).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from .card import Card
from .inputs import Inputs

NDVI, RED, NEAR_INFRARED = "NDVI", "B4", "B8"
# Counted from 0: July, which Galileo's authors take where no date is known.
USUAL_MONTH = 6


class DatedBands(nn.Module):
    """Which band of the image goes where; without parameters.

    `groups` has the places of each group's bands in the card, `frames` the dates at which the
    image has at least one band of a group (groups without any are left out). Of such a group a
    missing band takes its mean. NDVI is computed where B4 and B8 are there and the image has no
    NDVI itself, but not from `inputs.own_statistics`: what is standardised by the image's own
    figures has no physical values, and the group is left out, as Galileo's authors do in their
    evaluations.
    """

    sources: Tensor
    targets: Tensor
    shares: Tensor
    mean: Tensor
    std: Tensor

    def __init__(self, card: Card, inputs: Inputs) -> None:
        """Raises ValueError where the image has no band of the card's or one that the card lacks,
        or too many dates."""
        super().__init__()
        names = [band.name for band in card.bands]
        count, self.dates = len(names), inputs.frame_count
        if self.dates > card.several_dates:
            raise ValueError(f"{self.dates} dates, but it takes {card.several_dates} at most")
        frames = inputs.frames or (0,) * len(inputs.wavelengths)
        places = inputs.bands or (None,) * len(inputs.wavelengths)
        beyond = [place for place in places if place is not None and not 0 <= place < count]
        if beyond:
            raise ValueError(f"band {beyond[0]} of the card, which has {count}")
        taken = [
            (source, frame * count + place)
            for source, (place, frame) in enumerate(zip(places, frames, strict=True))
            if place is not None
        ]
        if not taken:
            raise ValueError(f"the image has none of its bands ({', '.join(names)})")
        targets = [target for _, target in taken]
        self.register_buffer("sources", torch.tensor([s for s, _ in taken]), persistent=False)
        self.register_buffer("targets", torch.tensor(targets), persistent=False)
        # Bands of the image that are the same band of the card share its place.
        shares = torch.tensor([1.0 / targets.count(target) for target in targets])
        self.register_buffer("shares", shares[:, None, None], persistent=False)
        self.register_buffer("mean", torch.tensor(card.mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(card.std)[:, None, None], persistent=False)
        present = [{t % count for t in targets if t // count == date} for date in range(self.dates)]
        self.index = tuple(names.index(name) for name in (RED, NEAR_INFRARED, NDVI))
        red, infrared, index = self.index
        self.computed: list[int] = []
        if not inputs.own_statistics:
            self.computed = [d for d, there in enumerate(present)
                             if {red, infrared} <= there and index not in there]  # fmt: skip
        for date in self.computed:
            present[date].add(index)
        self.groups: dict[str, list[int]] = {}
        for place, band in enumerate(card.bands):
            self.groups.setdefault(band.group, []).append(place)
        self.frames: dict[str, list[int]] = {}
        for group, members in self.groups.items():
            found = [date for date, there in enumerate(present) if there & set(members)]
            if found:
                self.frames[group] = found

    def forward(self, image: Tensor) -> Tensor:
        """Values [B, dates, bands of the card, H, W] in the card's units, of an image [B, C, H, W].

        The image is standardised as `Backbone.forward` says. The result is float32.
        """
        chips, _, height, width = image.shape
        count = len(self.mean)
        placed = image.new_zeros(
            (chips, self.dates * count, height, width), dtype=torch.float32
        ).index_add(1, self.targets, image[:, self.sources].float() * self.shares)
        placed = placed.unflatten(1, (self.dates, count))
        values = placed * self.std + self.mean
        if self.computed:
            red, infrared, place = self.index
            part = values[:, self.computed]
            values[:, self.computed, place] = ndvi(part[:, :, red], part[:, :, infrared])
        return values


def ndvi(red: Tensor, infrared: Tensor) -> Tensor:
    """The normalised difference vegetation index; 0 where both are dark, within -1..1."""
    total = red + infrared
    lit = total > 0
    return torch.where(lit, (infrared - red) / torch.where(lit, total, 1.0), 0.0).clamp(-1, 1)


def months(inputs: Inputs) -> Tensor:
    """The month of each date, from 0; `USUAL_MONTH` where it isn't known.

    A series always comes with its months, since they are what it is about. The month of a single
    date is told where `inputs.time_location` allows it.
    """
    told = inputs.dates and (inputs.time_location or inputs.frame_count > 1)
    dates = inputs.dates if told else ("",) * inputs.frame_count
    return torch.tensor([int(date[5:7]) - 1 if date else USUAL_MONTH for date in dates])


def month_codes(numbers: Tensor, dim: int) -> Tensor:
    """Codes [N, dim] of months [N]: the year's sine in the first half, its cosine in the other."""
    angles = numbers.float()[:, None] * (2 * math.pi / 12)
    return torch.cat([angles.sin().expand(-1, dim // 2), angles.cos().expand(-1, dim // 2)], 1)


def on_sphere(location: tuple[float, float]) -> Tensor:
    """A point [3] on the unit sphere of longitude and latitude in degrees."""
    lon, lat = (math.radians(value) for value in location)
    return torch.tensor(
        [math.cos(lat) * math.cos(lon), math.cos(lat) * math.sin(lon), math.sin(lat)]
    )
