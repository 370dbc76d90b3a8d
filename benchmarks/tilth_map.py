"""What Tilth's own training and mapping make of a training set: the very code that users run."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from classic import Answer
from harness import PredictJob, TrainJob, predict, silent, train
from tilth_engine import adapter_file

# The decoder that has nothing but the backbone's tokens.
TOKENS_ALONE = {"decoder": "linear", "image_branch": False}
SETUPS: dict[str, dict[str, Any]] = {
    "tilth": {},
    "alone": {"method": "alone"},
    "random-backbone": {"random_backbone": True},
    "unet": {"method": "unet"},
    "embedded frozen": {"method": "frozen"},
    "embedded probe": {"method": "probe"},
    "galileo-nano lora": {"backbone": "galileo-nano"},
    "galileo-nano probe": {"backbone": "galileo-nano", "method": "probe"},
    "galileo-nano frozen": {"backbone": "galileo-nano", "method": "frozen"},
    "galileo-nano random lora": {"backbone": "galileo-nano", "random_backbone": True},
    "galileo-nano linear lora": {"backbone": "galileo-nano", **TOKENS_ALONE},
    "galileo-nano linear random lora": {
        "backbone": "galileo-nano",
        "random_backbone": True,
        **TOKENS_ALONE,
    },
}


def tilth_answer(
    image: str, labels: str, asked: str, options: dict[str, Any], seed: int, here: Path
) -> Answer:
    """Train on ``labels`` as a user does, field "class", and map inside the polygons ``asked``.

    A quarter of the labels is held out for the score and the temperature, where classes have two
    polygons or more. The notes are the temperature and the same network's answer without it, under
    "uncalibrated": the adapter with temperature 1 in its card, mapped again.
    """
    adapter = here / "a.tilth"
    job = TrainJob(
        images=[image], labels=labels, class_field="class", out=str(adapter), seed=seed,
        threads=1, **options,
    )  # fmt: skip
    temperature = train(job, silent())["card"]["temperature"]
    answer = _mapped(image, adapter, asked, here)
    plain = answer
    if temperature != 1:
        held = adapter_file.read(str(adapter))
        same = dataclasses.replace(held, card={**held.card, "temperature": 1.0})
        adapter_file.write(str(here / "plain.tilth"), same, {})
        plain = _mapped(image, here / "plain.tilth", asked, here)
    answer.notes = {"temperature": temperature, "uncalibrated": plain}
    return answer


def _mapped(image: str, adapter: Path, asked: str, here: Path) -> Answer:
    """The map of an adapter inside the polygons: a mask changes no pixel's class."""
    out, sure = str(here / "map.tif"), str(here / "confidence.tif")
    job = PredictJob(
        adapter=str(adapter), images=[image], out=out, confidence=sure, mask=asked, threads=1
    )
    classes = predict(job, silent())["classes"]
    with rasterio.open(out) as codes, rasterio.open(sure) as percent:
        lookup = np.full(65536, "", object)
        for entry in classes:
            lookup[entry["code"]] = entry["name"]
        return Answer(lookup[codes.read(1)], percent.read(1) / 100, {})
