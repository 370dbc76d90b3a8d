"""From choices to tasks: what has to be prepared, in which folder, and what stays afterwards."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import time
import uuid
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence

from qgis.core import QgsCoordinateReferenceSystem, QgsFeedback, QgsRectangle
from qgis.PyQt.QtCore import QCoreApplication, pyqtSignal

from ..engine.compare_job import CompareJob
from ..engine.errors import TilthError
from ..engine.jobs import Extent, PlanJob, PredictJob, TrainJob
from ..environment.paths import home
from ..layers import extents, imagery, labels
from ..tasks.job import JobTask, Step
from ..worker.faults import WorkerError
from ..worker.pool import WorkerPool
from . import out_files
from .choices import LabelChoice

_DAYS_KEPT = 7
# What a comparison reads, which can be written again.
_COPIES = ("*.gpkg*", "*.tif*")


def _tr(text: str) -> str:
    return QCoreApplication.translate("Runs", text)


class LabelTask(JobTask):
    """A job about labels: speaks of the layers that the user knows, not of the files between."""

    names: Dict[str, str] = {}

    def work(self) -> object:
        """In the thread."""
        try:
            result = super().work()
        except WorkerError as error:
            raise WorkerError(error.kind, self.readable(error.message), error.log) from error
        if isinstance(result, dict) and isinstance(result.get("warnings"), list):
            result["warnings"] = [self.readable(str(text)) for text in result["warnings"]]
        return result

    def readable(self, message: str) -> str:
        """The message with layers' names in the place of our own files' paths, and the like."""
        for path, name in sorted(self.names.items(), key=lambda item: -len(item[0])):
            message = message.replace(path, name)
        return message

    def _hear(self, event: Dict[str, Any]) -> None:
        if event["event"] in ("notice", "progress"):
            event = {**event, "message": self.readable(str(event.get("message") or ""))}
        super()._hear(event)


class TrainTask(LabelTask):
    """A training, in a folder that stays only where the run can go on from it."""

    def __init__(
        self,
        pool: WorkerPool,
        job: TrainJob,
        steps: Sequence[Step],
        folder: Path,
        names: Dict[str, str],
    ) -> None:
        super().__init__(f"Training {job.name}", pool, job, steps, folder)
        self.folder = folder
        self.names = names

    def work(self) -> object:
        """In the thread."""
        for folder in _old(self.folder.parent, self.folder):
            shutil.rmtree(folder, ignore_errors=True)
        try:
            _make_folder(Path(self.job.out).parent)
            if not self.job.resume:
                self._reserve()
            result = super().work()
        except Exception:
            if self.isCanceled() or not self.can_resume():
                shutil.rmtree(self.folder, ignore_errors=True)
                out_files.release_adapter(Path(self.job.out))
            raise
        shutil.rmtree(self.folder, ignore_errors=True)
        return result

    def _reserve(self) -> None:
        """The name was free when it was chosen; by now another QGIS may train under it."""
        out = out_files.reserve_adapter(Path(self.job.out))
        self.job.out, self.job.report = str(out), str(out_files.report_of(out))

    def can_resume(self) -> bool:
        """Whether the run left a checkpoint, such as one that the disk was full for at last."""
        return (Path(self.job.work_folder) / "checkpoint.json").is_file()


class CompareTask(LabelTask):
    """A comparison, in a folder that keeps its report and what it can go on from."""

    compared = pyqtSignal(object)
    """How the choices stand after a training, as a list of dictionaries."""

    def __init__(
        self,
        pool: WorkerPool,
        job: CompareJob,
        steps: Sequence[Step],
        folder: Path,
        names: Dict[str, str],
    ) -> None:
        super().__init__("Comparing choices", pool, job, steps, folder)
        self.folder = folder
        self.names = names

    def work(self) -> object:
        """In the thread."""
        for folder in _old(self.folder.parent, self.folder):
            _keep_report(folder)
        return super().work()

    def _hear(self, event: Dict[str, Any]) -> None:
        if event["event"] == "row":
            self.compared.emit(event.get("choices") or [])
        super()._hear(event)


def training(pool: WorkerPool, choice: LabelChoice, options: TrainJob) -> TrainTask:
    """In the main thread: the task that trains on what is chosen. Raises TilthError."""
    folder = home() / "runs" / f"{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:6]}"
    job = dataclasses.replace(options, work_folder=str(folder / "checkpoint"))
    names: Dict[str, str] = {}
    return TrainTask(pool, job, _steps(choice, job, names), folder, names)


def resumed(pool: WorkerPool, task: TrainTask) -> TrainTask:
    """The task that goes on where ``task`` died; its labels are written already."""
    job = dataclasses.replace(task.job, resume=True)
    return TrainTask(pool, job, (), task.folder, task.names)


def comparing(
    pool: WorkerPool, choice: LabelChoice, job: CompareJob, titles: Dict[str, str]
) -> CompareTask:
    """In the main thread: the task that compares on what is chosen. ``titles`` are what choices
    with names that people don't read are called. Raises TilthError."""
    folder = home() / "comparisons" / f"{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:6]}"
    job = dataclasses.replace(job, report=str(folder / "comparison.html"))
    names = dict(titles)
    steps = [Step(step.message, _on_inner(step.act)) for step in _steps(choice, job.train, names)]
    return CompareTask(pool, job, steps, folder, names)


def compared_further(pool: WorkerPool, task: CompareTask) -> CompareTask:
    """The task that goes on where ``task`` ended; its labels are written already."""
    return CompareTask(pool, task.job, (), task.folder, task.names)


def planning(pool: WorkerPool, choice: LabelChoice, options: TrainJob) -> JobTask:
    """In the main thread: the task that looks at a training without running it."""
    names: Dict[str, str] = {}
    steps = [Step(step.message, _on_inner(step.act)) for step in _steps(choice, options, names)]
    task = LabelTask("Looking at the labels", pool, PlanJob(options), steps)
    task.names = names
    return task


