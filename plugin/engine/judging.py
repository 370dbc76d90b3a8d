"""How good a trained network is: on the polygons held out near the others, and far from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from .calibration import temperature_of
from .data.unseen import THERE
from .evaluate import scores
from .training.samples import Chip
from .training.scoring import Scorer

# By how much the score may be lower in the unseen region before it is worth a warning.
GAP = 0.1
# A class is lost where its F1 is this good near, and this bad in the unseen region.
FOUND, LOST = 0.5, 0.1
# Polygons on a side below which a score is a hint at most.
FEW = 6


@dataclass(frozen=True)
class Judgement:
    """Scores as `evaluate.scores` has them (None: nothing was held out), and the temperature."""

    score: dict[str, Any] | None
    region_score: dict[str, Any] | None
    temperature: float
    warnings: list[str] = field(default_factory=list)


def judged(
    learner: Scorer,
    near: list[Chip],
    region: list[Chip],
    classes: Sequence[dict[str, Any]],
    held_out: dict[str, Any],
    usual: float = 1.0,
) -> Judgement:
    """Score the network on the chips held out near and on those of an unseen region.

    ``classes`` are the card's, ``held_out`` how many polygons there are on either side, as
    `prepare.held_out_entry` has it, and ``usual`` the temperature that the network has without
    them.
    """
    here, cool = _scored(learner, near, classes, near, usual)
    # Far from what was labelled doubt is right in any case.
    there, warm = _scored(learner, region, classes, (), usual)
    # The larger of the two. One fitted on all pixels would be that of the side with more of them,
    # and a network is surest where it has been: confidence would be too high just where nobody
    # looks. This way it is right far from the polygons, and rather too low near them.
    temperature = max(cool, warm)
    warnings = gap_warnings(here, there, held_out) if here and there else []
    return Judgement(here, there, temperature, warnings)


def _scored(
    learner: Scorer,
    chips: list[Chip],
    classes: Sequence[dict[str, Any]],
    sure: Sequence[Chip],
    usual: float,
) -> tuple[dict[str, Any] | None, float]:
    """Score and temperature on chips; None and the usual one where there are none. Where the
    temperature is to be told from chance, ``sure`` are the same chips (`temperature_of`)."""
    if not chips:
        return None, usual
    learner.held_out = chips
    confusion, _ = learner.validate()
    return scores(confusion, classes), temperature_of(learner.held_out_logits(), sure, usual)


def gap_warnings(near: dict[str, Any], far: dict[str, Any], held_out: dict[str, Any]) -> list[str]:
    """What to know where the score is worse in the unseen region than near the polygons.

    The two are compared over the classes that have pixels on both sides.
    """
    here, there = (
        {row["code"]: row for row in score["per_class"] if row["support"]} for score in (near, far)
    )
    pairs = [(row, there[code]) for code, row in here.items() if code in there]
    if not pairs:
        return []
    f1_near, f1_far = (sum(pair[side]["f1"] for pair in pairs) / len(pairs) for side in (0, 1))
    region, lines = held_out["region"], []
    where = f"{THERE} ({region['name']})"
    if f1_near - f1_far > GAP:
        shared = " (over the classes that both have)" if here.keys() != there.keys() else ""
        lines.append(
            f"{where} the score is {f1_far:.2f}, against {f1_near:.2f} near the polygons{shared}: "
            "the map is to be trusted less far from them; draw polygons there, too"
        )
    lost = [a["name"] for a, b in pairs if a["f1"] >= FOUND and b["f1"] < LOST]
    if lost:
        lines.append(f"{where} the map hardly finds: {', '.join(lost)}; draw polygons there, too")
    few = min(held_out["polygons"], region["polygons"])
    if few < FEW:
        lines.append(
            f"only {few} polygons are held out near or in the unseen region ({region['name']}): "
            "take the difference of the two scores as a hint"
        )
    return lines
