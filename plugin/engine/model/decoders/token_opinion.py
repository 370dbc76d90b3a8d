"""What a linear discriminant makes of the backbone's tokens."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from ..layers import resize_to

# The logit's offset of a class that no labelled pixel had.
UNSEEN = -1000.0
# Weights beyond this tell nothing more, and offsets so many times as large.
SHARPEST, LARGEST = 100.0, 20.0


class Rule(NamedTuple):
    """A linear discriminant: its features' lowest and highest values [dim], and for the ``classes``
    [k] that it knows their weights [k, dim] and offsets [k] before a softmax."""

    low: NDArray[np.float64]
    high: NDArray[np.float64]
    weight: NDArray[np.float64]
    bias: NDArray[np.float64]
    classes: NDArray[np.int64]


class TokenOpinion(nn.Module):
    """Class probabilities of tokens by a linear discriminant that was fitted elsewhere.

    Each feature is held within what it had where the discriminant learnt
    (training/discriminant.py): far outside of that it would be the surer the less it knows.
    """

    low: Tensor
    high: Tensor
    weight: Tensor
    bias: Tensor

    def __init__(self, dim: int, classes: int) -> None:
        """Knows nothing yet: all classes alike."""
        super().__init__()
        for name, shape in (("low", (dim,)), ("high", (dim,)), ("weight", (classes, dim)),
                            ("bias", (classes,))):  # fmt: skip
            self.register_buffer(name, torch.zeros(shape))

    def forward(self, tokens: Tensor, image: Tensor) -> Tensor:
        """tokens (B, dim, h, w), image (B, bands, H, W). Returns probabilities (B, classes, H, W).

        Bilinearly from the tokens' to the image's pixels, after the linear layer: there are fewer
        classes than features.
        """
        low, high = self.low.view(1, -1, 1, 1), self.high.view(1, -1, 1, 1)
        held = tokens.clamp(low, high) - (low + high) / 2
        logits = F.conv2d(held, self.weight[:, :, None, None], self.bias)
        return resize_to(logits, image).softmax(1)

    def take(self, rule: Rule) -> None:
        """Be that discriminant; softer than it where few pixels made it absurdly sharp."""
        # In half precision, as the file holds them, so that the score is that of the file; hence
        # the middle is taken off, and nothing may be so large that it would be coarse.
        self.low.copy_(torch.from_numpy(rule.low).half())
        self.high.copy_(torch.from_numpy(rule.high).half())
        # On the CPU first: Apple's GPUs know no double precision.
        middle = ((self.low + self.high) / 2).cpu().double().numpy()
        bias = rule.bias + rule.weight @ middle
        largest = max(np.abs(rule.weight).max(), np.abs(bias).max() / LARGEST)
        factor = min(1.0, SHARPEST / max(largest, 1e-12))
        self.weight.zero_()
        self.bias.fill_(UNSEEN)
        self.weight[rule.classes] = torch.from_numpy(factor * rule.weight).half().to(self.weight)
        self.bias[rule.classes] = torch.from_numpy(factor * bias).half().to(self.bias)
