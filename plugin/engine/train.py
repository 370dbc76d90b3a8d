"""Fine-tune a backbone on labels, and leave an adapter."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from . import adapter_file, devices, footprint
from .adapter_file import Adapter
from .calibration import calibrated_losses, usual_temperature
from .continuing import go_on_from, of_another_kind
from .data.files import check_output, stamp
from .errors import Cancelled, TilthError
from .evaluate import scores
from .events import Reporter
from .jobs import TrainJob, to_json
from .judging import judged
from .label_samples import labelled_samples
from .landscape import landscape, views
from .memory import told_clearly
from .model.decoders.forest import ForestDecoder
from .model.methods import adapt
from .model.methods.method import Method
from .model.segmenter import Segmenter, build, restore, stored
from .normalise import Normalisation
from .prepare import Prepared, backbone_entry, check_weights, held_out_entry, prepared
from .report import training_report
from .trained_card import trained_card
from .training import checkpoint, memory
from .training.aim import Aim, cover
from .training.growth import Growth
from .training.loop import Loop
from .training.samples import Chip, Samples
from .training.scoring import Progress
from .training.tokens import Tokens
from .version import VERSION

Learner = Loop | Growth
# Held-out chips that are looked at after each epoch; the final score is over all of them.
EPOCH_CHIPS = 32
MARGIN = 8
FOLLOWS = (
    "On the held-out polygons the network is not surely better than what it learnt from random "
    "forests and linear discriminants: the map follows these alone. More polygons, or more "
    "minutes, let the network count."
)
UNTOLD = (
    "Nothing is held out and the polygons are few, so that nobody could tell what the network only "
    "guesses: the map follows random forests and linear discriminants alone. More minutes change "
    "nothing; more polygons let the network count."
)
LEARNT = (
    "The adapter that this training goes on from may have learnt the held-out polygons: the score "
    "and the confidence may be too good. Check the map against polygons that it never saw."
)
# Epochs below which a training that ended by time has learnt too little.
FEW = 3


def train(job: TrainJob, reporter: Reporter) -> dict[str, Any]:
    """Run the job; returns the result as docs/design.md describes it.

    Raises TilthError for input that a person can mend, Cancelled, and OutOfMemoryError.
    """
    job = job.settled()
    devices.set_threads(job.threads)
    device = devices.choose(job.device)
    footprint.start(device)
    for path in (job.out, job.report):
        if path:
            check_output(path)
    check_weights(job)
    if job.continue_from:
        adapter_file.read_card(job.continue_from)
    with (
        told_clearly(device, "this training", memory.REMEDY),
        prepared(job, device, reporter) as ready,
    ):
        for text in ready.warnings:
            reporter.warn(text)
        for text in ready.notes:
            reporter.info(text)
        # Before anything is read, since it may refuse the job, or go on in an adapter's units.
        segmenter, method = _segmenter(job, ready, reporter)
        samples = labelled_samples(ready, reporter)
        _save_memory(job, segmenter, device, reporter)
        parts = _parts(ready, samples)
        loop = _learner(ready, segmenter, samples, parts, device, reporter)
        loop.begun = bool(job.continue_from)
        folder = Path(job.work_folder or f"{job.out}.training")
        try:
            _run(job, loop, ready, folder, reporter)
        except BaseException as error:
            # Any end but the user's wish keeps a whole checkpoint: hours of training are in it.
            if isinstance(error, Cancelled) or not (folder / checkpoint.STATE).is_file():
                checkpoint.remove(folder)
            raise
        if (
            isinstance(loop, Loop)
            and ready.settings.epochs is None
            and loop.progress.epoch < FEW
            and not loop.in_vain
        ):
            count = loop.progress.epoch
            reporter.warn(
                f"the time was over after {count} epoch{'s' * (count > 1)}: give the training more "
                "minutes, or choose a smaller backbone"
            )
        held_out = parts.near or parts.region
        reporter.progress(0.97, "Scoring the held-out polygons" if held_out else "Writing")
        if isinstance(loop, Loop) and loop.weigh(calibrated_losses) == 0:
            reporter.info(FOLLOWS if parts.near else UNTOLD)
        adapter = _as_stored(job, ready, loop, method)
        classes = [entry.to_json() for entry in ready.labels.classes]
        usual = usual_temperature(ready.labels.polygons_a_class(), loop.classic_share)
        judgement = judged(loop, parts.near, parts.region, classes, held_out_entry(ready), usual)
        for text in judgement.warnings:
            reporter.warn(text)
        card = trained_card(job, ready, loop, method, judgement, reporter.warnings)
        if held_out:
            _learn_all(ready, loop, samples, job.precision, reporter)
        _write(job, loop, method, adapter, card)
        checkpoint.remove(folder)
    if job.report:
        training_report(job.report, card, loop.progress.history)
    reporter.progress(1.0, "Done")
    return {
        "adapter": job.out,
        "report": job.report,
        "card": card,
        "score": card["score"],
        "region_score": card["region_score"],
        "epochs": loop.progress.epoch,
        "seconds": loop.progress.seconds,
        "peak_mb": footprint.peak_mb(device),
        "held_out": held_out_entry(ready),
        "warnings": reporter.warnings,
    }


@dataclass(frozen=True)
class _Parts:
    """The units that are trained on, and chips of what is held out: near them, and far away."""

    training: NDArray[np.int32]
    near: list[Chip]
    region: list[Chip]


def _learner(
    ready: Prepared,
    segmenter: Segmenter,
    samples: Samples,
    parts: _Parts,
    device: torch.device,
    reporter: Reporter,
) -> Learner:
    """What trains the segmenter: a loop of steps, or for a forest its growth."""
    region, settings = ready.split.region, ready.settings
    near = region.near if region is not None else ()
    aim = Aim(samples, parts.training, settings.chip, near)
    fixed = (_thinned(parts.near, settings.seed), len(ready.codes), device, settings)
    if isinstance(segmenter.decoder, ForestDecoder):
        return Growth(segmenter, aim, *fixed)
    land = (ready.images, ready.normalisations)
    tokens = Tokens(segmenter, device, settings.chip, settings.seconds, reporter.check)
    reporter.progress(0.05, "Looking at the landscape")
    around = landscape(*land, settings.seed, near, tokens)
    elsewhere = views(*land, settings.chip, settings.seed, near)
    return Loop(segmenter, aim, *fixed, around, elsewhere, reporter.warn, tokens)


def _learn_all(
    ready: Prepared, loop: Learner, samples: Samples, precision: str, reporter: Reporter
) -> None:
    """Let what can be taught quickly learn from all that is labelled, wherever it lies."""

    def step() -> None:
        reporter.progress(0.98, "Learning from the held-out polygons, too")

    step()
    # All of the land, and with tokens of the network that is mapped with (`_as_stored`).
    anew = ready.split.region is not None or precision in memory.COARSE
    if isinstance(loop, Loop) and anew:
        land = (ready.images, ready.normalisations)
        loop.landscape = landscape(*land, ready.settings.seed, tokens=loop.tokens)
    everything = np.array(sorted(samples.points), np.int32)
    loop.learn_all(Aim(samples, everything, ready.settings.chip), step)


def _segmenter(job: TrainJob, ready: Prepared, reporter: Reporter) -> tuple[Segmenter, Method]:
    if not job.continue_from:
        return _built(job, ready, Method.of(job))
    earlier = adapter_file.read(job.continue_from)
    go_on_from(job, ready, earlier.card)
    segmenter, method = _built(job, ready, Method.of(job))
    for text in _continue(job, ready, segmenter, method, earlier):
        reporter.warn(text)
    return segmenter, method


def _built(job: TrainJob, ready: Prepared, method: Method) -> tuple[Segmenter, Method]:
    return build(
        job.backbone,
        method,
        ready.decoder,
        ready.inputs,
        len(ready.codes),
        seed=job.seed,
        random_backbone=job.random_backbone,
    )


def _save_memory(
    job: TrainJob, segmenter: Segmenter, device: torch.device, reporter: Reporter
) -> None:
    """Prepare the backbone as the job's precision and checkpointing say."""
    smaller = memory.prepare(segmenter.backbone, job.precision, job.checkpointing, device)
    if not smaller and job.precision not in ("auto", "float32"):
        reporter.warn(
            f"precision {job.precision}: there are no frozen weights that could be stored in it"
        )


