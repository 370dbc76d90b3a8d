"""Learning curves: Tilth and classic methods on 1, 3, 10 and 30 polygons a class.

    .venv/bin/python benchmarks/accuracy.py [--quick]       run what is missing
    .venv/bin/python benchmarks/accuracy.py [--quick] --table [--of SETUP]
    .venv/bin/python benchmarks/accuracy.py [--quick] --plot FILE.svg

Every scene is split by polygon and by region (benchmarks/splits); results go line by line to
benchmarks/results/accuracy.jsonl, and a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import json
import multiprocessing
import os
import signal
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

# Before NumPy, PyTorch and scikit-learn start their threads: a run takes one core.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

from curves import report  # noqa: E402
from curves_plot import plot  # noqa: E402
from galileo import add_galileo, fits  # noqa: E402
from harness import RESULTS, read_results  # noqa: E402
from runs import NAMES, SETUPS, Run, do, key_of  # noqa: E402
from splits import KINDS, SEEDS, SIZES, Split, read_splits, sizes_of  # noqa: E402
from subjects import Subject, all_subjects  # noqa: E402

FULL = {"seeds": SEEDS, "sizes": "1,3,10,30", "epochs": 8}
QUICK = {"seeds": 2, "sizes": "1,3,10", "epochs": 2}
# Seeds of generated scenes in a quick run, which else would not end within 90 minutes.
QUICK_GENERATED = 1
USUAL = (*NAMES, "tilth", "alone", "random-backbone")
# Seconds of a core where none are recorded: classic ones, and Tilth's start and epoch.
CLASSIC_SECONDS, START_SECONDS, EPOCH_SECONDS = 8.0, 14.0, 5.0

Work = tuple[Run, Subject, Split]


def main() -> None:
    """Run what is missing, or show what is there."""
    options = _options()
    rows = [row for row in read_results("accuracy") if _shown(row, options)]
    if options.table:
        print(report(rows, options.of))
    if options.plot:
        Path(options.plot).write_text(plot(rows), encoding="utf-8")
    if options.table or options.plot:
        return
    with tempfile.TemporaryDirectory(prefix="tilth-scenes-") as folder:
        subjects = list(all_subjects(Path(folder), options.scenes))
        work = _missing(subjects, options)
        print(_estimate(work, options.jobs), flush=True)
        if not options.dry:
            _run(work, options.jobs)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help=f"defaults are {QUICK}, not {FULL}")
    parser.add_argument("--scenes", default="", help="parts of names, by commas; default: all")
    parser.add_argument("--setups", default=",".join(USUAL),
                        help=f"by commas, of {', '.join((*NAMES, *SETUPS))}")  # fmt: skip
    parser.add_argument("--sizes", help="polygons a class, by commas")
    parser.add_argument("--splits", default=",".join(KINDS), help="by commas")
    parser.add_argument("--seeds", type=int)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--dry", action="store_true", help="only say how long it would take")
    parser.add_argument("--table", action="store_true", help="print the tables of the results")
    parser.add_argument("--of", metavar="SETUP", choices=SETUPS, default="tilth",
                        help="whose differences from the others the tables show")  # fmt: skip
    parser.add_argument("--plot", metavar="FILE.svg", help="draw the learning curves")
    options = parser.parse_args()
    for name, value in (QUICK if options.quick else FULL).items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    options.setups = options.setups.split(",")
    if options.table and options.of not in options.setups:
        options.setups.append(options.of)
    options.splits = options.splits.split(",")
    options.sizes = [int(size) for size in options.sizes.split(",")]
    for kind, known in (("setups", (*NAMES, *SETUPS)), ("splits", KINDS), ("sizes", SIZES)):
        strange = [str(value) for value in getattr(options, kind) if value not in known]
        if strange:
            parser.error(f"--{kind}: {', '.join(strange)} is none of {', '.join(map(str, known))}")
    if options.seeds > SEEDS:
        parser.error(f"--seeds: benchmarks/splits has {SEEDS}")
    return options


def _shown(row: dict[str, Any], options: argparse.Namespace) -> bool:
    """Whether a row belongs to the parts that were chosen."""
    return (
        row["options"].get("epochs", options.epochs) == options.epochs
        and any(part in row["scene"] for part in options.scenes.split(","))
        and row["setup"] in options.setups
        and row["split"] in options.splits
        and row["size"] in options.sizes
        and row["seed"] < options.seeds
    )


def _missing(subjects: list[Subject], options: argparse.Namespace) -> list[Work]:
    """What the results file lacks; seed by seed, so that a stopped run has whole seeds."""
    done = {key_of(row) for row in read_results("accuracy")}
    backbones = {SETUPS[name].get("backbone", "embedded") for name in options.setups
                 if name in SETUPS}  # fmt: skip
    if "galileo-nano" in backbones:
        add_galileo()
    taken = {(s.name, b) for s in subjects for b in backbones if fits(s.image, b)}
    splits = {subject.name: read_splits(subject) for subject in subjects}
    work = []
    for seed in range(options.seeds):
        for subject in subjects:
            if seed >= _seeds_of(subject.name, options):
                continue
            for kind in options.splits:
                split = splits[subject.name][kind][seed]
                for size in sorted(set(sizes_of(subject, split)) & set(options.sizes)):
                    for setup in options.setups:
                        run = Run(subject.name, kind, size, setup, seed, options.epochs)
                        backbone = run.options.get("backbone", "embedded")
                        possible = setup in NAMES or (subject.name, backbone) in taken
                        if possible and run.key not in done:
                            work.append((run, subject, split))
    return work


def _seeds_of(scene: str, options: argparse.Namespace) -> int:
    """How many seeds a scene is run with."""
    few = options.quick and scene.startswith("generated")
    return min(options.seeds, QUICK_GENERATED) if few else int(options.seeds)


def _estimate(work: list[Work], jobs: int) -> str:
    """Says how long the work takes on free cores: by earlier runs alike, else by rule of thumb."""
    seen: dict[Any, list[float]] = defaultdict(list)
    for row in read_results("accuracy"):
        seen[row["scene"], row["setup"], row["options"].get("epochs")].append(row["cpu_seconds"])
    total, longest = 0.0, 0.0
    for run, _, _ in work:
        epochs = run.options.get("epochs")
        times = seen.get((run.scene, run.setup, epochs), [])
        guess = CLASSIC_SECONDS if epochs is None else START_SECONDS + EPOCH_SECONDS * epochs
        seconds = sum(times) / len(times) if times else guess
        total, longest = total + seconds, max(longest, seconds)
    return (
        f"{len(work)} runs of at most {longest:.0f} s of a core: "
        f"about {total / jobs / 60:.0f} minutes with {jobs} jobs"
    )


def _run(work: list[Work], jobs: int) -> None:
    """Run it, ``jobs`` at a time; every row is kept as its run ends."""
    RESULTS.mkdir(exist_ok=True)
    # Being ended is like being interrupted: no worker stays behind with the rest of the work.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    # New processes, since PyTorch's threads do not survive a fork.
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(jobs, mp_context=context) as pool:
        running = [pool.submit(do, *item) for item in work]
        try:
            for number, future in enumerate(concurrent.futures.as_completed(running), 1):
                row = future.result()
                with (RESULTS / "accuracy.jsonl").open("a", encoding="utf-8") as file:
                    file.write(json.dumps(row) + "\n")
                print(f"{number}/{len(work)}", row["scene"], row["split"], row["size"],
                      row["setup"], row["seed"], f"{row['macro_f1']:.4f}",
                      f"{row['cpu_seconds']:.0f} s of a core", flush=True)  # fmt: skip
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


if __name__ == "__main__":
    main()
