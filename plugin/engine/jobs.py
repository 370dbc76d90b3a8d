"""What a job says: dataclasses, checked, to and from JSON.

One of the two modules that both halves of Tilth read (the other is protocol.py). Standard
library only, Python 3.9 syntax.
"""

from __future__ import annotations

import dataclasses
import math
import os
from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional, Tuple, Type

from .compare_job import Choice, CompareJob
from .errors import TilthError
from .job_reading import Nested, build
from .method_list import BASELINES, METHODS
from .weight_jobs import AddJob, FetchJob, RemoveJob

DECODERS = ("slim", "linear", "fcn", "unet", "upernet")
FORESTS = ("forest", "forest-neighbourhood")
NORMALISATIONS = ("auto", "image", "card")
PRECISIONS = ("auto", "float32", "bfloat16", "float16", "int8", "nf4")
# What is held out, and what it is called where people choose.
SPLITS = {
    "polygons": "Held-out polygons",
    "blocks": "Held-out blocks",
    "regions": "An unseen region",
    "none": "Nothing",
}
DEVICES = ("auto", "cpu", "cuda", "mps")
MAX_THREADS = 1024
MAX_BATCH = 1024
MAX_CHANNELS = 2048
# The id of no backbone at all: the decoder sees the image alone.
NO_BACKBONE = "none"
MIN_ZOOM, MAX_ZOOM = 0.25, 16
MAX_SEED = 2**32 - 1
# Those entries of a TrainJob that a method has; methods that are not here have none of them.
METHOD_SETTINGS: Dict[str, Tuple[str, ...]] = {
    **dict.fromkeys(
        ("lora", "dora", "rslora", "pissa", "olora", "loha", "lokr", "gralora"),
        ("rank", "alpha", "dropout", "targets"),
    ),
    **dict.fromkeys(("hira", "delora", "miss", "vera", "oft"), ("rank", "dropout", "targets")),
    "ia3": ("targets",),
    "vpt": ("dropout", "prompts"),
}


@dataclass
class ClassStyle:
    """How a class looks in the label layer: the value of the class field, its name and colour.

    ``value`` is the field's value as text, ``colour`` is ``#rrggbb``.
    """

    value: str
    name: str
    colour: str


@dataclass
class Extent:
    """A rectangle in the coordinates of ``crs`` (any text that PROJ reads, EPSG:4326 or WKT)."""

    xmin: float
    ymin: float
    xmax: float
    ymax: float
    crs: str = ""