def _as_stored(
    job: TrainJob, ready: Prepared, loop: Learner, method: Method
) -> dict[str, torch.Tensor]:
    """Let the network be what the file will hold, so that the score is that of the file.

    Returns the tensors that the method changed.
    Weights in 8 or 4 bits are for training: a map is made with the backbone's own.
    """
    with torch.no_grad():
        for parameter in loop.segmenter.parameters():
            if parameter.requires_grad:
                parameter.copy_(adapter_file.in_half(parameter))
    adapter = stored(loop.segmenter, method)
    if job.precision in memory.COARSE and loop.segmenter.backbone is not None:
        decoder = loop.segmenter.decoder.state_dict()
        whole, _ = _built(job, ready, method.as_stored())
        restore(whole, method.as_stored(), adapter, decoder)
        loop.segmenter = whole.to(loop.device).to(memory_format=torch.channels_last)
        if isinstance(loop, Loop):
            loop.tokens.ask(loop.segmenter)
    return adapter


def _continue(
    job: TrainJob, ready: Prepared, segmenter: Segmenter, method: Method, earlier: Adapter
) -> list[str]:
    """Start from an adapter's weights; what to warn of. Raises TilthError where it is of another
    kind."""
    card = earlier.card
    # Which layers are adapted is known only now.
    if Method.from_dict(card["method"]) != method:
        raise of_another_kind(job.continue_from)
    try:
        restore(segmenter, method, earlier.adapter, earlier.decoder)
    except TilthError as error:
        raise adapter_file.damaged(job.continue_from, str(error)) from error
    # The weights know the earlier image's units, so that this one has to come in them.
    earlier_units = Normalisation.from_dict(card["normalisation"])
    found = [earlier_units.for_image(image) for image in ready.images]
    ready.normalisations[:] = [normalisation for normalisation, _ in found]
    warnings = [text for _, text in found if text]
    return [LEARNT, *warnings] if ready.split.validation_ids else warnings


