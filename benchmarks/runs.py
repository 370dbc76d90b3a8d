"""One run of the learning curves: train on a size's polygons, map the held-out ones, score."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from classic import NAMES, Answer, classic_map
from harness import confusion_of, macro_f1, reference_of
from revision import commit
from scenes import Round, Scene
from splits import Split, scored_classes
from subjects import Subject
from tilth_map import SETUPS, tilth_answer

ECE_BINS = 15


@dataclass(frozen=True)
class Run:
    """What is run: one setup on one size of one split. ``epochs`` concern Tilth alone."""

    scene: str
    split: str
    size: int
    setup: str
    seed: int
    epochs: int

    @property
    def options(self) -> dict[str, Any]:
        """What Tilth's training is given; nothing for the classic ones."""
        return {} if self.setup in NAMES else {**SETUPS[self.setup], "epochs": self.epochs}

    @property
    def key(self) -> tuple[Any, ...]:
        """Tells it from other runs."""
        epochs = self.options.get("epochs")
        return (self.scene, self.split, self.size, self.setup, self.seed, epochs)


def key_of(row: dict[str, Any]) -> tuple[Any, ...]:
    """The key of the run that left a row."""
    names = ("scene", "split", "size", "setup", "seed")
    return (*(row[name] for name in names), row["options"].get("epochs"))


def do(run: Run, subject: Subject, split: Split) -> dict[str, Any]:
    """Run it; returns the row of the results file."""
    started, cpu = time.monotonic(), time.process_time()
    classes = scored_classes(subject, split)
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        part = round_of(subject, split, run.size, classes)
        labels = part.train.write(here / "train.gpkg")
        reference = reference_of(Scene(subject.name, subject.image, [], classes), part, here)
        if run.setup in NAMES:
            answer = classic_map(run.setup, subject.image, labels, reference != "", run.seed)
        else:
            asked = str(here / "test.gpkg")
            answer = tilth_answer(subject.image, labels, asked, run.options, run.seed, here)
    return {
        "scene": run.scene,
        "split": run.split,
        "size": run.size,
        "setup": run.setup,
        "options": run.options,
        "seed": run.seed,
        **_scores(classes, reference, answer),
        "seconds": round(time.monotonic() - started, 1),
        "cpu_seconds": round(time.process_time() - cpu, 1),
        "commit": commit(),
    }


def round_of(subject: Subject, split: Split, size: int, classes: list[str]) -> Round:
    """The polygons on either side; only scored classes are asked for."""
    polygons = subject.polygons
    chosen = np.zeros(len(polygons.names), bool)
    chosen[split.take(size)] = True
    if not split.test and subject.reference is not None:
        own = subject.reference
        return Round(polygons.pick(chosen), own.test, reference=own.reference,
                     reference_names=own.reference_names)  # fmt: skip
    test = np.zeros(len(polygons.names), bool)
    test[split.test] = True
    return Round(polygons.pick(chosen), polygons.pick(test & np.isin(polygons.names, classes)))


def _scores(classes: list[str], reference: np.ndarray, answer: Answer) -> dict[str, Any]:
    confusion = confusion_of(classes, reference, answer.names)
    hits = np.diag(confusion)
    f1 = 2 * hits / np.maximum(confusion.sum(1) + confusion[:, :-1].sum(0), 1)
    scores = {
        "macro_f1": macro_f1(confusion),
        "f1": dict(zip(classes, f1.round(4).tolist(), strict=True)),
        "confusion": confusion.tolist(),
        "classes": classes,
        "test_pixels": int(confusion.sum()),
        "ece": calibration_error(reference, answer),
    }
    if "uncalibrated" in answer.notes:
        scores["ece_uncalibrated"] = calibration_error(reference, answer.notes["uncalibrated"])
        scores["temperature"] = round(answer.notes["temperature"], 4)
    return scores


def calibration_error(reference: np.ndarray, answer: Answer) -> float:
    """The expected calibration error of the confidences, in bins of equal width.

    Source: Guo et al. 2017, "On Calibration of Modern Neural Networks" (arXiv 1706.04599).
    """
    asked = (reference != "") & (answer.names != "")
    right = (reference[asked] == answer.names[asked]).astype(float)
    sure = answer.confidence[asked]
    bins = np.minimum((sure * ECE_BINS).astype(int), ECE_BINS - 1)
    gaps = np.bincount(bins, right - sure, minlength=ECE_BINS)
    return round(float(np.abs(gaps).sum() / max(len(sure), 1)), 5)