@dataclass
class TrainJob:
    """Fine-tune a backbone on labels; leaves an adapter file.

    ``images`` are several scenes with the same bands or, with ``stack``, files that hold the
    bands of one scene. ``labels`` and ``labelled_area`` are vector files, optionally followed by
    ``|layername=NAME``. Exactly one of ``labels`` and ``label_raster`` is given. ``bands`` are
    the 1-based bands of the (stacked) image to use; empty means all. ``epochs`` and ``minutes``
    bound the training, whichever ends first; without either, the engine chooses. ``work_folder``
    keeps the checkpoint that a killed run goes on from when ``resume`` is true.

    ``rank``, ``alpha``, ``dropout`` and ``targets`` (q, k, v, qkv, proj, fc1, fc2, or a layer's own
    name) concern the methods that have them, ``prompts`` prompt tuning; what is left out is the
    method's usual. ``image_branch`` gives a decoder Tilth's branch at full resolution,
    ``decoder_channels`` are those of fcn, unet and upernet (0: as in the paper).
    ``normalisation`` is by the backbone's card or by the image's own statistics. ``matching`` names
    for each band of the image the backbone's band that it is, "" for one that the backbone doesn't
    see, "+" for one that it takes in though it is none of its own; empty means that Tilth finds
    out. ``dates`` are ISO dates, one for each date in a stack; with
    ``time_location`` a backbone that can be told date and place is told them. ``zoom`` enlarges
    the image for the backbone (0: Tilth chooses), ``batch`` is the chips in a step (0: as many as
    serve and fit). ``precision`` is that of the frozen weights; ``checkpointing`` trades time for
    memory. ``split_seed`` draws the held-out polygons (None: ``seed`` does).
    """

    kind = "train"

    images: List[str]
    out: str
    labels: str = ""
    class_field: str = ""
    stack: bool = False
    labelled_area: str = ""
    label_raster: str = ""
    backbone: str = "embedded"
    method: str = "lora"
    decoder: str = "slim"
    rank: Optional[int] = None
    alpha: Optional[int] = None
    dropout: Optional[float] = None
    targets: List[str] = field(default_factory=list)
    prompts: int = 100
    image_branch: bool = True
    decoder_channels: int = 0
    normalisation: str = "auto"
    matching: List[str] = field(default_factory=list)
    dates: List[str] = field(default_factory=list)
    time_location: bool = False
    zoom: float = 0.0
    batch: int = 0
    precision: str = "auto"
    checkpointing: bool = False
    epochs: Optional[int] = None
    minutes: Optional[float] = None
    bands: List[int] = field(default_factory=list)
    split: str = "polygons"
    continue_from: str = ""
    styles: List[ClassStyle] = field(default_factory=list)
    name: str = ""
    report: str = ""
    work_folder: str = ""
    resume: bool = False
    random_backbone: bool = False
    device: str = "auto"
    threads: int = 0
    seed: int = 0
    split_seed: Optional[int] = None

    def settled(self) -> TrainJob:
        """The job with a baseline spelt out as what it comes to; itself where it is none."""
        if self.method not in BASELINES:
            return self
        baseline = BASELINES[self.method]
        return dataclasses.replace(
            self,
            backbone=baseline.backbone,
            method=baseline.method,
            decoder=baseline.decoder,
            image_branch=baseline.decoder == "slim",
            random_backbone=baseline.backbone != NO_BACKBONE,
            matching=[],
        )

    def check(self) -> None:
        """Raise TilthError where the job contradicts itself."""
        _need(self.images, "images", "pick at least one image")
        _need(self.out, "out", "name the adapter file to write")
        if bool(self.labels) == bool(self.label_raster):
            raise TilthError("labels: give either label polygons or a label raster, and only one")
        if self.labels and not self.class_field:
            raise TilthError("class_field: name the field of the label polygons that has the class")
        _one_of(self.method, (*METHODS, *BASELINES), "method")
        if self.method in BASELINES:
            self.settled().check()
            return
        if self.backbone == NO_BACKBONE and METHODS[self.method].rate > 0:
            raise TilthError(
                f"method: {self.method} adapts a backbone, and there is none; choose frozen"
            )
        _one_of(self.decoder, (*DECODERS, *FORESTS), "decoder")
        _one_of(self.split, SPLITS, "split")
        _one_of(self.normalisation, NORMALISATIONS, "normalisation")
        _one_of(self.precision, PRECISIONS, "precision")
        if not 0 <= self.decoder_channels <= MAX_CHANNELS:
            raise TilthError(
                f"decoder_channels: {self.decoder_channels} is not in 0..{MAX_CHANNELS}; give 0 "
                "for the paper's"
            )
        if not 0 <= self.batch <= MAX_BATCH:
            raise TilthError(f"batch: {self.batch} is not in 0..{MAX_BATCH}; 0 lets Tilth choose")
        if self.decoder == "slim" and not self.image_branch and self.method != "probe":
            raise TilthError(
                "image_branch: the slim decoder is made of it; choose another to train without"
            )
        if self.epochs is not None and self.epochs < 1:
            raise TilthError(f"epochs: {self.epochs} is too few; give 1 or more")
        if self.minutes is not None and not 0 < self.minutes < math.inf:
            raise TilthError(f"minutes: {self.minutes} makes no sense; give more than 0")
        if self.zoom != 0 and not MIN_ZOOM <= self.zoom <= MAX_ZOOM:
            raise TilthError(
                f"zoom: {self.zoom} is not in {MIN_ZOOM}..{MAX_ZOOM}; give 0 to let Tilth choose"
            )
        if any(band < 1 for band in self.bands):
            raise TilthError("bands: they are counted from 1")
        inputs = [*self.images, self.labels, self.labelled_area, self.label_raster]
        _keep_apart({"out": self.out, "report": self.report}, inputs)
        _check_run(self.device, self.threads, self.seed)
        if self.split_seed is not None:
            _check_run(self.device, self.threads, self.split_seed)


@dataclass
class PlanJob:
    """Look at a training job without running it: its classes, device, warnings and duration."""

    kind = "plan"

    train: TrainJob

    def check(self) -> None:
        """Raise TilthError where the job contradicts itself."""
        self.train.check()


