"""Look at a training job without running it: what would run, on what, and for how long."""

from __future__ import annotations

import time
from typing import Any

import torch

from . import devices
from .adapter_file import read_card
from .continuing import go_on_from
from .errors import TilthError
from .events import Reporter
from .jobs import FORESTS, NO_BACKBONE, PlanJob, TrainJob
from .memory import Portion, told_clearly
from .method_list import METHODS
from .model.methods.method import Method
from .model.segmenter import build, trainable
from .prepare import Prepared, backbone_entry, check_weights, matching_entry, prepared
from .training import memory
from .training.growth import MOST
from .training.scoring import Settings

# For each labelled pixel, on one core.
FOREST_SECONDS = 5e-4


def plan(job: PlanJob, reporter: Reporter) -> dict[str, Any]:
    """Run the job; returns the result as docs/design.md describes it. Raises TilthError."""
    job = PlanJob(job.train.settled())
    devices.set_threads(job.train.threads)
    device = devices.choose(job.train.device)
    earlier = job.train.continue_from
    with prepared(job.train, device, reporter) as ready:
        if earlier:
            go_on_from(job.train, ready, read_card(earlier))
        of_job = (Method.of(job.train), ready.decoder, ready.inputs, len(ready.codes))
        counts = trainable(job.train.backbone, *of_job)
        reporter.progress(0.5, "Timing a step")
        seconds = _seconds(job.train, ready, device)
        image = ready.images[0]
        entry = next(d for d in devices.describe() if d["id"] == str(device))
        classes = [item.to_json() for item in ready.labels.classes]
        return {
            "text": _text(job.train, ready, counts, entry["label"], seconds),
            "brief": _brief(ready, seconds),
            "classes": classes,
            "warnings": ready.warnings + ready.notes + _missing(job.train),
            "device": entry,
            "seconds": seconds,
            "image": {
                "width": image.width,
                "height": image.height,
                "bands": [band.to_json() for band in ready.bands],
                "scale": image.scale.text,
                "resolution_m": image.resolution_m,
            },
            "backbone": job.train.backbone,
            "matching": matching_entry(ready),
            "normalisation": "image" if ready.inputs.own_statistics else "card",
            "zoom": ready.inputs.zoom,
            "trainable_parameters": {"backbone": counts[0], "decoder": counts[1]},
        }


def _missing(job: TrainJob) -> list[str]:
    """What has to be fetched before the training can run."""
    try:
        check_weights(job)
    except TilthError as error:
        return [str(error)]
    return []


def _seconds(job: TrainJob, ready: Prepared, device: torch.device) -> float:
    """How long the training takes at most: its time limit, or its epochs by a timed step."""
    settings = ready.settings
    if job.decoder in FORESTS:
        pixels = sum(entry.pixels for entry in ready.labels.classes)
        return 5 + min(pixels, MOST) * FOREST_SECONDS
    if settings.epochs is None:
        return float(settings.seconds or 0.0)
    estimate = settings.epochs * settings.steps * _step_seconds(job, ready, device, settings)
    return min(estimate, settings.seconds) if settings.seconds is not None else estimate


def _step_seconds(
    job: TrainJob, ready: Prepared, device: torch.device, settings: Settings
) -> float:
    # Random weights take as long, and the published ones need not be here yet.
    segmenter, _ = build(
        job.backbone,
        Method.of(job),
        ready.decoder,
        ready.inputs,
        len(ready.codes),
        random_backbone=True,
    )
    memory.prepare(segmenter.backbone, job.precision, job.checkpointing, device)
    segmenter = segmenter.to(device).to(memory_format=torch.channels_last)

    def chip_seconds(chips: int) -> float:
        image = torch.zeros(chips, len(ready.inputs.wavelengths), size, size, device=device)
        image = image.contiguous(memory_format=torch.channels_last)
        seconds = 0.0
        for _ in range(2):  # the first warms up
            started = time.monotonic()
            with devices.mixed_precision(device):
                loss = segmenter(image).float().mean()
            loss.backward()  # type: ignore[no-untyped-call]
            float(loss.detach())
            seconds = time.monotonic() - started
        return seconds / chips

    size = settings.chip
    with told_clearly(device, "this training", memory.REMEDY):
        seconds = Portion(settings.batch).run(chip_seconds)
    # Reading chips, the optimizer and scoring the held-out part add about a third.
    return settings.batch * seconds * 1.3


def _text(
    job: TrainJob, ready: Prepared, counts: tuple[int, int], device: str, seconds: float
) -> str:
    polygons = sum(entry.polygons for entry in ready.labels.classes)
    pixels = sum(entry.pixels for entry in ready.labels.classes)
    title = backbone_entry(job)["title"]
    kept = _held_out(ready)
    what = f"{_trained(job.method, counts[0])} on {title} ({_parameters(counts)})"
    if job.backbone == NO_BACKBONE:
        what = f"a decoder and no backbone ({_parameters(counts)})"
    if job.decoder in FORESTS:
        what = "a random forest" + (" with neighbourhoods" if job.decoder != FORESTS[0] else "")
    return (
        f"Trains {what}: "
        f"{len(ready.codes)} classes, {polygons} polygons "
        f"({pixels} pixels; {kept}), on {device}, about {duration(seconds)} at most."
    )


def _brief(ready: Prepared, seconds: float) -> str:
    """What matters first, for where there is little room."""
    polygons = sum(entry.polygons for entry in ready.labels.classes)
    return (
        f"{len(ready.codes)} classes, {polygons} polygons ({_held_out(ready)}), "
        f"about {duration(seconds)} at most."
    )


def _held_out(ready: Prepared) -> str:
    """What is not trained on, in words."""
    held, region = len(ready.split.validation_ids), ready.split.region
    kept = f"{held} polygons held out to score" if held else "none held out: no score"
    if region is not None:
        drawn = len(ready.labels.ids)
        kept += f"; an unseen region, {region.name}: {len(region.ids)} of {drawn} polygons"
    return kept


def _trained(method: str, parameters: int) -> str:
    """What a method trains, in words; `parameters` are those of the backbone that it changes."""
    others = {
        "frozen": "a decoder alone",
        "probe": "a linear probe",
        "full": "all weights",
        "bitfit": "the biases",
        "vpt": "prompts",
        "vit-adapter": "a ViT-Adapter",
    }
    if not parameters and method != "probe":
        return others["frozen"]
    short = METHODS[method].title.split(" (")[0]
    article = "an" if short[0] in "(AEIO" else "a"
    return others.get(method, f"{article} {short} adapter")


def _parameters(counts: tuple[int, int]) -> str:
    """The numbers that training changes: "0.393 M parameters, decoder 0.633 M"."""
    backbone, decoder = (f"{count / 1e6:.3g} M" for count in counts)
    return f"{backbone} parameters, decoder {decoder}" if counts[0] else f"decoder {decoder}"


def duration(seconds: float) -> str:
    """A time for people: "40 s", "3 min", "1 h 20 min"."""
    if seconds < 90:
        return f"{max(round(seconds), 1)} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
