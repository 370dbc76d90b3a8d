"""Train several choices on one split, and set them side by side.

Every run is the training that users run, in a process of its own for each choice: so its memory
is its own, and a choice that the system kills is a row of the table like any other.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .backbones.places import files_of
from .child import Child, ChildError
from .compare_job import Choice, CompareJob
from .compare_report import write_report
from .compare_table import Row, doubts, summaries
from .data.files import check_output, file_faults, stamp
from .data.unseen import THERE
from .data.vectors import check_layer
from .errors import TilthError
from .events import Reporter
from .jobs import FORESTS, TrainJob, to_json
from .version import VERSION

# What a forest takes of the time of others.
FOREST_SHARE = 0.1


def compare(job: CompareJob, reporter: Reporter) -> dict[str, Any]:
    """Run the job; returns the result as docs/design.md describes it.

    A choice that fails is a row with its reason. Raises TilthError where no choice can be trained
    or an output can't be written, and Cancelled; what had finished by then is kept.
    """
    # What no choice could be trained with is told once, and at once.
    if job.train.labels:
        check_layer(job.train.labels, job.train.class_field)
    with _folder(job) as folder:
        if job.report:
            check_output(job.report)
        return _Comparison(job, reporter, folder).run()


class _Comparison:
    """A comparison at work; ``folder`` is for what does not stay."""

    def __init__(self, job: CompareJob, reporter: Reporter, folder: Path) -> None:
        self.job = job
        self.reporter = reporter
        self.folder = folder
        self.rows: list[Row] = []
        self._file = Path(job.report).with_suffix(".rows.jsonl") if job.report else None
        self._kept = _read(self._file)
        self._sizes = [_size(job.run_of(choice, 0, "-")) for choice in job.choices]
        self._done = 0.0

    def run(self) -> dict[str, Any]:
        """Train what has not been trained yet, choice by choice."""
        self.reporter.progress(0.0, "Starting")
        for choice, size in zip(self.job.choices, self._sizes, strict=True):
            before = self._done
            self._take(choice, size)
            self._done = before + size * self.job.seeds
        if all(row["error"] for row in self.rows):
            raise TilthError(
                f"no choice could be trained; {self.rows[0]['choice']}: {self.rows[0]['error']}"
            )
        for line in doubts(self.rows, self.job.seeds):
            self.reporter.warn(line)
        result = self._result()
        self._write(result)
        self.reporter.progress(1.0, "Done")
        return result

    def _take(self, choice: Choice, size: float) -> None:
        """Have all seeds of a choice; the first failure is its last run."""
        jobs = [
            self.job.run_of(choice, number, str(self.folder / f"{choice.stem}-{number}.tilth"))
            for number in range(self.job.seeds)
        ]
        keys = [_key(run) for run in jobs]
        kept = self._kept if self._has_adapter(choice) else {}
        for key in keys:
            if key in kept:
                self.rows.append({**kept[key], "choice": choice.name})
                self._tell()
                self._done += size
        todo = [run for run, key in zip(jobs, keys, strict=True) if key not in kept]
        if not todo:
            return
        with Child(self.folder / "log.txt") as child:
            for run in todo:
                row = self._trained(child, choice, run, size)
                self._add(row)
                self._done += size
                if row["error"]:
                    return

    def _trained(self, child: Child, choice: Choice, run: TrainJob, size: float) -> Row:
        number = run.seed - self.job.train.seed + 1
        what = f"{choice.name}, seed {number} of {self.job.seeds}"
        warnings: list[str] = []

        def hear(event: dict[str, Any]) -> None:
            if event["event"] == "progress":
                self._progress(size * float(event["fraction"]), f"{what}: {event['message']}")
            elif event["event"] == "notice" and event["level"] == "warning":
                warnings.append(event["message"])
                # Of each run, that would be a line for what the table shows.
                if not event["message"].startswith(THERE):
                    self.reporter.warn(event["message"])

        try:
            result = child.run(to_json(run), hear, self.reporter.check)
        except ChildError as error:
            return _row(choice, run, error=str(error), warnings=warnings)
        row = _row_of(choice, run, result, warnings)
        return self._keep_adapter(choice, row)

    def _keep_adapter(self, choice: Choice, row: Row) -> Row:
        """Move the run's adapter to where it stays, if it is the best so far; else remove it."""
        adapter, target = Path(row["adapter"]), Path(self.job.out) / f"{choice.stem}.tilth"
        mine = [other for other in self.rows if other["choice"] == choice.name]
        best = max((other["score"] or 0.0 for other in mine), default=-1.0)
        if self.job.out and (row["score"] or 0.0) > best:
            with file_faults(target):
                adapter.replace(target)
        else:
            adapter.unlink(missing_ok=True)
        return {**row, "adapter": str(target) if self.job.out else ""}

    def _has_adapter(self, choice: Choice) -> bool:
        """Whether a finished choice has left what this job wants of it."""
        return not self.job.out or (Path(self.job.out) / f"{choice.stem}.tilth").is_file()

    def _add(self, row: Row) -> None:
        """Tell a run's row, and keep it where the run was a success."""
        self.rows.append(row)
        if self._file is not None and not row["error"]:
            with file_faults(self._file), self._file.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
        self._tell()
        self._write(self._result())

    def _tell(self) -> None:
        self.reporter.row(self.rows[-1], summaries(self.rows))

    def _progress(self, done: float, message: str) -> None:
        total = sum(self._sizes) * self.job.seeds
        share = (self._done + done) / total
        left = self.reporter.seconds * (1 - share) / share if share > 0.05 else None
        self.reporter.progress(min(share, 0.99), message, left)

    def _result(self) -> dict[str, Any]:
        held_out = next((row["held_out"] for row in self.rows if row["held_out"]), None)
        return {
            "report": self.job.report,
            "choices": summaries(self.rows),
            "rows": self.rows,
            "runs": len(self.job.choices) * self.job.seeds,
            "seeds": self.job.seeds,
            "minutes": self.job.train.minutes,
            "epochs": self.job.train.epochs,
            "held_out": held_out,
            "warnings": [*self.reporter.warnings],
        }

    def _write(self, result: dict[str, Any]) -> None:
        if self.job.report:
            write_report(self.job.report, result)


