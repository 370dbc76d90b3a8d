"""Pre-trains the embedded backbone on generated scenes; see docs/pretraining.md.

python pretraining/pretrain.py --minutes 45
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

import numpy as np
import torch
from export import FOLDER, export, new_backbone
from objective import Objective, Weights, shares
from pool import Batch, batches, make_pool
from timm.layers import set_fused_attn
from torch import Tensor

WARM_UP = 0.05
LOG_EVERY = 20
SAVE_EVERY_S = 300


def main(arguments: Sequence[str] | None = None) -> int:
    """Generate the pool, train, write weights, card and log. Gives the exit status."""
    options = _options(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(options.threads)
    # On a CPU, plain attention over few tokens takes half the time of the fused kernel.
    set_fused_attn(False)
    started = time.monotonic()
    pool = make_pool(options.seed, options.groups, options.scenes, options.size, options.workers)
    print(f"{options.groups * options.scenes} scenes in {time.monotonic() - started:.0f} s")
    objective = Objective(new_backbone(options.seed), Weights(classes=options.class_weight))
    source = batches(np.random.default_rng([options.seed, 1]), pool)
    with options.log.open("w", encoding="utf-8") as log:
        state = train(objective, source, options, log)
    card = export(state, options.revision, options.out)
    print(f"{options.out / card.file}: sha256 {card.sha256}")
    return 0


def train(
    objective: Objective, source: Iterator[Batch], options: argparse.Namespace, log: TextIO
) -> dict[str, Tensor]:
    """Train until the time or the steps are spent; give the averaged state of the backbone."""
    rng = np.random.default_rng([options.seed, 2])
    optimiser = torch.optim.AdamW(_groups(objective), lr=options.rate, betas=(0.9, 0.95))
    average = {k: v.detach().clone() for k, v in objective.backbone.state_dict().items()}
    started = saved = time.monotonic()
    step, sums = 0, dict.fromkeys(("hidden", "seen", "classes", "total"), 0.0)
    while (progress := _progress(step, time.monotonic() - started, options)) < 1:
        for group in optimiser.param_groups:
            group["lr"] = options.rate * _schedule(progress)
        corner = (int(rng.integers(0, 64)), int(rng.integers(0, 64)))
        with torch.autocast("cpu", torch.bfloat16, enabled=options.bfloat16):
            losses = objective(next(source), shares(rng), corner)
        optimiser.zero_grad()
        losses["total"].backward()
        torch.nn.utils.clip_grad_norm_(objective.parameters(), 1.0)
        optimiser.step()
        step += 1
        _follow(average, objective.backbone.state_dict(), min(0.998, step / (step + 10)))
        sums = {name: sums[name] + losses[name].item() for name in sums}
        if step % LOG_EVERY == 0:
            means = {name: round(value / LOG_EVERY, 4) for name, value in sums.items()}
            seconds = round(time.monotonic() - started, 1)
            line = {"step": step, "seconds": seconds, "rate": group["lr"], **means}
            print(json.dumps(line), file=log, flush=True)
            sums = dict.fromkeys(sums, 0.0)
        if time.monotonic() - saved > SAVE_EVERY_S:
            export(average, options.revision + ", unfinished", options.out)
            saved = time.monotonic()
    return average


def _groups(objective: Objective) -> list[dict[str, object]]:
    """Parameters with and without weight decay."""
    decayed = [p for p in objective.parameters() if p.ndim > 1]
    others = [p for p in objective.parameters() if p.ndim <= 1]
    return [{"params": decayed, "weight_decay": 0.05}, {"params": others, "weight_decay": 0.0}]


def _progress(step: int, seconds: float, options: argparse.Namespace) -> float:
    """How much of the run is done, 0 to 1: by steps where they are given, else by time."""
    if options.steps:
        return step / int(options.steps)
    return seconds / (60 * float(options.minutes))


def _schedule(progress: float) -> float:
    """Linear warm-up, then a cosine to 1 %."""
    if progress < WARM_UP:
        return max(progress / WARM_UP, 0.01)
    done = (progress - WARM_UP) / (1 - WARM_UP)
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done))


def _follow(average: dict[str, Tensor], state: dict[str, Tensor], inertia: float) -> None:
    """Move the averaged weights towards the present ones, in place."""
    for name, value in average.items():
        value.lerp_(state[name], 1 - inertia)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--minutes", type=float, default=45, help="of training, pool not counted")
    parser.add_argument("--steps", type=int, help="instead of --minutes: the same on any machine")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--groups", type=int, default=36, help="sets of bands in the pool")
    parser.add_argument("--scenes", type=int, default=90, help="scenes a set")
    parser.add_argument("--size", type=int, default=192, help="pixels of a scene's side")
    parser.add_argument("--rate", type=float, default=8e-4)
    parser.add_argument("--class-weight", type=float, default=1.0)
    parser.add_argument("--workers", type=int, default=2, help="processes that make scenes")
    parser.add_argument(
        "--threads", type=int, default=2, help="1 is faster where other work shares the cores"
    )
    parser.add_argument("--bfloat16", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--revision", default="1")
    parser.add_argument("--out", type=Path, default=FOLDER)
    parser.add_argument("--log", type=Path, default=Path(__file__).with_name("log.jsonl"))
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
