"""The pre-training's results as a table, with paired differences and 95 % intervals."""

from __future__ import annotations

import math
from collections import defaultdict

import numpy as np
from harness import read_results

# Student's t for a two-sided 95 % interval, by degrees of freedom.
T95 = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}


def paired(first: dict[int, float], second: dict[int, float]) -> str:
    """Mean and 95 % interval of second - first over the seeds that both have."""
    seeds = sorted(set(first) & set(second))
    differences = np.array([second[seed] - first[seed] for seed in seeds])
    if len(differences) < 2:
        return "too few seeds"
    half = T95[len(differences) - 1] * differences.std(ddof=1) / math.sqrt(len(differences))
    mean = differences.mean()
    return f"{mean:+.3f} ({mean - half:+.3f} to {mean + half:+.3f})"


def table(bench: str, pairs: list[tuple[str, str]]) -> str:
    """One row a scene and pair of setups: both means with their spread, and the difference."""
    rows = read_results(bench)
    scores: dict[str, dict[str, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
    for row in rows:
        scores[row["scene"]][row["setup"]][row["seed"]] = row["macro_f1"]
    lines = [
        "| scene | first | macro-F1 | second | macro-F1 | second - first (95 % interval) | seeds |",
        "|---|---|---|---|---|---|---|",
    ]
    for scene, setups in scores.items():
        for first, second in pairs:
            if setups[first] and setups[second]:
                lines.append(
                    f"| {scene} | {first} | {_figure(setups[first])} | {second} | "
                    f"{_figure(setups[second])} | {paired(setups[first], setups[second])} | "
                    f"{len(set(setups[first]) & set(setups[second]))} |"
                )
    commits = sorted({row["commit"] for row in rows})
    return "\n".join([*lines, "", f"Commits: {', '.join(commits)}"])


def _figure(values: dict[int, float]) -> str:
    figures = np.array(list(values.values()))
    spread = f" ± {figures.std(ddof=1):.3f}" if len(figures) > 1 else ""
    return f"{figures.mean():.3f}{spread}"


def main() -> None:
    """Print the table."""
    print(
        table(
            "pretraining",
            [("linear, random", "linear, pre-trained"), ("slim, random", "slim, pre-trained")],
        )
    )


if __name__ == "__main__":
    main()
