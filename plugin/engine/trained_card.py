"""The card of an adapter that has just been trained."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from . import adapter_file
from .jobs import TrainJob
from .judging import Judgement
from .model.decoders.image_branch import branches_of
from .model.methods import adapt
from .model.methods.method import Method
from .prepare import Prepared, backbone_entry, held_out_entry, matching_entry
from .training import memory
from .training.scoring import Scorer
from .version import VERSION


def trained_card(
    job: TrainJob,
    ready: Prepared,
    learner: Scorer,
    method: Method,
    judgement: Judgement,
    warnings: Sequence[str],
) -> dict[str, Any]:
    """What docs/adapter-format.md says of a card, but the sizes of the file's other entries."""
    image = ready.images[0]
    return {
        "format": adapter_file.FORMAT,
        "tilth": VERSION,
        "name": job.name or Path(job.out).stem,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "backbone": backbone_entry(job),
        "method": method.to_dict(),
        "decoder": ready.decoder.to_dict(),
        "classes": [entry.to_json() for entry in ready.labels.classes],
        "bands": [band.to_json() for band in ready.bands],
        "inputs": ready.inputs.to_dict(),
        "matching": matching_entry(ready),
        "normalisation": ready.normalisations[0].to_dict(),
        "resolution_m": image.resolution_m if image.resolution_m > 0 else None,
        "chip": ready.settings.chip,
        "temperature": judgement.temperature,
        "score": judgement.score,
        "region_score": judgement.region_score,
        "training": _training(job, ready, learner),
        "warnings": list(warnings),
    }


def _training(job: TrainJob, ready: Prepared, learner: Scorer) -> dict[str, Any]:
    entry = {
        "epochs": learner.progress.epoch,
        "best_epoch": learner.progress.best_epoch,
        "seconds": round(learner.progress.seconds, 1),
        "device": str(learner.device),
        "seed": job.seed,
        "split": job.split,
        "precision": memory.precision_of(job.precision, learner.device),
        "polygons": sum(entry.polygons for entry in ready.labels.classes),
        "pixels": sum(entry.pixels for entry in ready.labels.classes),
        "trainable_parameters": adapt.trainable_parameters(learner.segmenter),
        "adapter_parameters": adapt.trainable_parameters(learner.segmenter.backbone),
        "settings": dataclasses.asdict(ready.settings),
    }
    branches = branches_of(learner.segmenter.decoder)
    if branches is not None:
        entry["network_share"] = float(branches.trust)
    region = held_out_entry(ready)["region"]
    if region:
        entry["unseen_region"] = f"{region['name']}: {region['polygons']} polygons"
    return entry
