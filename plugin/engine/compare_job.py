"""The job that compares: several choices trained on one split.

Read by both halves of Tilth, as jobs.py is. Standard library only, Python 3.9 syntax.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, List

from .errors import TilthError
from .job_reading import entry

if TYPE_CHECKING:
    from .jobs import TrainJob

# Of a training, what a comparison may be about.
VARIED = (
    *("backbone", "method", "decoder", "rank", "alpha", "dropout", "targets", "prompts"),
    *("image_branch", "normalisation", "matching", "time_location", "zoom", "batch", "precision"),
    *("checkpointing", "random_backbone"),
)
MAX_SEEDS = 20
REPORTS = (".html", ".json", ".csv")


@dataclass
class Choice:
    """One of what is compared: its name, and the entries of the training that are its own."""

    name: str
    values: Dict[str, Any] = field(default_factory=dict)

    @property
    def stem(self) -> str:
        """The name as the stem of a file."""
        return re.sub(r"[^A-Za-z0-9._-]+", "-", self.name).strip("-.") or "choice"


@dataclass
class CompareJob:
    """Train several choices on one split, each with several seeds, and set them side by side.

    ``train`` is what all have in common; its seed draws the held-out polygons and is the first of
    the ``seeds`` that trainings start from. ``out`` is a folder in which the adapter of each
    choice's best seed is kept; without one none is. ``report`` is an .html, .json or .csv file;
    beside it, in a file that ends in .rows.jsonl, is what a second call goes on from.
    """

    kind = "compare"

    train: TrainJob
    choices: List[Choice]
    seeds: int = 3
    out: str = ""
    report: str = ""

    def check(self) -> None:
        """Raise TilthError where the job contradicts itself."""
        if not 1 <= len(self.choices) <= 100:
            raise TilthError("choices: give 1 to 100 of them")
        if not 1 <= self.seeds <= MAX_SEEDS:
            raise TilthError(f"seeds: {self.seeds} is not in 1..{MAX_SEEDS}; choose another")
        if self.train.split == "none":
            raise TilthError("split: nothing would be held out to compare on; choose polygons")
        if self.train.continue_from or self.train.resume:
            raise TilthError("train: a comparison starts anew; leave out continue_from and resume")
        if self.report and not self.report.lower().endswith(REPORTS):
            raise TilthError(f"report: {self.report} is none of {', '.join(REPORTS)}")
        stems = [choice.stem.lower() for choice in self.choices]
        for choice in self.choices:
            if stems.count(choice.stem.lower()) > 1:
                raise TilthError(f"choices: {choice.name!r} is there twice; name one differently")
            self._check_choice(choice)

    def run_of(self, choice: Choice, number: int, out: str) -> TrainJob:
        """The training of a choice with the seed of a number (from 0), which writes `out`."""
        base = self.train
        return dataclasses.replace(
            base,
            **choice.values,
            out=out,
            name=choice.name,
            report="",
            work_folder="",
            seed=base.seed + number,
            split_seed=base.seed if base.split_seed is None else base.split_seed,
        )

    def _check_choice(self, choice: Choice) -> None:
        known = {item.name: item for item in dataclasses.fields(self.train)}
        for name, value in choice.values.items():
            if name not in VARIED:
                raise TilthError(
                    f"choice {choice.name!r}: {name!r} can't be compared; known are "
                    f"{', '.join(VARIED)}"
                )
            entry(known[name], value, f"choice {choice.name!r}", {})
        out = str(Path(self.out, f"{choice.stem}.tilth"))
        try:
            self.run_of(choice, self.seeds - 1, out).check()
        except TilthError as error:
            raise TilthError(f"choice {choice.name!r}: {error}") from error