@dataclass
class PredictJob:
    """Map an image with an adapter; leaves a classified GeoTIFF.

    ``extent`` restricts the map to a rectangle, ``mask`` (a vector file) to polygons.
    ``confidence`` and ``probabilities`` are further rasters to write, where named. ``dates`` are
    those of the image (see TrainJob), for a backbone that is told them.
    """

    kind = "predict"

    adapter: str
    images: List[str]
    out: str
    stack: bool = False
    bands: List[int] = field(default_factory=list)
    dates: List[str] = field(default_factory=list)
    extent: Optional[Extent] = None
    mask: str = ""
    confidence: str = ""
    probabilities: str = ""
    device: str = "auto"
    threads: int = 0
    seed: int = 0

    def check(self) -> None:
        """Raise TilthError where the job contradicts itself."""
        _need(self.adapter, "adapter", "pick an adapter file")
        _need(self.images, "images", "pick an image to map")
        _need(self.out, "out", "name the map to write")
        if len(self.images) > 1 and not self.stack:
            raise TilthError("images: map one image at a time, or stack the files of one scene")
        box = self.extent
        if box is not None:
            if not all(map(math.isfinite, (box.xmin, box.ymin, box.xmax, box.ymax))):
                raise TilthError("extent: it is endless; give four finite numbers")
            if not (box.xmin < box.xmax and box.ymin < box.ymax):
                raise TilthError("extent: it is empty; xmin must be below xmax, ymin below ymax")
        outputs = {
            "out": self.out,
            "confidence": self.confidence,
            "probabilities": self.probabilities,
        }
        _keep_apart(outputs, [*self.images, self.adapter, self.mask])
        _check_run(self.device, self.threads, self.seed)


@dataclass
class EvaluateJob:
    """Score a map against reference polygons or a reference raster."""

    kind = "evaluate"

    map: str
    reference: str
    class_field: str = ""
    out: str = ""

    def check(self) -> None:
        """Raise TilthError where the job contradicts itself."""
        _need(self.map, "map", "pick the map to score")
        _need(self.reference, "reference", "pick reference polygons or a reference raster")
        _keep_apart({"out": self.out}, [self.map, self.reference])


@dataclass
class InspectJob:
    """Read an adapter's card and verify the file."""

    kind = "inspect"

    adapter: str

    def check(self) -> None:
        """Raise TilthError where the job contradicts itself."""
        _need(self.adapter, "adapter", "pick an adapter file")


@dataclass
class DescribeJob:
    """Tell what this engine has: versions, devices, backbones.

    ``also`` are further backbones than the catalogue's, such as ``timm:NAME``.
    """

    kind = "describe"

    also: List[str] = field(default_factory=list)

    def check(self) -> None:
        """Nothing can be wrong with it."""


JOBS: Dict[str, Type[Any]] = {
    cls.kind: cls
    for cls in (
        *(TrainJob, PlanJob, CompareJob, PredictJob, EvaluateJob, InspectJob, DescribeJob),
        *(FetchJob, AddJob, RemoveJob),
    )
}


def to_json(job: Any) -> Dict[str, Any]:
    """The job as a dictionary that JSON can hold, with its kind."""
    return {"kind": job.kind, **dataclasses.asdict(job)}


def from_json(data: Any) -> Any:
    """The job that a dictionary describes, checked.

    Raises TilthError on an unknown kind, unknown or missing entries, wrong types, or a job that
    contradicts itself.
    """
    if not isinstance(data, dict):
        raise TilthError("job: a JSON object is expected")
    values = dict(data)
    kind = values.pop("kind", None)
    if not isinstance(kind, str) or kind not in JOBS:
        raise TilthError(f"job: unknown kind {kind!r}; known are {', '.join(sorted(JOBS))}")
    job = build(JOBS[kind], values, kind, _NESTED)
    job.check()
    return job


_NESTED: Nested = {
    "TrainJob": TrainJob,
    "Optional[Extent]": Extent,
    "List[ClassStyle]": ClassStyle,
    "List[Choice]": Choice,
}


def _need(value: Any, name: str, advice: str) -> None:
    if not value:
        raise TilthError(f"{name}: nothing given; {advice}")


def _one_of(value: str, allowed: Any, name: str) -> None:
    if value not in allowed:
        raise TilthError(f"{name}: {value!r} is not known; choose one of {', '.join(allowed)}")


def _keep_apart(outputs: Dict[str, str], inputs: List[str]) -> None:
    """No output may be written over an input or over another output."""
    taken = {_place(source.split("|")[0]): "an input" for source in inputs if source}
    for name, path in outputs.items():
        if not path:
            continue
        place = _place(path)
        if place in taken:
            raise TilthError(f"{name}: {path} is also {taken[place]}; choose another file")
        taken[place] = f"the file of {name!r}"


def _place(path: str) -> str:
    return os.path.normcase(os.path.realpath(path))


def _check_run(device: str, threads: int, seed: int) -> None:
    number = device[5:]
    if device not in DEVICES and not (
        device.startswith("cuda:") and number.isascii() and number.isdigit()
    ):
        raise TilthError(f"device: {device!r} is not known; choose auto, cpu, cuda, cuda:N or mps")
    if not 0 <= threads <= MAX_THREADS:
        raise TilthError(
            f"threads: {threads} is not in 0..{MAX_THREADS}; give 0 to let Tilth choose"
        )
    if not 0 <= seed <= MAX_SEED:
        raise TilthError(f"seed: {seed} is not in 0..{MAX_SEED}; choose another")
