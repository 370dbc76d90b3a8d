"""What a training needs before it starts: images and labels looked at, settings chosen."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import shapely
import torch

from .backbones import catalogue, store
from .backbones.card import Card
from .backbones.inputs import Inputs
from .backbones.matching import Match, match_bands
from .backbones.zoom import zoom_for
from .card import MAX_CHIP, MAX_CLASSES, MAX_TEXT
from .data.bands import Band
from .data.imagery import Image
from .data.label_model import Labels
from .data.label_raster import read_label_raster
from .data.labels import read_labels
from .data.opening import open_images
from .data.place import location_of
from .data.resolution import sizes_differ
from .data.splits import Split, split
from .data.usual import usual_bands
from .data.vectors import check_layer
from .errors import TilthError
from .events import Reporter
from .jobs import NO_BACKBONE, TrainJob
from .method_list import METHODS
from .model.decoders.factory import DecoderSettings
from .model.methods import adapt
from .model.methods.method import Method
from .normalise import Normalisation, normalise
from .training.scoring import Settings

# Where the user sets neither epochs nor minutes.
DEFAULT_MINUTES = {"cpu": 3.0, "cuda": 2.0, "mps": 2.0}
CHIPS = (64, 96, MAX_CHIP)
# Pixels this many times finer or coarser than those of the pre-training are another world.
FAR = 4.0


@dataclass
class Prepared:
    """Images, labels and choices of a training job; ``notes`` and ``warnings`` are for people.

    ``bands`` are the images' bands with the wavelengths that they are taken to have; ``match`` is
    what they are to the backbone, None without one.
    """

    images: list[Image]
    labels: Labels
    split: Split
    bands: list[Band]
    match: Match | None
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

    Raises TilthError where they can't be used; names that nothing has are refused first, before
    anything large is read.
    """
    reporter.progress(0.0, "Opening the images")
    card = None if job.backbone == NO_BACKBONE else catalogue.card_of(job.backbone)
    _check_labels(job)
    images = open_images(job.images, stack=job.stack, bands=job.bands)
    with contextlib.ExitStack() as stack:
        for image in images:
            stack.callback(image.close)
        bands, note = usual_bands(images[0])
        notes = [note] if note else []
        match = _match(job, card, images[0], bands)
        reporter.progress(0.01, "Reading the labels")
        labels = _labels(job, images)
        _check_names(job, labels, bands)
        reporter.progress(0.02, "Looking at the images' values")
        settings = _settings(job, device, labels)
        inputs = _inputs(job, card, images, bands, match, settings.chip, notes)
        places = match.bands if match is not None else ()
        normalisations, note = normalise(job.normalisation, card, places, images, bands)
        if note:
            notes.append(note)
        own = not normalisations[0].by_card
        warnings = [line for image in images for line in image.warnings] + labels.warnings
        warnings += _far_from(card, images[0])
        for place, image in enumerate(images[1:], 1):
            # As a map of each of these images will have it.
            normalisations[place], text = normalisations[0].for_image(image)
            warnings += _unlike(images[0], image, bool(text))
        parts = split(labels, job.split, job.seed if job.split_seed is None else job.split_seed)
        warnings += _left_out(labels, parts)
        yield Prepared(
            images,
            labels,
            parts,
            bands,
            match,
            normalisations,
            dataclasses.replace(inputs, own_statistics=own),
            settings,
            _decoder(job),
            notes,
            list(dict.fromkeys(warnings)),
        )


def _check_names(job: TrainJob, labels: Labels, bands: Sequence[Band]) -> None:
    """Refuse, before the training, what no adapter file may hold. Raises TilthError."""
    if len(labels.classes) > MAX_CLASSES:
        raise TilthError(
            f"labels: {len(labels.classes)} classes are more than the {MAX_CLASSES} that "
            "Tilth can tell apart; is it the field of the classes?"
        )
    named = [("name", job.name)]
    named += [("labels: a class's name", entry.name) for entry in labels.classes]
    named += [("images: a band's name", band.name) for band in bands]
    for what, text in named:
        if len(text) > MAX_TEXT:
            raise TilthError(
                f"{what}: {text[:40]}… has {len(text)} letters, more than the {MAX_TEXT} that an "
                "adapter file holds; shorten it"
            )


