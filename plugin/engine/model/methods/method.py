"""What a method is: its name and settings, and how they stand on an adapter's card."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from ...errors import TilthError
from ...jobs import TrainJob
from ...method_list import METHODS

MAX_RANK = 256
MAX_ALPHA = 10_000
MAX_PROMPTS = 1000
MAX_TARGETS = 64
MAX_DROPOUT = 0.9
# Those that start from the weights themselves and are stored as a plain LoRA of twice the rank.
PRINCIPAL = ("pissa", "olora")


@dataclass(frozen=True)
class Method:
    """A way to adapt a backbone.

    `rank`, `alpha`, `dropout` and `targets` (suffixes of the names of the layers that are adapted)
    concern LoRA and its kin, as far as each has them; `prompts` (tokens in a block) and `dropout`
    concern prompt tuning. Made with `of` or `from_dict`, its values are ones that can be honoured.
    """

    name: str = "lora"
    rank: int = 16
    alpha: int = 16
    targets: tuple[str, ...] = ()
    dropout: float = 0.0
    prompts: int = 100

    def to_dict(self) -> dict[str, Any]:
        """The method as JSON holds it."""
        return {**asdict(self), "targets": list(self.targets)}

    @staticmethod
    def from_dict(data: dict[str, Any]) -> Method:
        """The method that a card describes. Raises TilthError when it makes no sense."""
        try:
            method = Method(
                str(data["name"]),
                int(data["rank"]),
                int(data["alpha"]),
                tuple(data["targets"]),
                float(data.get("dropout", 0.0)),
                int(data.get("prompts", 100)),
            )
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
            raise TilthError("adapter card: the method is damaged") from error
        if method.name not in METHODS:
            raise TilthError(f"adapter card: the method {method.name[:50]!r} is not known")
        problem = _problem(method)
        if problem:
            raise TilthError(f"adapter card: the method's {problem}")
        return method

    @staticmethod
    def of(job: TrainJob) -> Method:
        """What a job asks for, with the method's usual settings where it doesn't say.

        Alpha follows the rank: a scale of 1. Raises TilthError for settings that make no sense.
        """
        about = METHODS[job.method]
        rank = job.rank if about.rank and job.rank is not None else about.rank or 16
        method = Method(
            job.method,
            rank,
            rank if job.alpha is None else job.alpha,
            tuple(job.targets),
            about.dropout if job.dropout is None else float(job.dropout),
            job.prompts,
        )
        problem = _problem(method)
        if problem:
            raise TilthError(f"method {job.method}: its {problem}")
        return method

    def as_stored(self) -> Method:
        """The method whose tensors an adapter file of this one holds: another for PiSSA alone.

        What starts from the weights themselves leaves the difference to them as a LoRA of twice the
        rank: nothing has to be decomposed anew, and peft alone can load it.
        """
        if self.name not in PRINCIPAL:
            return self
        return replace(self, name="lora", rank=2 * self.rank, alpha=2 * self.alpha)

    def with_targets(self, targets: Sequence[str]) -> Method:
        """The same method on other layers."""
        return replace(self, targets=tuple(targets))


def _problem(method: Method) -> str:
    """What is wrong with a method's settings; empty where nothing is."""
    if not 1 <= method.rank <= MAX_RANK:
        return f"rank is not in 1..{MAX_RANK}"
    if not 0 < method.alpha <= MAX_ALPHA:
        return f"alpha is not in 1..{MAX_ALPHA}"
    if not (math.isfinite(method.dropout) and 0 <= method.dropout <= MAX_DROPOUT):
        return f"dropout is not in 0..{MAX_DROPOUT}"
    if not 1 <= method.prompts <= MAX_PROMPTS:
        return f"number of prompts is not in 1..{MAX_PROMPTS}"
    if len(method.targets) > MAX_TARGETS or not all(
        isinstance(target, str) and 0 < len(target) <= 100 for target in method.targets
    ):
        return "targets make no sense"
    return ""
