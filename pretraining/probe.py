"""Compares the embedded backbone with the same network untrained, by frozen linear probes.

    python pretraining/probe.py --scenes FOLDER [--weights FOLDER]

FOLDER holds `aberystwyth_s2` (10-band Sentinel-2 with drawn polygons) and `zion_landsat8_nlcd`
(4-band Landsat with NLCD); docs/pretraining.md says where they are from. A logistic regression on
the raw bands is the second yardstick.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyogrio
import rasterio
import shapely
import torch
from engine import register
from fields import Array, Integers
from numpy.typing import NDArray
from rasterio.features import rasterize
from safetensors.torch import load_file
from scenes import standardised
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

register()
from tilth_engine.backbones.base import Backbone  # noqa: E402
from tilth_engine.backbones.catalogue import build  # noqa: E402
from tilth_engine.backbones.inputs import Inputs  # noqa: E402

S2_NM = (492, 560, 665, 704, 741, 783, 833, 865, 1614, 2202)
L8_NM = (482, 561, 655, 865)
TILE, MARGIN = 128, 16
TRAIN_MAX = 6000


@dataclass(frozen=True)
class Pixels:
    """Labelled pixels of a scene and the rounds of hold-out that they serve.

    image: standardised [C, H, W]; rows, columns, classes: [N]; rounds: pairs of masks [N] for
    training and testing.
    """

    image: Array
    wavelengths: Array
    rows: Integers
    columns: Integers
    classes: Integers
    rounds: list[tuple[NDArray[np.bool_], NDArray[np.bool_]]]


def aberystwyth(folder: Path) -> Pixels:
    """Four classes; five rounds that each hold out every fifth polygon of each class."""
    with rasterio.open(folder / "image_s2.tif") as source:
        image, transform = source.read().astype(np.float32), source.transform
    meta, _, shapes, values = pyogrio.raw.read(folder / "labels.gpkg", layer="training_polygons")
    classes = values[list(meta["fields"]).index("class_id")].astype(np.int64)
    number = rasterize(
        [(shapely.from_wkb(shape), i + 1) for i, shape in enumerate(shapes)],
        image.shape[1:],
        transform=transform,
        dtype="int32",
    ).astype(np.int64)
    rows, columns = np.nonzero(number)
    polygon = number[rows, columns] - 1
    fold = np.zeros(len(classes), np.int64)
    rng = np.random.default_rng(0)
    for value in np.unique(classes):
        members = rng.permutation(np.nonzero(classes == value)[0])
        fold[members] = np.arange(len(members)) % 5
    rounds = [(fold[polygon] != k, fold[polygon] == k) for k in range(5)]
    return Pixels(
        standardised(image), np.array(S2_NM, np.float32), rows, columns, classes[polygon], rounds
    )


def zion(folder: Path) -> Pixels:
    """Forest, shrubland and barren; trained in the west, tested in the east, and the reverse."""
    with rasterio.open(folder / "image_l8_dn.tif") as source:
        image = source.read().astype(np.float32)
    with rasterio.open(folder / "labels_nlcd2011_8cls.tif") as source:
        truth = source.read(1).astype(np.int64)
    valid = (image != 65535).all(0)
    for band in image:
        band[~valid] = band[valid].mean()
    # Only every fourth tile is looked at, for time.
    chosen = np.zeros(truth.shape, bool)
    step = TILE - 2 * MARGIN
    for i in range(0, truth.shape[0], 2 * step):
        for j in range(0, truth.shape[1], 2 * step):
            chosen[i : i + step, j : j + step] = True
    usable = valid & np.isin(truth, (3, 4, 5)) & chosen
    rng = np.random.default_rng(0)
    places = rng.permutation(np.argwhere(usable))[:12000]
    rows, columns = places[:, 0].astype(np.int64), places[:, 1].astype(np.int64)
    west, east = columns < truth.shape[1] // 2 - 20, columns > truth.shape[1] // 2 + 20
    rounds = [(west, east), (east, west)]
    return Pixels(
        standardised(image),
        np.array(L8_NM, np.float32),
        rows,
        columns,
        truth[rows, columns],
        rounds,
    )


def features(backbone: Backbone, pixels: Pixels, depths: Sequence[int]) -> Array:
    """Features [N, dim * depths] of labelled pixels: tokens, interpolated to pixels."""
    width = sum(backbone.dims[depth - 1] for depth in depths)
    found = np.zeros((len(pixels.rows), width), np.float32)
    step = TILE - 2 * MARGIN
    high, wide = (-(-side // step) * step for side in pixels.image.shape[1:])
    padding = [
        (MARGIN, MARGIN + n - side)
        for n, side in zip((high, wide), pixels.image.shape[1:], strict=True)
    ]
    padded = np.pad(pixels.image, [(0, 0), *padding], mode="reflect")
    for i in range(0, high, step):
        for j in range(0, wide, step):
            inside = (pixels.rows // step == i // step) & (pixels.columns // step == j // step)
            if not inside.any():
                continue
            chip = torch.from_numpy(padded[None, :, i : i + TILE, j : j + TILE].copy())
            with torch.inference_mode():
                maps = torch.cat(backbone(chip, depths), 1)
                dense = torch.nn.functional.interpolate(
                    maps, (TILE, TILE), mode="bilinear", align_corners=False
                )[0].numpy()
            found[inside] = dense[
                :, pixels.rows[inside] - i + MARGIN, pixels.columns[inside] - j + MARGIN
            ].T
    return found


def score(values: Array, pixels: Pixels) -> tuple[float, float]:
    """Mean and deviation of macro-F1 of a logistic regression on [N, features] over the rounds."""
    results = []
    for train, test in pixels.rounds:
        chosen = np.random.default_rng(0).permutation(np.nonzero(train)[0])[:TRAIN_MAX]
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=300))
        model.fit(values[chosen], pixels.classes[chosen])
        found = model.predict(values[test])
        results.append(f1_score(pixels.classes[test], found, average="macro"))
    return float(np.mean(results)), float(np.std(results))


def _pair(wavelengths: Array, weights: Path | None) -> tuple[Backbone, Backbone]:
    """The backbone with trained weights (of a folder, or the embedded ones) and untrained."""
    inputs = Inputs(tuple(map(float, wavelengths)))
    trained = build("embedded", inputs, random_weights=weights is not None)
    if weights is not None:
        tensors = load_file(weights / trained.card.file)
        trained.fill({name: tensor.float() for name, tensor in tensors.items()})
    return trained, build("embedded", inputs, random_weights=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a line for each scene and kind of features. Gives the exit status."""
    parser = argparse.ArgumentParser(description="Frozen linear probes")
    parser.add_argument("--scenes", type=Path, required=True)
    parser.add_argument("--weights", type=Path, help="a folder that pretrain.py wrote")
    parser.add_argument("--depths", type=int, nargs="+", default=[8], help="blocks to look at")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    readers = {"aberystwyth_s2": aberystwyth, "zion_landsat8_nlcd": zion}
    for name, read in readers.items():
        pixels = read(options.scenes / name)
        trained, untrained = _pair(pixels.wavelengths, options.weights)
        raw = pixels.image[:, pixels.rows, pixels.columns].T
        for kind, values in (
            ("raw bands", raw),
            ("random weights", features(untrained, pixels, options.depths)),
            ("pre-trained", features(trained, pixels, options.depths)),
        ):
            mean, spread = score(values, pixels)
            print(f"{name:20s} {kind:15s} macro-F1 {mean:.3f} +- {spread:.3f}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
