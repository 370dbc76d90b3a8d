"""Baselines and methods, one minute each: does a backbone pay, and which method?

Every scene's first round; the embedded backbone on all of them, Galileo-nano (its published weights
from ../shared) where its bands fit. Results go to benchmarks/results/methods.jsonl; a run that was
stopped goes on where it was. `--table` prints the table of docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator

import numpy as np
from galileo import add_galileo, fits  # first: it gives the run weights of its own
from harness import Setup, read_results, run_all
from scenes import Scene, all_scenes
from tables import table as paired_table

BASELINES = ("forest", "forest-neighbourhood", "unet", "alone")
METHODS = ("probe", "frozen", "lora", "vpt", "vit-adapter", "full")
BACKBONES = ("embedded", "galileo-nano")
PAIR = ("galileo-nano, probe", "galileo-nano, lora")
PAIRS = "Paired by seed:\n\n{}"


def main() -> None:
    """Run what is missing, or print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--scenes", default="", help="a part of the name; default: all")
    parser.add_argument("--setups", default="", help="a part of the name; default: all")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    if options.table:
        print(table(options.minutes), PAIRS.format(paired_table("methods", [PAIR])), sep="\n\n")
        return
    add_galileo()
    for scene in all_scenes():
        if options.scenes in scene.name:
            del scene.rounds[1:]
            every = setups_of(scene, options.minutes)
            setups = [setup for setup in every if options.setups in setup.name]
            run_all("methods", [scene], setups, list(range(options.seeds)), options.jobs)


def setups_of(scene: Scene, minutes: float) -> Iterator[Setup]:
    """The baselines, and each method on each backbone that takes the scene's bands."""
    for name in BASELINES:
        yield Setup(name, options={"method": name, "minutes": minutes})
    for backbone in BACKBONES:
        if fits(scene.image, backbone):
            # The ViT-Adapter wants one token for each patch; Galileo has several.
            left_out = {"vit-adapter"} if backbone == "galileo-nano" else set()
            for method in (name for name in METHODS if name not in left_out):
                options = {"method": method, "backbone": backbone, "minutes": minutes}
                yield Setup(f"{backbone}, {method}", options=options)


def table(minutes: float) -> str:
    """Macro-F1 by setup and scene after so many minutes: mean and deviation over the seeds."""
    scores: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    rows = [row for row in read_results("methods") if row["options"]["minutes"] == minutes]
    for row in rows:
        scores[row["setup"]][row["scene"]].append(row["macro_f1"])
    scenes = sorted({row["scene"] for row in rows})
    lines = ["| setup | " + " | ".join(scenes) + " |", "|---" * (len(scenes) + 1) + "|"]
    order = [*BASELINES, *(f"{b}, {m}" for b in BACKBONES for m in METHODS)]
    for setup in order:
        cells = [figure(scores[setup][scene]) for scene in scenes]
        lines.append(f"| {setup} | " + " | ".join(cells) + " |")
    commits = sorted({row["commit"] for row in rows})
    return "\n".join([*lines, "", f"Commits: {', '.join(commits)}"])


def figure(values: list[float]) -> str:
    """Such as 0.812 ± 0.004 (3): mean, deviation and number of the seeds."""
    if not values:
        return "–"
    spread = f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
    return f"{np.mean(values):.3f}{spread} ({len(values)})"


if __name__ == "__main__":
    main()
