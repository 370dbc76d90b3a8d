"""What a step's chips are judged by."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ..devices import mixed_precision
from ..model.segmenter import Segmenter
from .scoring import IGNORE

SMOOTHING = 0.1


def restraint(segmenter: Segmenter, image: Tensor, logits: Tensor, target: Tensor) -> Tensor:
    """What keeps the surroundings from wild guesses where nobody labelled: there, they learn what
    the local branch says. Logits (B, K, H, W), target (B, H, W). The sum over the
    unlabelled pixels."""
    with torch.no_grad(), mixed_precision(image.device):
        opinion = segmenter.opinion(image).softmax(1)  # type: ignore[union-attr]
    loss = -(opinion * logits.log_softmax(1)).sum(1)
    return (loss * (target == IGNORE)).sum()


def weighted_loss(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """The sum of the labelled pixels' smoothed losses, each times its own class's weight.

    Logits (B, K, H, W), labels (B, H, W), weights [K]. Given weights, PyTorch's own smoothing
    counts each other class by that class's weight: a rare class would be taught to be a common one.
    """
    losses = F.cross_entropy(
        logits, labels, ignore_index=IGNORE, label_smoothing=SMOOTHING, reduction="none"
    )
    return (losses * weights[labels.clamp(min=0)]).sum()


def class_weights(
    drawn: dict[int, int], seen: dict[int, int], classes: int, balance: float
) -> Tensor:
    """Loss weights [K], with a mean of 1 over the pixels that training sees.

    Chips are aimed at all classes alike, so that rare ones are learnt; the weights then bring the
    classes' shares to (drawn pixels) ** (1 - balance). With 0 the network's probabilities keep
    the shares that the analyst drew (as a random forest's do), with 1 all classes count alike.
    ``drawn`` and ``seen`` are pixels by class, counted from 1.
    """
    wanted = torch.tensor([float(drawn.get(i + 1, 0)) for i in range(classes)]) ** (1 - balance)
    found = torch.tensor([float(seen.get(i + 1, 0)) for i in range(classes)])
    weights = torch.where(found > 0, wanted / found.clamp(min=1), torch.zeros(()))
    return weights * found.sum() / (weights * found).sum().clamp(min=1e-12)
