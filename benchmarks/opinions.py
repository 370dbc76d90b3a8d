"""The usual classifiers one by one, together, and the branch that learns what they say together.

    .venv/bin/python benchmarks/opinions.py [--seeds 5]   run what is missing
    .venv/bin/python benchmarks/opinions.py --table       macro-F1, means over the splits

The engine's own teacher (plugin/engine/training/teacher.py) on the splits of the learning curves,
with up to 10 polygons a class, the embedded backbone's tokens among what it sees; no network but
the branch. Results go line by line to benchmarks/results/opinions.jsonl.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import warnings
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

# Before NumPy, PyTorch and scikit-learn start their threads: a run takes one core.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import numpy as np  # noqa: E402
import torch  # noqa: E402
from classic import Answer  # noqa: E402
from harness import (  # noqa: E402
    RESULTS,
    Image,
    TrainJob,
    confusion_of,
    macro_f1,
    rasterise,
    read_labels,
    read_results,
    reference_of,
    silent,
)
from rasterio.windows import Window  # noqa: E402
from revision import commit  # noqa: E402
from runs import calibration_error, round_of  # noqa: E402
from scenes import Scene  # noqa: E402
from splits import KINDS, SEEDS, Split, read_splits, scored_classes, sizes_of  # noqa: E402
from subjects import REAL, Subject, all_subjects  # noqa: E402
from tilth_engine.landscape import landscape  # noqa: E402
from tilth_engine.model.decoders.local import SIDES, LocalBranch  # noqa: E402
from tilth_engine.model.decoders.neighbourhood import feature_count, features  # noqa: E402
from tilth_engine.model.methods.method import Method  # noqa: E402
from tilth_engine.model.segmenter import build  # noqa: E402
from tilth_engine.normalise import Normalisation  # noqa: E402
from tilth_engine.prepare import prepared  # noqa: E402
from tilth_engine.training.loop import MOST  # noqa: E402
from tilth_engine.training.study import study  # noqa: E402
from tilth_engine.training.teacher import (  # noqa: E402
    TOKENS,
    Labelled,
    named_opinions,
    opinions,
    soft_labels,
)
from tilth_engine.training.tokens import Tokens  # noqa: E402

SIZES = (1, 3, 10)
SCORED = 20_000  # pixels, at random where there are more


def main() -> None:
    """Run what is missing, or show what is there."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--table", action="store_true")
    choices = parser.parse_args()
    if choices.table:
        print(table(read_results("opinions")))
        return
    done = {(row["scene"], row["split"], row["seed"]) for row in read_results("opinions")}
    with tempfile.TemporaryDirectory() as folder:
        work = [
            (subject, kind, seed)
            for seed in range(choices.seeds)
            for subject in all_subjects(Path(folder), ",".join(REAL))
            for kind in KINDS
            if (subject.name, kind, seed) not in done
        ]
    RESULTS.mkdir(exist_ok=True)
    with ProcessPoolExecutor(choices.jobs, mp_context=get_context("spawn")) as pool:
        for rows in pool.map(_rows_of, *zip(*work, strict=True)) if work else ():
            with (RESULTS / "opinions.jsonl").open("a", encoding="utf-8") as file:
                file.writelines(json.dumps(row) + "\n" for row in rows)
            print(rows[0]["scene"], rows[0]["split"], rows[0]["seed"], flush=True)


def _rows_of(subject: Subject, kind: str, seed: int) -> list[dict[str, Any]]:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    split = read_splits(subject)[kind][seed]
    return [
        {"scene": subject.name, "split": kind, "size": size, "seed": seed,
         **_scores(subject, split, size, seed), "commit": commit()}
        for size in SIZES if size in sizes_of(subject, split)
    ]  # fmt: skip


def _scores(subject: Subject, split: Split, size: int, seed: int) -> dict[str, Any]:
    """Macro-F1 of each, and the calibration error of the teachers together and of the branch."""
    classes = scored_classes(subject, split)
    with tempfile.TemporaryDirectory() as folder, Image.open([subject.image]) as image:
        here = Path(folder)
        part = round_of(subject, split, size, classes)
        labels = part.train.write(here / "train.gpkg")
        reference = reference_of(Scene(subject.name, subject.image, [], classes), part, here)
        known = read_labels(labels, "class", [image])
        whole = Window(0, 0, image.width, image.height)
        codes, units = rasterise(known, 0, whole)
        normalisation = Normalisation.of(image)
        values, valid = normalisation.read(image, whole)
        looking = _looking(subject.image, labels)
        land = landscape([image], [normalisation], seed, tokens=looking)
    table = features(torch.from_numpy(values)[None], SIDES)[0].numpy().reshape(-1, valid.size)
    names = [entry.name for entry in known.classes]
    order = {entry.code: place for place, entry in enumerate(known.classes)}
    rng = np.random.default_rng(seed)
    drawn = _some(np.flatnonzero(np.where(valid, codes, 0)), MOST, rng)
    asked = _some(np.flatnonzero((reference != "") & valid), SCORED, rng)

    def seen(places: np.ndarray) -> np.ndarray:
        return np.concatenate([table[:, places].T, _tokens(looking, values, places)], 1)

    labelled = Labelled(
        seen(drawn),
        np.array([order[code] for code in codes.ravel()[drawn]]),
        units.ravel()[drawn].astype(np.int32),
    )
    sought = reference.ravel()[asked]
    result: dict[str, Any] = {"macro_f1": {}, "ece": {}}
    for name, chances in _answers(labelled, land, seen(asked), len(values), names, seed):
        found = np.array(names, object)[chances.argmax(1)]
        result["macro_f1"][name] = round(macro_f1(confusion_of(classes, sought, found)), 4)
        if not name.startswith(("forest", "disc")):
            answer = Answer(found, chances.max(1), {})
            result["ece"][name] = calibration_error(sought, answer)
    return result


