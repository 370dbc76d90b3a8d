"""The usual pixel classifiers, with the same labels: forests and boosting on bands and windows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from harness import MAX_PIXELS, Image, rasterise, read_labels
from rasterio.windows import Window
from scipy.ndimage import uniform_filter

NAMES = ("forest", "forest-3", "forest-5", "extra-trees", "boosting")
WINDOWS = {"forest-3": 3, "forest-5": 5}
TREES = 300
AT_ONCE = 50_000  # pixels predicted at a time: a forest's answer has a value a tree


@dataclass
class Answer:
    """Class names [H, W], "" where not asked, the confidence in each (0..1) and notes."""

    names: np.ndarray
    confidence: np.ndarray
    notes: dict[str, Any]


def classic_map(name: str, image_path: str, labels: str, wanted: np.ndarray, seed: int) -> Answer:
    """What a classifier says of the ``wanted`` pixels [H, W], from the field "class"."""
    with Image.open([image_path]) as image:
        known = read_labels(labels, "class", [image])
        whole = Window(0, 0, image.width, image.height)
        codes, _ = rasterise(known, 0, whole)
        values, valid = image.read(whole)
    picked = np.flatnonzero(np.where(valid, codes, 0))
    if len(picked) > MAX_PIXELS:
        picked = np.random.default_rng(seed).choice(picked, MAX_PIXELS, replace=False)
    layers = features(values, valid, WINDOWS.get(name, 1)).reshape(-1, codes.size)
    model = _model(name, seed)
    model.fit(layers[:, picked].T, codes.ravel()[picked])
    asked = np.flatnonzero(wanted & valid)
    names = np.full(codes.size, "", object)
    confidence = np.zeros(codes.size)
    by_code = {entry.code: entry.name for entry in known.classes}
    for first in range(0, len(asked), AT_ONCE):
        part = asked[first : first + AT_ONCE]
        chances = model.predict_proba(layers[:, part].T)
        names[part] = [by_code[code] for code in model.classes_[chances.argmax(1)]]
        confidence[part] = chances.max(1)
    return Answer(names.reshape(codes.shape), confidence.reshape(codes.shape), {})


def features(values: np.ndarray, valid: np.ndarray, side: int) -> np.ndarray:
    """Bands [C, H, W]; with ``side`` > 1 also their mean and deviation around each pixel.

    Those are over the valid pixels of a square of ``side`` pixels.
    """
    bands = np.where(valid, values, 0).astype(np.float64)
    if side == 1:
        return bands.astype(np.float32)
    # Squares of numbers far from 0 lose digits.
    centre = bands[:, valid].mean(1)[:, None, None]
    shifted = np.where(valid, bands - centre, 0)
    size = (1, side, side)
    share = np.maximum(uniform_filter(valid.astype(np.float64), side, mode="constant"), 1e-9)
    mean = uniform_filter(shifted, size, mode="constant") / share
    square = uniform_filter(shifted**2, size, mode="constant") / share
    deviation = np.sqrt(np.maximum(square - mean**2, 0))
    return np.concatenate([bands, mean + centre, deviation]).astype(np.float32)


def _model(name: str, seed: int) -> Any:
    from sklearn.ensemble import (
        ExtraTreesClassifier,
        HistGradientBoostingClassifier,
        RandomForestClassifier,
    )

    if name == "boosting":
        # With the defaults it diverges where a class has few pixels, and can't split 20 of them.
        return HistGradientBoostingClassifier(
            l2_regularization=1.0, min_samples_leaf=5, random_state=seed
        )
    kind = ExtraTreesClassifier if name == "extra-trees" else RandomForestClassifier
    return kind(TREES, random_state=seed, n_jobs=1)
