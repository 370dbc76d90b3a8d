"""Where the linear decoder begins: at the logistic regression on the backbone's features."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from ..devices import mixed_precision
from ..model.decoders.linear import LinearDecoder
from ..model.segmenter import Segmenter
from .aim import Aim
from .augment import spectral_jitter
from .scoring import Settings, tensors

CHIPS = 64
# Pixels of a chip that are looked at: its tokens are alike.
PIXELS = 128
# The most of a run's time that reading the backbone's features may take.
SHARE = 0.2
# What is fitted on few pixels must not be fitted to the strongest changes of light.
JITTER = 1 / 3
# The inverse of scikit-learn's penalty: tokens of one polygon are nearly one sample.
PENALTY = 0.01
# How much slower a decoder that begins near its best learns then.
CALM = 0.1
# The logit's offset of a class that no chip had.
UNSEEN = -4.0


def begin(
    segmenter: Segmenter,
    decoder: LinearDecoder,
    aim: Aim,
    weights: Tensor,
    settings: Settings,
    step: Callable[[], None] = lambda: None,
) -> None:
    """Set the decoder's weights to those of a logistic regression, changing them in place.

    It sees the tokens of labelled pixels in up to `CHIPS` drawn chips; ``weights`` [K] are the
    classes'. By gradients alone, a large backbone's few steps in a short run would leave a linear
    decoder near its random start; and an adapter learns best from a decoder that fits already
    (Kumar et al. 2022, "Fine-Tuning can Distort Pretrained Features", arXiv 2202.10054).
    """
    tokens, classes = _gather(segmenter, aim, settings, step)
    if len(np.unique(classes)) < 2:
        return
    scaler = StandardScaler()
    model = LogisticRegression(C=PENALTY, max_iter=300)
    model.fit(scaler.fit_transform(tokens), classes, weights.cpu().numpy()[classes])
    coefficients, offsets = model.coef_, model.intercept_
    if len(coefficients) == 1:  # of two classes, those of the second alone
        coefficients = np.concatenate([-coefficients, coefficients]) / 2
        offsets = np.concatenate([-offsets, offsets]) / 2
    coefficients = coefficients / scaler.scale_
    offsets = offsets - coefficients @ scaler.mean_
    head = decoder.head
    with torch.no_grad():
        head.weight.zero_()
        bias = torch.full(head.weight.shape[1:2], UNSEEN)
        for row, index in enumerate(model.classes_):
            head.weight[:, index] = torch.from_numpy(coefficients[row])[:, None, None]
            bias[index] = float(offsets[row])
        head.bias.copy_(bias)  # type: ignore[union-attr]


def _gather(
    segmenter: Segmenter, aim: Aim, settings: Settings, step: Callable[[], None]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The last feature map's tokens [N, dim] of labelled pixels, with their classes [N]."""
    rng = np.random.default_rng(settings.seed)
    generator = torch.Generator().manual_seed(settings.seed)
    device = next(segmenter.parameters()).device
    segmenter.eval()
    found: list[NDArray[np.float32]] = []
    known: list[NDArray[np.int64]] = []
    started = time.monotonic()
    for _ in range(CHIPS):
        spent = time.monotonic() - started
        if found and settings.seconds is not None and spent > SHARE * settings.seconds:
            break
        step()
        image, target = tensors([aim.draw(rng)], device)
        image = spectral_jitter(image, generator, settings.jitter * JITTER)
        with torch.no_grad(), mixed_precision(device):
            tokens = segmenter.features(image)[-1][0].float().cpu().numpy()
        classes = target[0].cpu().numpy()
        rows, columns = np.nonzero(classes >= 0)
        picked = rng.permutation(len(rows))[:PIXELS]
        rows, columns = rows[picked], columns[picked]
        down = rows * tokens.shape[1] // classes.shape[0]
        across = columns * tokens.shape[2] // classes.shape[1]
        found.append(tokens[:, down, across].T)
        known.append(classes[rows, columns])
    return np.concatenate(found), np.concatenate(known)
