"""What a linear discriminant makes of features, as a layer of the network."""

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
# Less than any range of a feature in half precision.
TINY = 1e-9


class Rule(NamedTuple):
    """A linear discriminant: its features' lowest and highest values [dim], and for the ``classes``
    [k] that it knows their weights [k, dim] and offsets [k] before a softmax."""

    low: NDArray[np.float64]
    high: NDArray[np.float64]
    weight: NDArray[np.float64]
    bias: NDArray[np.float64]
    classes: NDArray[np.int64]


class LinearOpinion(nn.Module):
    """Class probabilities of features by a linear discriminant that was fitted elsewhere.

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

    def forward(self, maps: Tensor, image: Tensor) -> Tensor:
        """maps (B, dim, h, w), image (B, bands, H, W). Returns probabilities (B, classes, H, W).

        Bilinearly from the maps' to the image's pixels, after the linear layer: there are fewer
        classes than features.
        """
        low, high = self.low.view(1, -1, 1, 1), self.high.view(1, -1, 1, 1)
        middle, reach = (low + high) / 2, (high - low) / 2
        held = (maps.clamp(low, high) - middle) / reach.clamp(min=TINY)
        logits = F.conv2d(held, self.weight[:, :, None, None], self.bias)
        return resize_to(logits, image).softmax(1)

    def take(self, rule: Rule) -> None:
        """Be that discriminant; softer than it where few pixels made it absurdly sharp."""
        # In half precision, as the file holds them, so that the score is that of the file. Weights
        # are of features from -1 to 1, so that none is too large or too small for that.
        self.low.copy_(torch.from_numpy(rule.low).half())
        self.high.copy_(torch.from_numpy(rule.high).half())
        # On the CPU first: Apple's GPUs know no double precision.
        low, high = (bound.cpu().double().numpy() for bound in (self.low, self.high))
        weight = rule.weight * (high - low) / 2
        bias = rule.bias + rule.weight @ ((low + high) / 2)
        largest = max(np.abs(weight).max(), np.abs(bias).max() / LARGEST)
        factor = min(1.0, SHARPEST / max(largest, 1e-12))
        self.weight.zero_()
        self.bias.fill_(UNSEEN)
        self.weight[rule.classes] = torch.from_numpy(factor * weight).half().to(self.weight)
        self.bias[rule.classes] = torch.from_numpy(factor * bias).half().to(self.bias)