def _looking(image: str, labels: str) -> Tokens:
    """What asks the embedded backbone, built as a training with these labels builds it."""
    job = TrainJob(images=[image], labels=labels, class_field="class", out="none.tilth")
    cpu = torch.device("cpu")
    with prepared(job, cpu, silent()) as ready:
        classes = len(ready.labels.classes)
        network, _ = build(job.backbone, Method(), ready.decoder, ready.inputs, classes)
        return Tokens(network, cpu, ready.settings.chip)


def _tokens(looking: Tokens, values: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The tokens [n, dim] of an image's pixels, by their numbers [n], in windows around squares."""
    size, margin = looking.chip // 2, looking.chip // 4
    rows, columns = np.divmod(places, values.shape[2])
    padded = np.pad(values, ((0, 0), (margin, looking.chip), (margin, looking.chip)))
    result = np.zeros((len(places), looking.dim), np.float32)
    keys = np.stack([rows // size, columns // size], 1)
    for row, column in np.unique(keys, axis=0).tolist():
        top, left = row * size, column * size
        window = padded[:, top : top + looking.chip, left : left + looking.chip]
        mine = (keys == (row, column)).all(1)
        seen = looking.look(window)
        result[mine] = looking.pick(seen, rows[mine] - top + margin, columns[mine] - left + margin)
    return result


def _answers(
    labelled: Labelled,
    land: np.ndarray,
    asked: np.ndarray,
    bands: int,
    names: list[str],
    seed: int,
) -> Iterator[tuple[str, np.ndarray]]:
    """The class probabilities [N, K] that each gives to the features ``asked`` [N, F]."""
    count = len(names)
    groups: dict[str, Any] = {"forests": 0.0, "discriminants": 0.0}
    some = labelled.some(len(labelled.values), np.random.default_rng(seed))
    for opinion in opinions(some, np.concatenate([land, some.values]), bands, SIDES, seed):
        chances = opinion.chances(asked, count)
        yield opinion.name, chances
        if opinion.name != TOKENS:
            group = "forests" if opinion.name.startswith("forest") else "discriminants"
            groups[group] = groups[group] + opinion.weight * chances
    yield from ((name, total) for name, total in groups.items() if not isinstance(total, float))
    # The asked pixels are in the landscape for their chances: the branch does not learn from them,
    # and of their features the discriminants know no more than the ranks of all.
    torch.manual_seed(seed)
    local = feature_count(bands, SIDES)
    branch = LocalBranch(bands, count, land.shape[1] - local)
    pixels, chances = soft_labels(
        labelled, np.concatenate([asked, land]), bands, SIDES, count, seed,
        opinions_of=named_opinions(branch),
    )  # fmt: skip
    yield "together", chances[: len(asked)]
    plain = Labelled(labelled.values[:, :local], labelled.classes, labelled.units)
    both = np.concatenate([asked, land])[:, :local]
    yield (
        "together, no tokens",
        soft_labels(plain, both, bands, SIDES, count, seed)[1][: len(asked)],
    )
    taught = slice(len(asked), None)
    study(branch, torch.from_numpy(pixels[taught]), torch.from_numpy(chances[taught]), seed, 1.0,
          lambda: None)  # fmt: skip
    with torch.no_grad():
        inputs = branch.with_opinions(torch.from_numpy(asked))
        logits = branch.judge(inputs.T[None, :, :, None])[0, :, :, 0]
    yield "the branch", logits.T.softmax(1).numpy()


def _some(places: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray:
    return places if len(places) <= most else rng.choice(places, most, replace=False)


def table(rows: list[dict[str, Any]]) -> str:
    """Means over the splits, by kind and size; for each the splits that have it."""
    columns: dict[str, Any] = {"all": lambda row: True}
    columns |= {kind: lambda row, kind=kind: row["split"] == kind for kind in KINDS}
    columns |= {f"size {size}": lambda row, size=size: row["size"] == size for size in SIZES}
    lines = [f"| macro-F1 | {' | '.join(columns)} |", "| --- |" + " --- |" * len(columns)]
    for name in dict.fromkeys(name for row in rows for name in row["macro_f1"]):
        cells = [
            [row["macro_f1"][name] for row in rows if chosen(row) and name in row["macro_f1"]]
            for chosen in columns.values()
        ]
        lines.append(f"| {name} | " + " | ".join(f"{np.mean(cell):.3f}" for cell in cells) + " |")
    errors = {
        name: np.mean([row["ece"][name] for row in rows]) for name in ("together", "the branch")
    }
    told = ", ".join(f"{name} {value:.3f}" for name, value in errors.items())
    return "\n".join([*lines, "", f"{len(rows)} pairs; expected calibration error: {told}"])


if __name__ == "__main__":
    main()
