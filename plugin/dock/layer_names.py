"""The layers of a backbone's blocks that a method can adapt, by what they do."""

from __future__ import annotations

from typing import Any, Dict, List, Tuple

NAMES = ("q", "k", "v", "proj", "fc1", "fc2")
# Layers that do the work of several.
FUSED: Dict[str, Tuple[str, ...]] = {"qkv": ("q", "k", "v"), "kv": ("k", "v")}


def layers_of(card: Dict[str, Any]) -> List[str]:
    """Which of NAMES a backbone's card has, in their order; none for a CNN."""
    found = set()
    for target in card.get("lora_targets") or []:
        last = str(target).rpartition(".")[2].replace("to_", "", 1).partition("_")[0]
        found.update(FUSED.get(last, (last,)))
    return [name for name in NAMES if name in found]


def as_targets(ticked: List[str], card: Dict[str, Any]) -> List[str]:
    """What a job says for the ticked layers that the backbone has: a layer that does the work of
    all of q, k and v stays whole where all of them are ticked."""
    there = [name for name in layers_of(card) if name in ticked]
    fused = any(str(target).endswith("qkv") for target in card.get("lora_targets") or [])
    if fused and there[:3] == ["q", "k", "v"]:
        return ["qkv", *there[3:]]
    return there
