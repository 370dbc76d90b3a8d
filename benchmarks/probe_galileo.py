"""What frozen Galileo-nano knows: a logistic regression on its features, pixel by pixel.

The scene is cut into chips of 12 x 12 patches, the largest that the network was trained on (Tseng
et al. 2025); a patch's features are brought to its pixels bilinearly,
standardised, and go to scikit-learn's LogisticRegression as it comes. Nothing is tuned. Compared
with the same network with random weights, and with the bands themselves. Five committed folds of
aberystwyth_s2, pooled; the weights are read from ../shared/data/weights.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from harness import RESULTS, confusion_of, macro_f1, reference_of
from rasterio.windows import Window
from revision import commit
from scenes import ROOT, Scene, aberystwyth
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tilth_engine.backbones import catalogue
from tilth_engine.backbones.base import Backbone
from tilth_engine.backbones.galileo import GalileoBackbone
from tilth_engine.backbones.inputs import Inputs
from tilth_engine.backbones.matching import match_bands
from tilth_engine.data.burn import rasterise
from tilth_engine.data.imagery import Image
from tilth_engine.data.labels import read_labels
from tilth_engine.normalise import Normalisation, normalise

WEIGHTS = ROOT.parent / "shared" / "data" / "weights" / "galileo_nano" / "encoder.pt"
PATCHES = 12


def main() -> None:
    """Print each setup's pooled macro-F1 and add it to the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patch", type=int, default=4)
    given = parser.parse_args()
    torch.set_num_threads(1)
    scene = aberystwyth()
    card = replace(catalogue.card_of("galileo-nano"), patch=given.patch)
    with Image.open([scene.image]) as image:
        match = match_bands(card, image.bands)
        normalisation = normalise("card", card, match.bands, [image], image.bands)[0][0]
        inputs = Inputs(
            tuple(band.wavelength_nm for band in image.bands),
            match.bands,
            resolution_m=image.resolution_m,
        )
        trained = GalileoBackbone(card, inputs)
        published = torch.load(WEIGHTS, map_location="cpu", weights_only=True)
        trained.fill(GalileoBackbone.convert(card, published).tensors)
        torch.manual_seed(0)
        raw = GalileoBackbone(card, inputs)
        for name, backbone in (("frozen", trained), ("random weights", raw), ("bands", None)):
            started = time.monotonic()
            features = pixels(image, normalisation, backbone, labelled(scene, image))
            confusion = probe(scene, image, features)
            row = {
                "scene": scene.name,
                "setup": f"galileo-nano patch {given.patch}, {name}" if backbone else name,
                "macro_f1": macro_f1(confusion),
                "confusion": confusion.tolist(),
                "classes": scene.classes,
                "seconds": round(time.monotonic() - started, 1),
                "commit": commit(),
            }
            with (RESULTS / "probe.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
            print(row["setup"], f"{row['macro_f1']:.4f}", f"{row['seconds']} s", flush=True)


def labelled(scene: Scene, image: Image) -> np.ndarray:
    """Which pixels [H, W] any fold has a label for: the others need no features."""
    with tempfile.TemporaryDirectory() as folder:
        found = [reference_of(scene, part, Path(folder)) != "" for part in scene.rounds]
    return np.any(found, axis=0)


def pixels(
    image: Image, normalisation: Normalisation, backbone: Backbone | None, wanted: np.ndarray
) -> np.ndarray:
    """Features [D, H, W] float32 of the chips that have wanted pixels; without a backbone, bands.

    Chips that reach over the edge see their mean there.
    """
    size = backbone.dims[-1] if backbone else image.count
    side = PATCHES * (backbone.patch if backbone else 4)
    result = np.zeros((size, image.height, image.width), np.float32)
    for row in range(0, image.height, side):
        for column in range(0, image.width, side):
            height, width = min(side, image.height - row), min(side, image.width - column)
            place = (slice(row, row + height), slice(column, column + width))
            if not wanted[place].any():
                continue
            values, _ = normalisation.read(image, Window(column, row, side, side))
            chip = torch.from_numpy(values)[None]
            if backbone:
                with torch.inference_mode():
                    (maps,) = backbone.eval()(chip, [backbone.depth])
                chip = torch.nn.functional.interpolate(maps, chip.shape[-2:], mode="bilinear")
            result[:, place[0], place[1]] = chip[0, :, :height, :width].numpy()
    return result


def probe(scene: Scene, image: Image, features: np.ndarray) -> np.ndarray:
    """The confusion [K, K + 1] of a regression a fold, pooled."""
    confusion = np.zeros((len(scene.classes), len(scene.classes) + 1), np.int64)
    for part in scene.rounds:
        with tempfile.TemporaryDirectory() as folder:
            here = Path(folder)
            reference = reference_of(scene, part, here)
            known = read_labels(part.train.write(here / "train.gpkg"), "class", [image])
            codes, _ = rasterise(known, 0, Window(0, 0, image.width, image.height))
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
        by_code = {entry.code: entry.name for entry in known.classes}
        names = np.array([by_code[code] for code in codes[codes > 0]], dtype=str)
        model.fit(features[:, codes > 0].T, names)
        found = np.full(codes.shape, "", dtype=object)
        found[reference != ""] = model.predict(features[:, reference != ""].T)
        confusion += confusion_of(scene.classes, reference, found)
    return confusion


if __name__ == "__main__":
    main()
