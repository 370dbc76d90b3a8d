"""Train, map and score one round; results are kept line by line, so that a run can go on."""

from __future__ import annotations

import concurrent.futures
import json
import multiprocessing
import runpy
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.windows import Window
from revision import commit
from scenes import ROOT, Round, Scene

runpy.run_path(str(ROOT / "plugin" / "engine" / "launch.py"))  # makes tilth_engine importable

from tilth_engine.data.burn import rasterise  # noqa: E402
from tilth_engine.data.imagery import Image  # noqa: E402
from tilth_engine.data.labels import read_labels  # noqa: E402
from tilth_engine.events import silent  # noqa: E402
from tilth_engine.jobs import PredictJob, TrainJob  # noqa: E402
from tilth_engine.predict import predict  # noqa: E402
from tilth_engine.train import train  # noqa: E402

# More training pixels than this make a forest of gigabytes.
MAX_PIXELS = 60_000
RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Setup:
    """What is trained: "forest", or Tilth with these choices."""

    name: str
    kind: str = "tilth"
    options: dict[str, Any] = field(default_factory=dict)


def run_all(
    bench: str, scenes: list[Scene], setups: list[Setup], seeds: list[int], jobs: int = 2
) -> None:
    """Run every scene, setup and seed that the results file lacks, ``jobs`` at a time.

    What fails is told, and the rest goes on.
    """
    path = RESULTS / f"{bench}.jsonl"
    path.parent.mkdir(exist_ok=True)
    done = {_key(row["scene"], row["setup"], row["options"], row["seed"])
            for row in read_results(bench)}  # fmt: skip
    work = [
        (scene, setup, seed)
        for seed in seeds
        for scene in scenes
        for setup in setups
        if _key(scene.name, setup.name, asdict(setup)["options"], seed) not in done
    ]
    # New processes, since PyTorch's threads do not survive a fork.
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(jobs, mp_context=context) as pool:
        running = [pool.submit(run_one, *item) for item in work]
        for future in concurrent.futures.as_completed(running):
            if error := future.exception():
                print(f"FAILED: {error}", flush=True)
                continue
            row = future.result()
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
            print(row["scene"], row["setup"], row["seed"], f"{row['macro_f1']:.4f}",
                  f"{row['seconds']:.0f} s", flush=True)  # fmt: skip


def _key(scene: str, setup: str, options: dict[str, Any], seed: int) -> tuple[Any, ...]:
    """Tells a run from others."""
    return scene, setup, json.dumps(options, sort_keys=True), seed


def run_one(scene: Scene, setup: Setup, seed: int) -> dict[str, Any]:
    """All rounds of a scene with one setup and seed, pooled into one confusion."""
    predictor: Callable[..., tuple[np.ndarray, list[str]]]
    predictor = forest_map if setup.kind == "forest" else tilth_map
    confusion = np.zeros((len(scene.classes), len(scene.classes) + 1), np.int64)
    started = time.monotonic()
    for part in scene.rounds:
        with tempfile.TemporaryDirectory() as folder:
            here = Path(folder)
            train_file = part.train.write(here / "train.gpkg")
            area = part.train_area.write(here / "area.gpkg") if part.train_area else ""
            reference = reference_of(scene, part, here)
            names = predictor(scene, train_file, area, reference, setup, seed, here)
            confusion += confusion_of(scene.classes, reference, names)
    return {
        "scene": scene.name,
        "setup": setup.name,
        "options": asdict(setup)["options"],
        "seed": seed,
        "macro_f1": macro_f1(confusion),
        "confusion": confusion.tolist(),
        "classes": scene.classes,
        "seconds": round(time.monotonic() - started, 1),
        "commit": commit(),
    }


