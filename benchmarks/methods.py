"""Baselines and methods, one minute each: does a backbone pay, and which method?

Every scene's first round; the embedded backbone on all of them, Galileo-nano (its published weights
from ../shared) where its bands fit. Results go to benchmarks/results/methods.jsonl; a run that was
stopped goes on where it was. `--table` prints the table of docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections import defaultdict
from collections.abc import Iterator

import numpy as np

# Before the engine looks: weights are added to a folder of this run's own.
HOME = tempfile.mkdtemp(prefix="tilth-bench-")
os.environ.setdefault("TILTH_HOME", HOME)

from harness import Setup, read_results, run_all  # noqa: E402
from scenes import ROOT, Scene, all_scenes  # noqa: E402
from tilth_engine.backbones import catalogue, store  # noqa: E402
from tilth_engine.backbones.matching import match_bands  # noqa: E402
from tilth_engine.data.imagery import Image  # noqa: E402
from tilth_engine.data.usual import usual_bands  # noqa: E402
from tilth_engine.errors import TilthError  # noqa: E402
from tilth_engine.events import silent  # noqa: E402
from tilth_engine.weight_jobs import AddJob  # noqa: E402
from tilth_engine.weights import add_weights  # noqa: E402

GALILEO = ROOT.parent / "shared" / "data" / "weights" / "galileo_nano" / "encoder.pt"
BASELINES = ("forest", "forest-neighbourhood", "unet", "alone")
METHODS = ("probe", "frozen", "lora", "vpt", "vit-adapter", "full")
BACKBONES = ("embedded", "galileo-nano")


def main() -> None:
    """Run what is missing, or print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--scenes", default="", help="a part of the name; default: all")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    if options.table:
        print(table())
        return
    if not store.present(catalogue.card_of("galileo-nano")):
        add_weights(AddJob("galileo-nano", str(GALILEO)), silent())
    for scene in all_scenes():
        if options.scenes in scene.name:
            del scene.rounds[1:]
            setups = list(setups_of(scene, options.minutes))
            run_all("methods", [scene], setups, list(range(options.seeds)), options.jobs)


def setups_of(scene: Scene, minutes: float) -> Iterator[Setup]:
    """The baselines, and each method on each backbone that takes the scene's bands."""
    for name in BASELINES:
        yield Setup(name, options={"method": name, "minutes": minutes})
    for backbone in BACKBONES:
        if fits(scene, backbone):
            for method in METHODS:
                options = {"method": method, "backbone": backbone, "minutes": minutes}
                yield Setup(f"{backbone}, {method}", options=options)


def fits(scene: Scene, backbone: str) -> bool:
    """Whether a backbone takes the scene's image."""
    with Image.open([scene.image]) as image:
        try:
            match_bands(catalogue.card_of(backbone), usual_bands(image)[0])
        except TilthError:
            return False
    return True


def table() -> str:
    """Macro-F1 by setup and scene: mean and standard deviation over the seeds."""
    scores: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    rows = read_results("methods")
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
