"""Map an image with an adapter."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio.warp
import torch
from rasterio.crs import CRS
from rasterio.errors import CRSError, RasterioError
from rasterio.transform import Affine
from rasterio.windows import Window

from . import devices
from .adapter_file import damaged, read, read_card
from .backbones import catalogue, store
from .backbones.inputs import Inputs
from .data.bands import Band
from .data.files import check_output, stamp
from .data.grid import apply, compose, turns
from .data.imagery import Image
from .data.masks import Mask
from .data.opening import open_matching
from .data.place import location_of
from .data.resolution import sizes_differ
from .errors import TilthError
from .events import Reporter
from .jobs import NO_BACKBONE, Extent, PredictJob
from .map_file import class_map, percent_raster
from .mapping import Grid, Mapper, blocks
from .memory import told_clearly
from .model.decoders.factory import DecoderSettings
from .model.methods.method import Method
from .model.segmenter import Segmenter, build, restore
from .normalise import Normalisation

# Weights of a random backbone: more than any published model for satellite images has.
LARGEST_RANDOM = 1_000_000_000


@dataclass
class Model:
    """A segmenter filled from an adapter file, ready to map, and the adapter's card."""

    segmenter: Segmenter
    card: dict[str, Any]


def load_model(path: str, device: torch.device, inputs: Inputs | None = None) -> Model:
    """Read an adapter and put it onto its backbone. Raises TilthError where it doesn't fit.

    `inputs` are those of the image to map, where they are others than the training image's.
    """
    adapter = read(path)
    card = adapter.card
    _check_backbone(path, card)
    try:
        segmenter, method = build(
            card["backbone"]["id"],
            Method.from_dict(card["method"]).as_stored(),
            DecoderSettings.from_dict(card["decoder"]),
            inputs or Inputs.from_dict(card["inputs"]),
            len(card["classes"]),
            random_backbone=bool(card["backbone"].get("random")),
            seed=int(card["training"].get("seed", 0)),
        )
        restore(segmenter, method, adapter.adapter, adapter.decoder)
    except TilthError as error:
        if str(error).startswith("adapter "):
            raise damaged(path, str(error)) from error
        raise TilthError(f"{path}: {error}") from error
    segmenter.settle(method)
    return Model(segmenter.to(device).eval(), card)


class Models:
    """The model that was used last, kept so that the second map starts at once."""

    def __init__(self) -> None:
        self._key: tuple[Any, ...] | None = None
        self._model: Model | None = None

    def get(self, path: str, device: torch.device, inputs: Inputs | None = None) -> Model:
        """The model of an adapter file; read anew when the file or the inputs have changed.

        Raises TilthError where the adapter, or its backbone's weights, are not there to be read.
        """
        key = (str(Path(path).resolve()), *stamp(path), str(device), inputs)
        if self._model is None or key != self._key:
            self._model, self._key = load_model(path, device, inputs), key
        else:
            # The backbone's weights may have been replaced or removed meanwhile.
            _check_backbone(path, self._model.card)
        return self._model

    def forget(self) -> None:
        """Give the memory back."""
        self._model, self._key = None, None
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def predict(job: PredictJob, reporter: Reporter, models: Models | None = None) -> dict[str, Any]:
    """Run the job; returns the result as docs/design.md describes it.

    Raises TilthError for input that a person can mend, Cancelled, and OutOfMemoryError.
    """
    started = time.monotonic()
    devices.set_threads(job.threads)
    device = devices.choose(job.device)
    for path in filter(None, (job.out, job.confidence, job.probabilities)):
        check_output(path)
    reporter.progress(0.0, "Loading the adapter")
    card = read_card(job.adapter)
    wanted = [Band(band["name"], band["wavelength_nm"]) for band in card["bands"]]
    with contextlib.closing(
        open_matching(job.images, wanted, stack=job.stack, bands=job.bands)
    ) as image:
        for text in image.warnings:
            reporter.warn(text)
        inputs = _inputs(image, card, job.dates, reporter)
        model = (models or Models()).get(job.adapter, device, inputs)
        normalisation, warning = Normalisation.from_dict(model.card["normalisation"]).for_image(
            image
        )
        if warning:
            reporter.warn(warning)
        _warn_of_resolution(image, model.card, reporter)
        window = window_of(image, job.extent)
        with told_clearly(device, "this map", "choose the CPU"):
            pixels = _write(job, model, image, normalisation, window, device, reporter)
    return {
        "map": job.out,
        "confidence": job.confidence,
        "probabilities": job.probabilities,
        "classes": model.card["classes"],
        "name": model.card["name"],
        "pixels": pixels,
        "seconds": time.monotonic() - started,
        "warnings": reporter.warnings,
    }


