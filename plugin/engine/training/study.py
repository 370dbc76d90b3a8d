"""How the local branch learns what its teachers say of the landscape."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..model.decoders.local import SIDES, LocalBranch
from .augment import BAND, GAIN, NOISE
from .average import Average, put
from .schedule import schedule

STEPS = 400
# Pixels in a step.
PIXELS = 512
RATE, WEIGHT_DECAY, WARM_UP = 1e-2, 0.01, 0.05
# The labels are for pixels as they are; a little jitter keeps a forest's steps from being learnt.
JITTER = 1 / 3


def study(
    branch: LocalBranch,
    values: Tensor,
    chances: Tensor,
    seed: int,
    jitter: float,
    step: Callable[[], None],
) -> None:
    """Fit the branch to features [N, F] and class probabilities [N, K]; ``step`` is called often.

    Of a branch that looks at tokens, they are the last of the features. ``jitter`` is the strength
    of the changes of light (augment.py).
    """
    device = next(branch.parameters()).device
    generator = torch.Generator().manual_seed(seed)
    values = branch.with_opinions(values)
    branch.look_at(values)

    def loss() -> Tensor:
        picked = torch.randint(len(values), (PIXELS,), generator=generator)
        changed = feature_jitter(values[picked], branch.local, generator, jitter * JITTER)
        # One image of a single column: one product of matrices, faster than many images.
        logits = branch.judge(changed.T[None, :, :, None].to(device))[0, :, :, 0].T
        return F.cross_entropy(logits, chances[picked].to(device))

    fit(branch, loss, STEPS, RATE, WARM_UP, WEIGHT_DECAY, step)


def fit(
    module: nn.Module,
    loss: Callable[[], Tensor],
    steps: int,
    rate: float,
    warm_up: float,
    weight_decay: float,
    step: Callable[[], None],
) -> None:
    """Train a small module by itself and leave its averaged weights in it.

    ``loss`` draws a batch and judges it; ``step`` is called before each.
    """
    optimizer = torch.optim.AdamW(module.parameters(), weight_decay=weight_decay)
    average = Average(module)
    for number in range(steps):
        step()
        for group in optimizer.param_groups:
            group["lr"] = rate * schedule(number / steps, warm_up)
        optimizer.zero_grad(set_to_none=True)
        loss().backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
        average.update(module)
    put(module, average.values)


def feature_jitter(
    values: Tensor, local: int, generator: torch.Generator, strength: float
) -> Tensor:
    """What changes of light (augment.spectral_jitter) would make of pixels' features (N, F).

    What follows the ``local`` ones stays as it is.
    """
    groups = 1 + 2 * len(SIDES)
    values, rest = values[:, :local], values[:, local:]
    parts = list(values.reshape(len(values), groups, -1).unbind(1))
    pixels, bands = parts[0].shape

    def normal(width: int) -> Tensor:
        return torch.randn(pixels, width, generator=generator) * strength

    gain = 1 + GAIN * normal(1) + BAND * normal(bands)
    offset = GAIN * normal(1) + BAND * normal(bands)
    noise = NOISE * normal(bands)
    changed = [parts[0] * gain + offset + noise]
    for mean, spread in zip(parts[1::2], parts[2::2], strict=True):
        changed += [mean * gain + offset, spread * gain.abs()]
    return torch.cat([*changed, rest], 1)
