"""Presto: a small transformer over the time series of one pixel.

Tseng et al. 2023, "Lightweight, Pre-trained Transformers for Remote Sensing Timeseries" (arXiv
2304.14065); weights by the authors under the MIT licence.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ..attention import again
from .base import Backbone, Converted
from .card import Card
from .conversion import checked
from .dated import DatedBands, month_codes, months, on_sphere
from .inputs import Inputs

# The rows of the published codes; weather, terrain and land cover are not used here.
GROUPS = ("S1", "S2_RGB", "S2_Red_Edge", "S2_NIR_10m", "S2_NIR_20m", "S2_SWIR", "ERA5", "SRTM",
          "NDVI", "dynamic_world")  # fmt: skip
# What a band is shifted and divided by, in the card's units (dB; reflectance x 10000; NDVI).
RADAR, REFLECTANCE, PLAIN = (25.0, 25.0), (0.0, 1e4), (0.0, 1.0)
# Pixels are taken in parts of about so many tokens: they are independent, and memory is not.
PART = 2**16


class PrestoBackbone(Backbone):
    """Presto's encoder, for each pixel on its own: a token for each date and group of bands.

    A map holds, at the image's resolution, each pixel's mean over its tokens. Months come from the
    dates as `dated.months` says; the place is a further token where `inputs.time_location` allows
    it and the location is known (the authors leave it out where it isn't). In training a block's
    inner values are computed again on the way back, or a chip would take gigabytes. The card's
    options are `dim`, `depth` and `heads`.
    """

    time_codes: Tensor
    season_codes: Tensor
    shift: Tensor
    divisor: Tensor
    place: Tensor | None

    def __init__(self, card: Card, inputs: Inputs) -> None:
        """Weights are drawn from torch's generator. Raises ValueError as `DatedBands` does."""
        super().__init__(card, inputs)
        dim, depth, heads = (int(card.options[name]) for name in ("dim", "depth", "heads"))
        self.dims, self.strides, self.patch = (dim,) * depth, (1,) * depth, 1
        self.bands = DatedBands(card, inputs)
        self.embed = nn.ModuleDict(
            {group: nn.Linear(len(self.bands.groups[group]), dim) for group in self.bands.frames}
        )
        self.group_codes = nn.Parameter(torch.randn(len(GROUPS), dim // 4) * 0.02)
        self.location = nn.Linear(3, dim)
        self.blocks = nn.ModuleList(
            Block(dim, heads, qkv_bias=True, norm_layer=functools.partial(nn.LayerNorm, eps=1e-5))
            for _ in range(depth)
        )
        self.norm = nn.LayerNorm(dim)
        self.register_buffer("season_codes", month_codes(months(inputs), dim // 4), False)
        self.register_buffer("time_codes", step_codes(self.bands.dates, dim // 2), False)
        told = inputs.time_location and inputs.location is not None
        place = on_sphere(inputs.location) if told and inputs.location else None
        self.register_buffer("place", place, persistent=False)
        scales = [_scale(band.group) for band in card.bands]
        for name, column in (("shift", 0), ("divisor", 1)):
            figures = torch.tensor([scale[column] for scale in scales])[:, None, None]
            self.register_buffer(name, figures, persistent=False)

    def forward(self, image: Tensor, depths: Sequence[int]) -> list[Tensor]:
        """Feature maps [B, dim, H, W]; see `Backbone.forward`."""
        self.check(image, depths)
        values = (self.bands(image) + self.shift) / self.divisor
        # [B, dates, bands, H, W] -> [pixels, dates, bands]
        pixels = values.permute(0, 3, 4, 1, 2).flatten(0, 2)
        tokens = sum(map(len, self.bands.frames.values())) + (self.place is not None)
        contexts = functools.partial(again, image.device)
        parts = []
        for part in pixels.split(max(PART // tokens, 1)):
            if torch.is_grad_enabled():
                found = checkpoint(
                    self._series, part, tuple(depths), use_reentrant=False, context_fn=contexts
                )
            else:
                found = self._series(part, tuple(depths))
            parts.append(found)
        whole = torch.cat(parts, 1).unflatten(1, (len(image), *image.shape[-2:]))
        return list(whole.permute(0, 1, 4, 2, 3))

    def _series(self, pixels: Tensor, depths: tuple[int, ...]) -> Tensor:
        """Features [depths, N, dim] of pixels [N, dates, bands]."""
        tokens = self.tokens(pixels)
        found: dict[int, Tensor] = {}
        for number, block in enumerate(self.blocks[: max(depths)], start=1):
            tokens = block(tokens)
            if number in depths:
                mean = tokens.mean(1)
                found[number] = self.norm(mean) if number == self.depth else mean
        return torch.stack([found[depth] for depth in depths])

    def tokens(self, pixels: Tensor) -> Tensor:
        """Tokens with their codes [N, tokens, dim] of scaled pixels [N, dates, bands]."""
        found = []
        if self.place is not None:
            found.append(self.location(self.place).expand(len(pixels), 1, -1))
        for group, frames in self.bands.frames.items():
            own = self.group_codes[GROUPS.index(group)].expand(len(frames), -1)
            code = torch.cat([self.season_codes[frames], own, self.time_codes[frames]], 1)
            part = pixels[:, frames][:, :, self.bands.groups[group]]
            found.append(self.embed[group](part) + code)
        return torch.cat(found, 1)

    @classmethod
    def convert(cls, card: Card, published: Mapping[str, Tensor]) -> Converted:
        """The authors' default_model.pt: the encoder without weather, terrain and land cover.

        Raises ValueError where it is another model's.
        """
        tensors, left = {}, []
        for name, tensor in published.items():
            if not name.startswith("encoder."):
                left.append(name)
                continue
            new = name.removeprefix("encoder.").replace("eo_patch_embed.", "embed.")
            new = new.replace("latlon_embed.", "location.")
            tensors["group_codes" if new == "channel_embed.weight" else new] = tensor
        depth = int(card.options["depth"])
        if f"blocks.{depth}.norm1.weight" in tensors:
            raise ValueError(f"not the weights of {card.title}: it has more than {depth} blocks")
        return checked(cls, card, tensors, left)

    def select(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Without the groups that the image lacks."""
        absent = tuple(f"embed.{group}." for group in GROUPS if group not in self.embed)
        return {name: value for name, value in tensors.items() if not name.startswith(absent)}


def step_codes(count: int, dim: int) -> Tensor:
    """Codes [count, dim] of the first dates: sine and cosine in turn, up to 1000 * 2 pi steps."""
    rates = 1000.0 ** (-2 * torch.arange(dim // 2) / dim)
    angles = torch.arange(count)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], 2).flatten(1)


def _scale(group: str) -> tuple[float, float]:
    if group == "S1":
        return RADAR
    return PLAIN if group == "NDVI" else REFLECTANCE