def _inputs(image: Image, card: dict[str, Any], given: Sequence[str], reporter: Reporter) -> Inputs:
    """The adapter's inputs with the date and place of an image to map, where the model uses them.

    Raises TilthError where the model is of a series of dates, and the image is not.
    """
    trained = Inputs.from_dict(card["inputs"])
    known = catalogue.cards().get(card["backbone"]["id"])
    if known is None or not (known.time_location or known.several_dates > 1):
        return trained
    _, dates = image.times(given)
    if len(dates) not in (0, trained.frame_count):
        raise TilthError(
            f"{image.name}: it has {len(dates)} dates, and the adapter was trained on "
            f"{trained.frame_count}; stack as many"
        )
    if trained.frame_count > 1 and not dates:
        dates = trained.dates
        reporter.warn(
            f"{image.name}: its dates are not known, so they are taken to be those of the training "
            f"({', '.join(dates)}), in the order of its bands; stack files with dates in their "
            "names, or give the date of each"
        )
    place = location_of(image) if trained.time_location else None
    if trained.time_location and (not dates or place is None):
        what = "date" if not dates else "place"
        reporter.warn(f"{image.name}: its {what} is not known, so the backbone is not told it")
    return trained.for_image(dataclasses.replace(trained, dates=dates, location=place))


def window_of(image: Image, extent: Extent | None) -> Window:
    """The image's pixels that an extent touches. Raises TilthError where there are none."""
    whole = Window(0, 0, image.width, image.height)
    if extent is None:
        return whole
    box = (extent.xmin, extent.ymin, extent.xmax, extent.ymax)
    if extent.crs and image.crs is not None:
        try:
            box = rasterio.warp.transform_bounds(CRS.from_user_input(extent.crs), image.crs, *box)
        except (RasterioError, CRSError) as error:
            raise TilthError(
                f"extent: it can't be brought from {extent.crs!r} to the image's coordinate "
                f"system ({error})"
            ) from error
        if not all(map(math.isfinite, box)):
            raise TilthError(
                f"extent: it has no place in the coordinate system of {image.name}; choose one "
                "that touches the image"
            )
        if image.crs.is_geographic:
            box = _box_on_this_turn(box, image)
    inverse = ~image.transform
    corners = [apply(inverse, x, y) for x in (box[0], box[2]) for y in (box[1], box[3])]
    columns = sorted(float(x) for x, _ in corners)
    rows = sorted(float(y) for _, y in corners)
    left, top = max(int(np.floor(columns[0] + 1e-6)), 0), max(int(np.floor(rows[0] + 1e-6)), 0)
    right = min(int(np.ceil(columns[-1] - 1e-6)), image.width)
    bottom = min(int(np.ceil(rows[-1] - 1e-6)), image.height)
    if left >= right or top >= bottom:
        bounds = ", ".join(f"{value:.10g}" for value in image.bounds)
        raise TilthError(
            f"extent: it lies outside {image.name} ({bounds}); choose one that touches the image"
        )
    return Window(left, top, right - left, bottom - top)


def _box_on_this_turn(
    box: tuple[float, float, float, float], image: Image
) -> tuple[float, float, float, float]:
    """A box in degrees, moved by whole turns where the image counts them from elsewhere.

    Across 180 degrees it comes with its ends the wrong way round.
    """
    west, south, east, north = box
    east += 360 * (east < west)
    turned = 0.0
    if east < image.bounds[0] or west > image.bounds[2]:
        turned = float(turns((west + east) / 2, image.grid.middle))
    return west - turned, south, east - turned, north


