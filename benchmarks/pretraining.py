"""Is the embedded backbone's pre-training worth having?

LoRA on it against LoRA on the same network with random weights, with a decoder that sees only the
tokens (linear) and with the full one; paired over seeds.
"""

from __future__ import annotations

import argparse

from harness import Setup, run_all
from scenes import all_scenes


def main() -> None:
    """Run what is missing of five seeds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--scenes", default="", help="a part of the name; default: all")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    scenes = [scene for scene in all_scenes() if options.scenes in scene.name]
    for scene in scenes:
        del scene.rounds[1:]  # one round a scene: the seeds already repeat it
    setups = [
        Setup(
            f"{decoder}, {'random' if random else 'pre-trained'}",
            options={
                "decoder": decoder,
                "image_branch": decoder != "linear",
                "random_backbone": random,
                "epochs": options.epochs,
            },
        )
        for decoder in ("linear", "slim")
        for random in (False, True)
    ]
    run_all("pretraining", scenes, setups, list(range(options.seeds)), options.jobs)


if __name__ == "__main__":
    main()
