"""Vision transformers whose patch kernels a hypernetwork makes from the bands' wavelengths.

The idea is DOFA's (Xiong et al. 2024, arXiv 2403.15356); Clay took it over. So any set of bands
goes in, and no slice of a kernel has to be cut or borrowed.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..precise import float32_on_cpu
from .base import Backbone
from .card import Card
from .inputs import Inputs

HEADS = 4


@dataclass(frozen=True)
class Flavour:
    """Where the published models' hypernetworks differ.

    `activation` is that of the layer on the codes; kernels and bias are multiplied by `scale` and
    `bias_scale`; a kernel's numbers run over rows, columns, channels (`channels_last`), or over
    channels, rows, columns; `padding` is that of the patches' convolution.
    """

    activation: Callable[[Tensor], Tensor]
    scale: float
    bias_scale: float
    channels_last: bool
    padding: int


class WavePatches(nn.Module):
    """Patches of any bands, with kernels made from codes of the bands' wavelengths.

    The codes, some learnt tokens and one for the bias see each other in one layer of a
    transformer; what comes out for a band becomes its kernel. `card.options` has its sizes:
    wave_dim, wave_tokens, wave_hidden; and dim, that of the patches.
    """

    codes: Tensor

    def __init__(self, card: Card, codes: Tensor, flavour: Flavour) -> None:
        """`codes` are [C, wave_dim]. Weights are drawn from torch's generator."""
        super().__init__()
        count, hidden = (int(card.options[name]) for name in ("wave_tokens", "wave_hidden"))
        self.dim, self.patch, self.flavour = int(card.options["dim"]), card.patch, flavour
        code = codes.shape[1]
        self.register_buffer("codes", codes, persistent=False)
        self.fc1, self.fc2 = nn.Linear(code, code), nn.Linear(code, code)
        self.tokens = nn.Parameter(0.02 * torch.randn(count, code))
        self.bias_token = nn.Parameter(0.02 * torch.randn(1, code))
        self.layer = nn.TransformerEncoderLayer(code, HEADS, hidden, 0.0, "gelu")
        self.kernel = nn.Linear(code, self.dim * self.patch**2)
        self.bias = nn.Linear(code, self.dim)
        for module in (self.fc1, self.fc2, self.kernel, self.bias):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)

    def kernels(self) -> tuple[Tensor, Tensor]:
        """The kernel [dim, C, patch, patch] and the bias [dim] for the bands at hand."""
        act, size = self.flavour.activation, (self.patch, self.patch)
        codes = self.codes + act(self.fc2(act(self.fc1(self.codes))))
        made = self.layer(torch.cat([self.tokens, codes, self.bias_token]))
        numbers = self.kernel(made[len(self.tokens) : -1] + codes) * self.flavour.scale
        if self.flavour.channels_last:
            kernel = numbers.unflatten(1, (*size, self.dim)).permute(3, 0, 1, 2)
        else:
            kernel = numbers.unflatten(1, (self.dim, *size)).transpose(0, 1)
        return kernel, self.bias(made[-1]) * self.flavour.bias_scale

    def forward(self, image: Tensor) -> Tensor:
        """Patches [B, dim, H/patch, W/patch] of an image [B, C, H, W]."""
        with float32_on_cpu(image):
            kernel, bias = self.kernels()
            return F.conv2d(
                image,
                kernel.to(image.dtype),
                bias.to(image.dtype),
                stride=self.patch,
                padding=self.flavour.padding,
            )


class WaveTransformer(Backbone):
    """`WavePatches`, positions, and blocks over the patches and a class token.

    Subclasses give patches and blocks, and add the positions. The class token's output isn't used.
    """

    def __init__(
        self,
        card: Card,
        inputs: Inputs,
        embed: WavePatches,
        blocks: Sequence[nn.Module],
        eps: float,
    ) -> None:
        """Weights are drawn from torch's generator; `eps` is the final norm's."""
        super().__init__(card, inputs)
        self.patch = embed.patch
        self.dims, self.strides = (embed.dim,) * len(blocks), (embed.patch,) * len(blocks)
        self.embed = embed
        self.cls_token = nn.Parameter(0.02 * torch.randn(1, 1, embed.dim))
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(embed.dim, eps=eps)

    @abstractmethod
    def positions(self, rows: int, columns: int) -> tuple[Tensor | None, Tensor]:
        """What is added to the class token [1, 1, dim], and to patches [1, dim, rows, columns]."""

    def forward(self, image: Tensor, depths: Sequence[int]) -> list[Tensor]:
        """Feature maps [B, dim, H/patch, W/patch]; see `Backbone.forward`."""
        self.check(image, depths)
        maps = self.embed(image)
        rows, columns = maps.shape[-2:]
        first, grid = self.positions(rows, columns)
        patches = (maps + grid.to(maps)).flatten(2).transpose(1, 2)
        token = (self.cls_token if first is None else self.cls_token + first).to(patches)
        tokens = torch.cat([token.expand(len(image), -1, -1), patches], dim=1)
        found: dict[int, Tensor] = {}
        for number, block in enumerate(self.blocks[: max(depths)], start=1):
            tokens = block(tokens)
            if number in depths:
                output = self.norm(tokens) if number == self.depth else tokens
                found[number] = output[:, 1:].transpose(1, 2).unflatten(2, (rows, columns))
        return [found[depth] for depth in depths]


def micrometres(card: Card, inputs: Inputs) -> list[float]:
    """The wavelength in micrometres that stands for each band of the image.

    A band that is one of the card's has that one's wavelength. Radar has none that would tell its
    polarisations apart: the stand-ins that a model was trained with are in the card's option
    `stand_ins`, by the bands' names.

    Raises ValueError for a band that is none of the card's and has no wavelength.
    """
    stand_ins: Mapping[str, float] = card.options.get("stand_ins", {})
    found: list[float] = []
    for place, length in enumerate(inputs.wavelengths):
        index = inputs.bands[place] if inputs.bands else None
        if index is not None:
            if not 0 <= index < len(card.bands):
                raise ValueError(f"band {index} of the card, which has {len(card.bands)}")
            band = card.bands[index]
            if band.name in stand_ins:
                found.append(float(stand_ins[band.name]))
                continue
            length = band.wavelength_nm if band.wavelength_nm is not None else length
        if length is None:
            known = " and ".join(sorted(stand_ins)) or "nothing"
            raise ValueError(
                f"band {place + 1} of the image has no wavelength, and {card.title} knows only "
                f"{known} without one; leave it out, or say which band it is"
            )
        found.append(length / 1000)
    return found


def renamed(name: str, rules: Sequence[tuple[str, str]]) -> str:
    """A published tensor's name with the first of `rules` (a start, and ours for it) that fits."""
    for start, ours in rules:
        if name.startswith(start):
            return ours + name[len(start) :]
    return name