def _write(
    job: PredictJob,
    model: Model,
    image: Image,
    normalisation: Normalisation,
    window: Window,
    device: torch.device,
    reporter: Reporter,
) -> int:
    """Map the window into the files of the job; returns the number of classified pixels."""
    card = model.card
    classes = card["classes"]
    codes = np.array([entry["code"] for entry in classes])
    mask = _mask(job, image, window) if job.mask else None
    transform = compose(image.transform, Affine.translation(window.col_off, window.row_off))
    grid = Grid(card["chip"], card["chip"] // 4)
    mapper = Mapper(
        model.segmenter,
        lambda part: normalisation.read(image, part),
        grid,
        len(classes),
        device,
        card["temperature"],
        lambda windows: reporter.info(
            f"the memory of {device} takes {windows} windows of the map at a time"
        ),
    )
    size = (int(window.width), int(window.height), image.crs, transform)
    tags = {"TILTH_ADAPTER": card["name"], "TILTH_BACKBONE": card["backbone"]["id"]}
    with contextlib.ExitStack() as stack:
        target = stack.enter_context(class_map(job.out, *size, classes, tags))
        confidence = probabilities = None
        if job.confidence:
            confidence = stack.enter_context(
                percent_raster(job.confidence, *size, ["confidence, percent"], tags)
            )
        if job.probabilities:
            names = [entry["name"] for entry in classes]
            probabilities = stack.enter_context(
                percent_raster(job.probabilities, *size, names, tags)
            )
        pixels, done = 0, 0.0
        area = int(window.width) * int(window.height)
        for block in blocks(window, len(classes), image.count):
            share = int(block.width) * int(block.height) / area
            chances, known = mapper.probabilities(
                block, _stepper(reporter, done, share), mask.inside if mask else None
            )
            here = Window(
                block.col_off - window.col_off, block.row_off - window.row_off,
                block.width, block.height,
            )  # fmt: skip
            winner = codes[chances.argmax(0)]
            target.write(np.where(known, winner, 0).astype(target.dtypes[0]), 1, window=here)
            if confidence is not None:
                top = np.where(known, np.round(chances.max(0) * 100), 255).astype(np.uint8)
                confidence.write(top, 1, window=here)
            if probabilities is not None:
                percent = np.where(known, np.round(chances * 100), 255).astype(np.uint8)
                probabilities.write(percent, window=here)
            pixels += int(known.sum())
            done += share
        reporter.progress(0.98, "Writing the map")
    if pixels == 0:
        reporter.warn(
            f"{image.name}: it has no data where it was to be mapped: the map is empty; check its "
            "nodata value, the extent and the mask"
        )
    return pixels


def _mask(job: PredictJob, image: Image, window: Window) -> Mask:
    """The job's mask. Raises TilthError where it leaves nothing of the window to map."""
    mask = Mask.open(job.mask, image)
    if not any(mask.inside(block).any() for block in blocks(window, 1, 1)):
        where = f"the extent on {image.name}" if job.extent else image.name
        raise TilthError(
            f"mask: no polygon of {job.mask} holds the centre of a pixel of {where}: nothing would "
            "be mapped; draw larger polygons, choose an extent that they lie in, or map without a "
            "mask"
        )
    return mask


def _stepper(reporter: Reporter, done: float, share: float):  # type: ignore[no-untyped-def]
    def step(part: float) -> None:
        total = done + share * part
        left = reporter.seconds * (1 - total) / total if total > 0.02 else None
        reporter.progress(0.02 + 0.95 * total, "Mapping", left)

    return step


def _check_backbone(path: str, card: dict[str, Any]) -> None:
    """Raise TilthError where this Tilth has not the backbone of an adapter, with its weights."""
    backbone_id = card["backbone"]["id"]
    if backbone_id == NO_BACKBONE:
        return
    try:
        backbone = catalogue.card_of(backbone_id)
    except TilthError as error:
        raise TilthError(
            f"{path}: needs the backbone {backbone_id!r}, which this Tilth does not have; "
            "update Tilth or use another adapter"
        ) from error
    random = bool(card["backbone"].get("random"))
    if not random:
        store.require(backbone)
    # Nobody has these weights on a disk: a stranger's small file would fill the memory.
    if (random or not store.needed(backbone)) and backbone.parameters > LARGEST_RANDOM:
        raise TilthError(
            f"{path}: made on a backbone of {backbone.parameters / 1e9:.1f} billion random "
            "weights, which would fill the memory; use another adapter"
        )
    wanted, here = card["backbone"]["sha256"], store.identity(backbone)
    if not random and wanted != here:
        own = "use the Tilth version that made it" if not store.needed(backbone) else "get those"
        raise TilthError(
            f"{path}: made with other weights of the backbone {backbone_id!r} (sha256 "
            f"{wanted[:12]}…) than are here ({here[:12]}…); {own}, or train again"
        )


def _warn_of_resolution(image: Image, card: dict[str, Any], reporter: Reporter) -> None:
    trained = card.get("resolution_m")
    if isinstance(trained, (int, float)) and sizes_differ(trained, image.resolution_m):
        reporter.warn(
            f"{image.name} has pixels of {image.resolution_m:.3g} m; the adapter was trained on "
            f"{trained:.3g} m: check the map with care"
        )