def _unlike(first: Image, other: Image, values: bool) -> list[str]:
    """Warnings where a further image is not like the first, in its `values` or its pixels' size."""
    lines = []
    if values:
        lines.append(
            f"{other.name}: its values are far from those of {first.name}; one adapter for both "
            "may serve neither well: compare with one for each"
        )
    if sizes_differ(first.resolution_m, other.resolution_m):
        lines.append(
            f"{other.name} has pixels of {other.resolution_m:.3g} m, {first.name} of "
            f"{first.resolution_m:.3g} m: both are learnt pixel by pixel as if they were alike; "
            "train on each by itself"
        )
    return lines


def _left_out(labels: Labels, parts: Split) -> list[str]:
    """Warnings of the classes that a split leaves without a score, near or in an unseen region.

    Marks those that nothing near is held out of as not validated.
    """
    alone = [
        entry.name
        for entry in labels.classes
        if entry.validated and entry.code in parts.unvalidated
    ]
    for entry in labels.classes:
        entry.validated = entry.validated and entry.code not in parts.unvalidated
    if parts.region is None:
        if not alone or not parts.validation_ids:  # asked for, or told already
            return []
        return [f"{', '.join(alone)}: nothing of it is held out: trained on, but not validated"]
    beyond = {polygon.code for polygon in labels.polygons if polygon.id in parts.region.ids}
    absent = [entry.name for entry in labels.classes if entry.code not in beyond]
    lines = []
    if alone:
        lines.append(
            f"{', '.join(alone)}: only one polygon outside of the unseen region "
            f"({parts.region.name}): trained on, but not validated there"
        )
    if absent:
        lines.append(
            f"{', '.join(absent)}: no polygon in the unseen region ({parts.region.name}), so not "
            "scored there"
        )
    return lines


def _far_from(card: Card | None, image: Image) -> list[str]:
    """A warning where the image's pixels are of another order than the backbone was trained on."""
    if card is None or not image.resolution_m > 0:
        return []
    low, high = card.ground_resolution_m
    if low / FAR <= image.resolution_m <= high * FAR:
        return []
    return [
        f"{image.name} has pixels of {image.resolution_m:.2g} m; {card.title} was trained on "
        f"{low:g} to {high:g} m and may know nothing of such images: compare it with no backbone"
    ]


def _match(job: TrainJob, card: Card | None, first: Image, bands: Sequence[Band]) -> Match | None:
    """What the images' bands are to the backbone; None without one."""
    if card is None:
        return None
    return match_bands(card, bands, wanted=job.matching, frames=first.times(job.dates)[0])


def _inputs(
    job: TrainJob,
    card: Card | None,
    images: Sequence[Image],
    bands: Sequence[Band],
    match: Match | None,
    chip: int,
    notes: list[str],
) -> Inputs:
    """What the images are to the backbone; adds to the notes what has to be known."""
    first = images[0]
    lengths = tuple(band.wavelength_nm for band in bands)
    resolution = first.resolution_m if first.resolution_m > 0 else None
    frames, dates = first.times(job.dates)
    if card is None or match is None:
        return Inputs(lengths, frames=frames, dates=dates, resolution_m=resolution)
    told = job.time_location and card.time_location
    place = location_of(first) if told else None
    if job.time_location:
        notes.extend(_told(card, first, images, dates, place))
    return Inputs(
        lengths,
        match.bands,
        frames,
        dates,
        place,
        told,
        resolution,
        job.zoom or zoom_for(card, chip),
        match.left_out,
    )


def _told(
    card: Card,
    first: Image,
    images: Sequence[Image],
    dates: Sequence[str],
    place: tuple[float, float] | None,
) -> Iterator[str]:
    """What a user who wants the backbone to know date and place has to know."""
    if not card.time_location:
        yield f"{card.title} can't be told date and place; it works without them"
        return
    if not dates:
        yield f"{first.name}: its date is not known, so the backbone is not told it; give one"
    if place is None:
        yield f"{first.name}: its place is not known, so the backbone is not told it"
    if len(images) > 1:
        yield f"the backbone is told date and place of {first.name} for all images"