def tilth_map(
    scene: Scene, labels: str, area: str, reference: np.ndarray, setup: Setup, seed: int, here: Path
) -> np.ndarray:
    """The class names [H, W] that Tilth maps: the very code that users run."""
    adapter, out = str(here / "a.tilth"), str(here / "map.tif")
    job = TrainJob(
        images=[scene.image],
        labels=labels,
        class_field="class",
        labelled_area=area,
        split="none",
        out=adapter,
        seed=seed,
        threads=1,
        **setup.options,
    )
    card = train(job, silent())["card"]
    # Only where the reference is: a mask changes no pixel's class, and the rest need not be mapped.
    mask = str(here / ("test_area.gpkg" if area else "test.gpkg"))
    job_map = PredictJob(adapter=adapter, images=[scene.image], out=out, mask=mask, threads=1)
    predict(job_map, silent())
    with rasterio.open(out) as dataset:
        codes = dataset.read(1)
    lookup = np.full(65536, "", dtype=object)
    for entry in card["classes"]:
        lookup[entry["code"]] = entry["name"]
    return lookup[codes]


def forest_map(
    scene: Scene, labels: str, area: str, reference: np.ndarray, setup: Setup, seed: int, here: Path
) -> np.ndarray:
    """The class names [H, W], where there is a reference, of a random forest on raw bands."""
    from sklearn.ensemble import RandomForestClassifier

    with Image.open([scene.image]) as image:
        known = read_labels(labels, "class", [image], labelled_area=area)
        whole = Window(0, 0, image.width, image.height)
        codes, _ = rasterise(known, 0, whole)
        values, valid = image.read(whole)
    codes = np.where(valid, codes, 0)
    picked = np.flatnonzero(codes)
    if len(picked) > MAX_PIXELS:
        picked = np.random.default_rng(seed).choice(picked, MAX_PIXELS, replace=False)
    forest = RandomForestClassifier(300, random_state=seed, n_jobs=1)
    forest.fit(values.reshape(len(values), -1)[:, picked].T, codes.ravel()[picked])
    names = np.full(codes.shape, "", dtype=object)
    wanted = (reference != "") & valid
    by_code = {entry.code: entry.name for entry in known.classes}
    found = forest.predict(values[:, wanted].T)
    names[wanted] = [by_code[code] for code in found]
    return names


def reference_of(scene: Scene, part: Round, here: Path) -> np.ndarray:
    """The reference's class names [H, W]; empty where there is none."""
    test_file = part.test.write(here / "test.gpkg")
    area = part.test_area.write(here / "test_area.gpkg") if part.test_area else ""
    with Image.open([scene.image]) as image:
        labels = read_labels(test_file, "class", [image], labelled_area=area, minimum_classes=1)
        codes, _ = rasterise(labels, 0, Window(0, 0, image.width, image.height))
        by_code = {entry.code: entry.name for entry in labels.classes}
        names = np.full(codes.shape, "", dtype=object)
        for code, name in by_code.items():
            names[codes == code] = name
        if part.reference:
            _, valid = image.read(Window(0, 0, image.width, image.height))
            with rasterio.open(part.reference) as dataset:
                raster = dataset.read(1)
            inside = (codes > 0) & valid
            names[:] = ""
            for code, name in part.reference_names.items():
                names[inside & (raster == code)] = name
    return names


def confusion_of(classes: list[str], reference: np.ndarray, names: np.ndarray) -> np.ndarray:
    """Counts [K, K + 1]: rows reference, columns map; the last column is any other class."""
    result = np.zeros((len(classes), len(classes) + 1), np.int64)
    for row, name in enumerate(classes):
        found = names[reference == name]
        for column, other in enumerate(classes):
            result[row, column] = np.count_nonzero(found == other)
        result[row, -1] = len(found) - result[row].sum()
    return result


def macro_f1(confusion: np.ndarray) -> float:
    """The mean F1 over the scored classes."""
    hits = np.diag(confusion).astype(float)
    total = confusion.sum(1) + confusion[:, :-1].sum(0)
    return float(np.mean(2 * hits / np.maximum(total, 1)))


def read_results(bench: str) -> list[dict[str, Any]]:
    """The rows of a benchmark that are there."""
    path = RESULTS / f"{bench}.jsonl"
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
