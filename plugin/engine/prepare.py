"""What a training needs before it starts: images and labels looked at, settings chosen."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from .backbones.inputs import Inputs
from .card import MAX_CLASSES
from .data.imagery import Image, open_images
from .data.label_model import Labels
from .data.label_raster import read_label_raster
from .data.labels import read_labels
from .data.splits import Split, split
from .errors import TilthError
from .events import Reporter
from .jobs import TrainJob
from .model.decoders.factory import DecoderSettings
from .normalise import Normalisation, wavelengths
from .training.loop import Settings

# Where the user sets neither epochs nor minutes.
DEFAULT_MINUTES = {"cpu": 3.0, "cuda": 2.0, "mps": 2.0}
CHIPS = (64, 96, 128)


@dataclass
class Prepared:
    """Images, labels and choices of a training job; ``notes`` and ``warnings`` are for people."""

    images: list[Image]
    labels: Labels
    split: Split
    normalisations: list[Normalisation]
    inputs: Inputs
    settings: Settings
    decoder: DecoderSettings
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def codes(self) -> list[int]:
        """The classes' codes, in the order of the network's outputs."""
        return [entry.code for entry in self.labels.classes]


@contextlib.contextmanager
def prepared(job: TrainJob, device: torch.device, reporter: Reporter) -> Iterator[Prepared]:
    """Look at the job's images and labels; the images are open inside the ``with`` block.

    Raises TilthError where they can't be used.
    """
    reporter.progress(0.0, "Opening the images")
    images = open_images(job.images, stack=job.stack, bands=job.bands)
    with contextlib.ExitStack() as stack:
        for image in images:
            stack.callback(image.close)
        reporter.progress(0.01, "Reading the labels")
        labels = _labels(job, images)
        if len(labels.classes) > MAX_CLASSES:
            raise TilthError(
                f"labels: {len(labels.classes)} classes are more than the {MAX_CLASSES} that "
                "Tilth can tell apart; is it the field of the classes?"
            )
        reporter.progress(0.02, "Looking at the images' values")
        codes, note = wavelengths(images[0])
        parts = split(labels, job.split, job.seed)
        warnings = [line for image in images for line in image.warnings] + labels.warnings
        yield Prepared(
            images,
            labels,
            parts,
            [Normalisation.of(image) for image in images],
            Inputs(tuple(codes), resolution_m=images[0].resolution_m or None),
            _settings(job, device, labels),
            DecoderSettings(job.decoder),
            [note] if note else [],
            list(dict.fromkeys(warnings)),
        )


def _labels(job: TrainJob, images: Sequence[Image]) -> Labels:
    options: dict[str, Any] = {"styles": job.styles, "labelled_area": job.labelled_area}
    if job.label_raster:
        return read_label_raster(job.label_raster, images, **options)
    return read_labels(job.labels, job.class_field, images, **options)


def _settings(job: TrainJob, device: torch.device, labels: Labels) -> Settings:
    minutes = job.minutes
    if minutes is None and job.epochs is None:
        minutes = DEFAULT_MINUTES.get(device.type, 3.0)
    return Settings(
        epochs=job.epochs,
        seconds=None if minutes is None else minutes * 60,
        steps=12 if device.type == "cpu" else 40,
        batch=8 if device.type == "cpu" else 16,
        chip=chip_size(labels),
        seed=job.seed,
        learning_rate=_RATES[job.method],
    )


# LoRA wants about ten times the rate of full fine-tuning (the paper's searches, arXiv 2504.17397).
_RATES = {"lora": 1e-3, "full": 1e-4, "frozen": 0.0}


def chip_size(labels: Labels) -> int:
    """Pixels along a chip: about twice what analysts drew, so that an object has surroundings."""
    sides = []
    for polygon in labels.polygons:
        if not polygon.background:
            left, top, right, bottom = polygon.pixel_geometry.bounds
            sides.append(max(right - left, bottom - top))
    wanted = 2 * float(np.median(sides)) if sides else 0.0
    return next((chip for chip in CHIPS if chip >= wanted), CHIPS[-1])
