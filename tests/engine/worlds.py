"""Small worlds to test in: images, labels and adapters, made on the spot."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from rasterio.transform import Affine
from tilth_engine import adapter_file, prepare
from tilth_engine.adapter_file import Adapter
from tilth_engine.backbones import catalogue
from tilth_engine.backbones.inputs import Inputs
from tilth_engine.events import Reporter
from tilth_engine.jobs import TrainJob
from tilth_engine.model.methods import adapt
from tilth_engine.model.methods.method import Method
from tilth_engine.model.segmenter import DecoderSettings, build
from tilth_engine.train import train
from tilth_engine.training.loop import Settings

CRS = "EPSG:32630"
PLACE = Affine(10, 0, 500_000, 0, -10, 5_000_000)
BANDS = ("Blue", "Green", "Red", "NIR")
# Reflectance x 10000 of two materials that no one could confuse.
WATER = (900, 700, 400, 200)
WOOD = (400, 700, 500, 3500)


def scene(height: int = 96, width: int = 96, seed: int = 0) -> np.ndarray:
    """uint16 [4, H, W]: water in the west half, wood in the east half, with noise."""
    rng = np.random.default_rng(seed)
    east = np.arange(width) >= width // 2
    values = np.where(
        east[None, None], np.array(WOOD)[:, None, None], np.array(WATER)[:, None, None]
    )
    noise = rng.normal(0, 40, (4, height, width))
    return (values + noise).clip(1).astype(np.uint16)


def write_image(
    path: Path,
    values: np.ndarray,
    *,
    names: Sequence[str] = BANDS,
    crs: str | None = CRS,
    transform: Affine = PLACE,
    **options: Any,
) -> str:
    """A GeoTIFF of values [C, H, W]; returns its path as text."""
    profile = {"dtype": values.dtype, "count": len(values), "crs": crs, "transform": transform}
    profile.update(height=values.shape[1], width=values.shape[2], **options)
    with rasterio.open(path, "w", driver="GTiff", **profile) as file:
        file.write(values)
        for number, name in enumerate(names[: len(values)], 1):
            file.set_band_description(number, name)
    return str(path)


def square(column: int, row: int, side: int = 12, transform: Affine = PLACE) -> Any:
    """A polygon in map coordinates over pixels column..column+side, row..row+side."""
    box = shapely.box(column, row, column + side, row + side)
    a, b, c, d, e, f = transform[:6]
    return shapely.transform(
        box,
        lambda p: np.column_stack([a * p[:, 0] + b * p[:, 1] + c, d * p[:, 0] + e * p[:, 1] + f]),
    )


def write_polygons(
    path: Path,
    shapes: Sequence[Any],
    classes: Sequence[Any] | None = None,
    *,
    crs: str | None = CRS,
    kind: str = "Polygon",
    layer: str | None = None,
) -> str:
    """A GeoPackage of polygons with their classes in the field ``class``; returns its path."""
    wkb = np.array([None if shape is None else shapely.to_wkb(shape) for shape in shapes], object)
    fields, data = ([], []) if classes is None else (["class"], [np.array(list(classes), object)])
    if classes is not None and all(isinstance(value, int) for value in classes):
        data = [np.array(classes, np.int64)]
    pyogrio.raw.write(
        str(path), wkb, data, fields, geometry_type=kind, crs=crs, driver="GPKG",
        layer=layer or path.stem,
    )  # fmt: skip
    return str(path)


def two_classes(path: Path, width: int = 96, **options: Any) -> str:
    """Four polygons of water and four of wood over ``scene``."""
    west, east = width // 8, width // 2 + width // 8
    rows = (4, 28, 52, 76)
    shapes = [square(column, row) for column in (west, east) for row in rows]
    return write_polygons(path, shapes, ["water"] * 4 + ["wood"] * 4, **options)


def card(**changes: Any) -> dict[str, Any]:
    """The card of an adapter for ``scene``, as training would write it."""
    backbone = catalogue.cards()["embedded"]
    entry = {"value": "", "polygons": 2, "pixels": 100, "validated": True}
    names = ("water", "wood")
    colours = ("#2255aa", "#117733")
    values = {
        "format": 1,
        "tilth": "0.1.0",
        "name": "two",
        "created": "2026-01-01T00:00:00+00:00",
        "backbone": {"id": "embedded", "title": backbone.title, "licence": backbone.licence,
                     "sha256": backbone.sha256, "random": False},
        "method": Method("lora", 4, 4, tuple(backbone.lora_targets)).to_dict(),
        "decoder": DecoderSettings("slim", 8).to_dict(),
        "classes": [
            {"code": code, "name": name, "colour": colour, **entry}
            for code, (name, colour) in enumerate(zip(names, colours, strict=True), 1)
        ],
        "bands": [{"name": name, "wavelength_nm": w}
                  for name, w in zip(BANDS, (485.0, 560.0, 660.0, 840.0), strict=True)],
        "normalisation": {
            "mean": [650.0, 700.0, 450.0, 1850.0], "std": [250.0, 50.0, 60.0, 1650.0],
            "scale": {"kind": "reflectance10000", "factor": 10000.0, "offset": 0.0},
        },
        "inputs": Inputs((485.0, 560.0, 660.0, 840.0), resolution_m=10.0).to_dict(),
        "resolution_m": 10.0,
        "chip": 64,
        "temperature": 1.0,
        "score": None,
        "training": {"epochs": 1, "seconds": 1.0, "seed": 0, "polygons": 4, "pixels": 200},
        "warnings": [],
    }  # fmt: skip
    return {**values, **changes}


def write_adapter(path: Path, **changes: Any) -> str:
    """An untrained adapter as a file, with changes to its card; returns its path."""
    values = card(**changes)
    method = Method.from_dict(values["method"])
    segmenter, method = build(
        "embedded",
        method,
        DecoderSettings.from_dict(values["decoder"]),
        Inputs.from_dict(values["inputs"]),
        len(values["classes"]),
        random_backbone=bool(values["backbone"]["random"]),
    )
    adapter = Adapter(
        values, adapt.stored(segmenter.backbone, method), dict(segmenter.decoder.state_dict())
    )
    adapter_file.write(str(path), adapter, adapt.peft_config(method))
    return str(path)


@contextlib.contextmanager
def quick(steps: int = 4, batch: int = 4) -> Iterator[None]:
    """Epochs of few and small steps, all else as it is."""
    whole = prepare._settings

    def fewer(*arguments: Any) -> Settings:
        return dataclasses.replace(whole(*arguments), steps=steps, batch=batch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prepare, "_settings", fewer)
        yield


class Run:
    """A training that ran: its job, its result and the events on the way."""

    def __init__(self, job: TrainJob, stop: Callable[[dict[str, Any]], bool] | None = None) -> None:
        self.job = job
        self.events: list[dict[str, Any]] = []
        self.stopped = False

        def emit(event: dict[str, Any]) -> None:
            self.events.append(event)
            self.stopped = self.stopped or bool(stop and stop(event))

        job.check()
        with quick():
            self.result = train(job, Reporter(emit, lambda: self.stopped))


def train_job(folder: Path, **changes: Any) -> TrainJob:
    """A short training in ``folder`` on ``scene`` and ``two_classes``, unless told otherwise."""
    values: dict[str, Any] = {"epochs": 3, "device": "cpu", "threads": 1, "class_field": "class"}
    if "images" not in changes:
        changes["images"] = [write_image(folder / "scene.tif", scene())]
    if "labels" not in changes and "label_raster" not in changes:
        changes["labels"] = two_classes(folder / "labels.gpkg")
    return TrainJob(out=str(folder / "adapter.tilth"), **{**values, **changes})


def learnt_parameters(tensors: dict[str, Any]) -> int:
    """How many numbers of a file's tensors were learnt by gradients: not what features are like,
    how much the network counts, and the discriminants."""
    fixed = (".mean", ".spread", ".lowest", ".highest", "trust")
    fitted = ("distilled.around.", "distilled.tokens.")
    return sum(
        tensor.numel()
        for name, tensor in tensors.items()
        if not name.endswith(fixed) and not any(part in name for part in fitted)
    )