def _parts(ready: Prepared, samples: Samples) -> _Parts:
    """Sort what is in memory into training and held-out parts."""
    units, split = ready.labels.units(), ready.split
    training = {units[i] for i in split.train_ids}
    near = {units[i] for i in split.validation_ids} - training
    region = {units[i] for i in split.region.ids} if split.region is not None else set()
    return _Parts(
        np.array(sorted(training), np.int32), _chips(samples, near), _chips(samples, region)
    )


def _chips(samples: Samples, units: set[int]) -> list[Chip]:
    chips = cover(samples, np.array(sorted(units), np.int32), samples.size, MARGIN)
    return [chip for chip in chips if chip.classes.any()]


def _thinned(chips: list[Chip], seed: int) -> list[Chip]:
    """At most so many chips, or one of each class: rare classes are judged in every epoch, too."""
    if len(chips) <= EPOCH_CHIPS:
        return chips
    order = np.random.default_rng(seed).permutation(len(chips)).tolist()
    first: dict[int, int] = {}
    for place in order:
        for index in np.unique(chips[place].classes).tolist():
            if index:
                first.setdefault(index, place)
    chosen = dict.fromkeys([*first.values(), *order])
    wanted = max(EPOCH_CHIPS, len(set(first.values())))
    return [chips[place] for place in sorted(list(chosen)[:wanted])]


def _run(job: TrainJob, loop: Learner, ready: Prepared, folder: Path, reporter: Reporter) -> None:
    identity = _identity(job, ready)
    if job.resume:
        if isinstance(loop, Loop) and checkpoint.resume(folder, loop, identity):
            reporter.info(f"Going on after epoch {loop.progress.epoch}")
            for number, values in enumerate(loop.progress.history, 1):
                reporter.metrics(number, ready.settings.epochs or 0, values)
        else:
            reporter.warn("no checkpoint of this training was found; it starts from the beginning")
    classes = [entry.to_json() for entry in ready.labels.classes]

    def score(confusion: NDArray[np.int64]) -> float:
        return float(scores(confusion, classes)["macro_f1"] or 0.0)

    def step(share: float) -> None:
        left = reporter.seconds * (1 - share) / share if share > 0.03 else None
        what = f"Training, epoch {loop.progress.epoch + 1}"
        if loop.progress.epoch == 0 and share == 0:
            what = "Learning from random forests"
        reporter.progress(0.05 + 0.92 * share, what, left)

    def epoch_done(progress: Progress) -> None:
        # Who hears of an epoch may count on its checkpoint. Where the disk is full, the run ends
        # here and the last whole checkpoint stays: the adapter could not be written either.
        if isinstance(loop, Loop):
            checkpoint.save(folder, loop, identity)
        reporter.metrics(progress.epoch, ready.settings.epochs or 0, progress.history[-1])

    if isinstance(loop, Loop) and not job.batch:
        loop.fit_batch()
    loop.run(score, step, epoch_done)


def _identity(job: TrainJob, ready: Prepared) -> dict[str, Any]:
    """What must be the same for a run to go on from a checkpoint."""
    free = ("device", "threads", "resume", "report", "work_folder", "styles", "name", "minutes")
    # The plugin hands labels over in a new file each time, and they may have been edited: what
    # they say counts, not where they lie.
    files = ("labels", "labelled_area", "label_raster")
    values = {key: value for key, value in to_json(job).items() if key not in free + files}
    values["files"] = [stamp(name) for name in (*job.images, job.continue_from) if name]
    values["weights"] = backbone_entry(job)["sha256"]
    values["classes"] = [(entry.code, entry.value, entry.pixels) for entry in ready.labels.classes]
    digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
    return {"job": digest, "version": VERSION}


def _write(
    job: TrainJob,
    loop: Learner,
    method: Method,
    adapter: dict[str, torch.Tensor],
    card: dict[str, Any],
) -> None:
    decoder = {
        name: tensor.detach().cpu().clone().contiguous()
        for name, tensor in loop.segmenter.decoder.state_dict().items()
    }
    config = adapt.peft_config(method)
    adapter_file.write(job.out, Adapter(card, adapter, decoder), config)