def check_weights(job: TrainJob) -> None:
    """Raise TilthError where the job's backbone needs weights that are not on this machine."""
    if job.backbone != NO_BACKBONE and not job.random_backbone:
        store.require(catalogue.card_of(job.backbone))


def backbone_entry(job: TrainJob) -> dict[str, Any]:
    """What an adapter's card says of the backbone. Raises TilthError for an unknown one."""
    if job.backbone == NO_BACKBONE:
        return {
            "id": NO_BACKBONE, "title": "no backbone (the decoder alone)", "licence": "",
            "sha256": "", "random": False,
        }  # fmt: skip
    card = catalogue.card_of(job.backbone)
    return {
        "id": card.id,
        "title": card.title,
        "licence": card.licence,
        "sha256": store.identity(card),
        "random": job.random_backbone,
    }


def matching_entry(ready: Prepared) -> dict[str, Any]:
    """How the bands match the backbone's, as plans and adapters' cards tell it.

    `table` has for each band of the image the backbone's band, "" for one that it doesn't see and
    "+" for one that it takes in though it is none of its own.
    """
    match = ready.match
    chosen = match.chosen if match is not None else ("",) * len(ready.bands)
    return {
        "summary": match.summary if match is not None else "",
        "lines": list(match.lines) if match is not None else [],
        "table": [
            {"band": band.name, "wavelength_nm": band.wavelength_nm, "model_band": name}
            for band, name in zip(ready.bands, chosen, strict=True)
        ],
        "choices": list(match.choices) if match is not None else [],
    }


def held_out_entry(ready: Prepared) -> dict[str, Any]:
    """How many polygons are held out, in all and of each class, and a digest that says which.

    `region` is the same of the unseen region, with its name; None without one.
    """
    held, region = ready.split.validation_ids, ready.split.region
    return {
        **_counted(ready.labels, held),
        "digest": hashlib.sha256(repr(sorted(held)).encode()).hexdigest()[:16],
        "region": region and {"name": region.name, **_counted(ready.labels, region.ids)},
    }


def _counted(labels: Labels, ids: frozenset[int]) -> dict[str, Any]:
    code_of = {polygon.id: polygon.code for polygon in labels.polygons if polygon.id in ids}
    counts = Counter(code_of.values())
    return {
        "polygons": len(ids),
        "classes": {entry.name: counts[entry.code] for entry in labels.classes},
    }


def _check_labels(job: TrainJob) -> None:
    """Raise TilthError where a file of labels, its layer or the class field is not there."""
    if job.labels:
        check_layer(job.labels, job.class_field)
    if job.labelled_area:
        check_layer(job.labelled_area)


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
        batch=job.batch or (8 if device.type == "cpu" else 16),
        paced=not job.batch,
        chip=chip_size(labels),
        seed=job.seed,
        learning_rate=METHODS[job.method].rate,
    )


def _decoder(job: TrainJob) -> DecoderSettings:
    """The job's decoder; a linear probe has its own, and doesn't see the image."""
    if job.method == "probe":
        return DecoderSettings("linear", image_branch=False)
    return DecoderSettings(
        job.decoder,
        image_branch=job.image_branch,
        channels=job.decoder_channels,
        tokens=job.backbone != NO_BACKBONE and adapt.keeps_plain(Method.of(job)),
    )


def chip_size(labels: Labels) -> int:
    """Pixels along a chip: about twice what analysts drew, so that an object has surroundings.

    Of a multipolygon each part counts, since crowns that were merged by class are still crowns.
    """
    drawn = [polygon.pixel_geometry for polygon in labels.polygons if not polygon.background]
    boxes = shapely.bounds(shapely.get_parts(np.array(drawn, object)))
    sides = np.maximum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])
    wanted = 2 * float(np.median(sides)) if len(sides) else 0.0
    return next((chip for chip in CHIPS if chip >= wanted), CHIPS[-1])