def mapping(
    pool: WorkerPool,
    images: Sequence[Any],
    job: PredictJob,
    name: str,
    resolution: Optional[float] = None,
) -> JobTask:
    """In the main thread: the task that maps. ``resolution`` is the adapter's, in metres: images
    that have none of their own are read at it. Raises TilthError."""
    snapshot = imagery.snapshot(images, job.extent, resolution)
    return JobTask(f"Mapping with {name}", pool, job, [_image_step(snapshot)])


def _steps(choice: LabelChoice, job: TrainJob, names: Dict[str, str]) -> List[Step]:
    choice.check()
    reach = _reach(choice)
    if reach is None:
        _check_ends(choice)
    job.stack = choice.stack
    steps: List[Step] = []
    if choice.polygons and choice.layer is not None:
        layer, field = choice.layer, choice.class_field
        drawn = labels.snapshot(layer, field, choice.only_selected, images=choice.images)
        steps.append(_label_step(drawn, names))
        job.styles = labels.styles(layer, field)
        if choice.area is not None:
            area = labels.snapshot(choice.area, stem="labelled_area", images=choice.images)
            steps.append(_area_step(area, names))
    elif choice.raster is not None:
        steps.append(_raster_step(choice))
    steps.append(_image_step(imagery.snapshot(choice.images, reach)))
    return steps


def _reach(choice: LabelChoice) -> Optional[Extent]:
    """Where the labels are, with room around: as much of an image as has to be read where it is
    read through QGIS, such as one from a server, which may have no end. None for all others."""
    if len(choice.images) > 1 or not choice.polygons or not imagery.why_export(choice.images[0]):
        return None
    drawn = [(choice.layer, choice.only_selected), (choice.area, False)]
    extents_of = [labels.extent_of(layer, only) for layer, only in drawn if layer is not None]
    found = [extent for extent in extents_of if extent is not None]
    if not found:
        return None
    crs = QgsCoordinateReferenceSystem(found[0].crs)
    box = QgsRectangle()
    for extent in found:
        own = QgsCoordinateReferenceSystem(extent.crs)
        box.combineExtentWith(extents.to_crs(extents.rectangle_of(extent), own, crs))
    box.grow(0.2 * max(box.width(), box.height()))
    return Extent(box.xMinimum(), box.yMinimum(), box.xMaximum(), box.yMaximum(), crs=found[0].crs)


def _check_ends(choice: LabelChoice) -> None:
    """Raise TilthError where a layer would have to be read whole that has no end."""
    for layer in [*choice.images, *([] if choice.polygons else [choice.raster])]:
        if not imagery.has_end(layer):
            words = _tr(
                "The layer “{}” has no end, as it comes from a server: with polygons, and as the"
                " only image, it is read where they lie. Else save the part that you need (Export ▸"
                " Save As… in the layer's menu) and use that file."
            )
            raise TilthError(words.format(layer.name()))


def _label_step(snapshot: labels.LabelSnapshot, names: Dict[str, str]) -> Step:
    def act(job: TrainJob, folder: Path, feedback: QgsFeedback) -> List[str]:
        written = snapshot.write(folder, feedback)
        job.labels, job.class_field = written.path, written.class_field
        _remember(names, written.path, snapshot.name)
        return written.warnings

    return Step("Reading the labels", act)


def _area_step(snapshot: labels.LabelSnapshot, names: Dict[str, str]) -> Step:
    def act(job: TrainJob, folder: Path, feedback: QgsFeedback) -> List[str]:
        written = snapshot.write(folder, feedback)
        job.labelled_area = written.path
        _remember(names, written.path, snapshot.name)
        return written.warnings

    return Step("Reading the labelled area", act)


def _remember(names: Dict[str, str], path: str, name: str) -> None:
    names[path] = names[path.split("|")[0]] = f"“{name}”"


def _raster_step(choice: LabelChoice) -> Step:
    snapshot = imagery.snapshot([choice.raster])

    def act(job: TrainJob, folder: Path, feedback: QgsFeedback) -> List[str]:
        inner = folder / "label_raster"
        inner.mkdir(parents=True, exist_ok=True)
        job.label_raster = snapshot.files(inner, feedback)[0]
        return snapshot.warnings

    return Step("Reading the label raster", act)


def _image_step(snapshot: imagery.ImageSnapshot) -> Step:
    def act(job: Any, folder: Path, feedback: QgsFeedback) -> List[str]:
        job.images = snapshot.files(folder, feedback)
        return snapshot.warnings

    return Step("Reading the image", act)


def _on_inner(act: Callable[..., Any]) -> Callable[..., Any]:
    """Steps of a plan or a comparison complete the training that it is about."""
    return lambda job, folder, feedback: act(job.train, folder, feedback)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TilthError(
            f"out: the folder {folder} can't be made ({error.strerror}); save somewhere else"
        ) from error


def _old(parent: Path, mine: Path) -> List[Path]:
    """The folders of runs that nobody resumed for a week."""
    if not parent.is_dir():
        return []
    limit = time.time() - _DAYS_KEPT * 86400
    folders = [folder for folder in parent.iterdir() if folder != mine and folder.is_dir()]
    return [folder for folder in folders if folder.stat().st_mtime < limit]


def _keep_report(folder: Path) -> None:
    """Remove what a comparison read and worked with; its report stays."""
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        elif any(path.match(pattern) for pattern in _COPIES):
            # One that is in use stays for the next time.
            with contextlib.suppress(OSError):
                path.unlink()
    with contextlib.suppress(OSError):
        # Where there is no report, there is nothing left.
        folder.rmdir()