@contextlib.contextmanager
def _folder(job: CompareJob) -> Iterator[Path]:
    """A folder for what does not stay, on the disk of what does."""
    out = Path(job.out) if job.out else None
    if out is not None:
        with file_faults(out):
            out.mkdir(exist_ok=True)
    # A process that was killed may hold a file open for a moment on Windows.
    with tempfile.TemporaryDirectory(prefix=".tilth-", dir=out, ignore_cleanup_errors=True) as name:
        yield Path(name)


def _row_of(choice: Choice, run: TrainJob, result: dict[str, Any], warnings: list[str]) -> Row:
    score, training = result["score"] or {}, result["card"]["training"]
    return _row(
        choice,
        run,
        score=score.get("macro_f1"),
        region_score=(result["region_score"] or {}).get("macro_f1"),
        overall_accuracy=score.get("overall_accuracy"),
        mean_iou=score.get("mean_iou"),
        minutes=round(result["seconds"] / 60, 3),
        epochs=result["epochs"],
        device=training["device"],
        peak_mb=result["peak_mb"],
        adapter=result["adapter"],
        adapter_mb=round(Path(result["adapter"]).stat().st_size / 1e6, 3),
        parameters=training["trainable_parameters"],
        held_out=result["held_out"],
        warnings=warnings,
    )


def _row(choice: Choice, run: TrainJob, **values: Any) -> Row:
    """A row of the table: a run, as what it was and what came of it."""
    nothing = (
        *(
            "score",
            "region_score",
            "overall_accuracy",
            "mean_iou",
            "minutes",
            "epochs",
            "device",
            "peak_mb",
        ),
        *("adapter_mb", "parameters", "held_out"),
    )
    row: Row = {"choice": choice.name, "values": choice.values, "seed": run.seed}
    row.update(dict.fromkeys(nothing), adapter="", error="", warnings=[], key=_key(run))
    return {**row, **values}


def _key(run: TrainJob) -> str:
    """What must be the same for an earlier run to count: job, files, weights and version."""
    free = ("out", "name", "report", "work_folder", "styles")
    run = run.settled()
    values = {key: value for key, value in to_json(run).items() if key not in free}
    # Those that are part of Tilth are its version's.
    weights = [] if run.random_backbone else files_of(run.backbone)
    values["weights"] = [stamp(path) for path in weights]
    files = [*run.images, run.labels, run.labelled_area, run.label_raster]
    values["files"] = [stamp(name.split("|")[0]) for name in files if name]
    text = json.dumps([VERSION, values], sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:24]


def _size(run: TrainJob) -> float:
    return FOREST_SHARE if run.settled().decoder in FORESTS else 1.0


def _read(file: Path | None) -> dict[str, Row]:
    """The finished runs of an earlier call, by key, but a line that a kill has cut short."""
    if file is None or not file.is_file():
        return {}
    found: dict[str, Row] = {}
    with file_faults(file):
        text = file.read_text(encoding="utf-8", errors="replace")
        if text and not text.endswith("\n"):
            with file.open("a", encoding="utf-8") as end:
                end.write("\n")
    for line in text.splitlines():
        with contextlib.suppress(ValueError, KeyError, TypeError):
            row = json.loads(line)
            found[str(row["key"])] = row
    return found
