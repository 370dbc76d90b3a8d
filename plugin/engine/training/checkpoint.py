"""The checkpoint that a killed training goes on from: safetensors and JSON, one folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..data.files import atomic_path, file_faults
from .average import put
from .loop import Loop, Progress

STATE = "checkpoint.json"
TENSORS = "checkpoint-*.safetensors"


def save(folder: Path, loop: Loop, identity: dict[str, Any]) -> None:
    """Write all that ``resume`` needs. Raises TilthError when the folder can't be written."""
    tensors: dict[str, Tensor] = {}
    for name, parameter in loop.segmenter.named_parameters():
        if parameter.requires_grad:
            tensors[f"parameter/{name}"] = parameter.detach()
            for key, value in loop.optimizer.state.get(parameter, {}).items():
                tensors[f"optimizer/{key}/{name}"] = torch.as_tensor(value)
    tensors.update({f"fixed/{name}": value for name, value in _fixed(loop)})
    tensors.update({f"average/{name}": value for name, value in loop.average.values.items()})
    tensors.update({f"best/{name}": value for name, value in loop.best.items()})
    state = {
        "identity": identity,
        "progress": asdict(loop.progress),
        "average_steps": loop.average.steps,
    }
    with file_faults(folder):
        folder.mkdir(parents=True, exist_ok=True)
    # The state names the tensors that it belongs to, and the earlier ones go last: a kill at any
    # moment leaves a checkpoint that is whole.
    current = tensors_file(folder, loop.progress.epoch)
    with atomic_path(current) as beside:
        ready = {name: value.cpu().clone().contiguous() for name, value in tensors.items()}
        try:
            save_file(ready, beside)
        except SafetensorError as error:  # a full disk, by another name
            raise OSError(str(error)) from error
    with atomic_path(folder / STATE) as beside:
        beside.write_text(json.dumps(state), encoding="utf-8")
    for earlier in folder.glob(TENSORS):
        if earlier != current:
            earlier.unlink()


def tensors_file(folder: Path, epoch: int) -> Path:
    """Where the tensors of the checkpoint after so many epochs are."""
    return folder / TENSORS.replace("*", str(epoch))


def resume(folder: Path, loop: Loop, identity: dict[str, Any]) -> bool:
    """Put a run back to where its checkpoint is; False where there is none that fits."""
    try:
        state = json.loads((folder / STATE).read_text(encoding="utf-8"))
        progress = Progress(**state["progress"])
        if state["identity"] != identity:
            return False
        tensors = load_file(tensors_file(folder, int(progress.epoch)))
        _restore(loop, tensors, int(state["average_steps"]))
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError):
        return False
    loop.progress = progress
    return True


def _restore(loop: Loop, tensors: dict[str, Tensor], average_steps: int) -> None:
    parts: dict[str, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        kind, _, name = key.partition("/")
        parts.setdefault(kind, {})[name] = value
    names = set(loop.average.values)
    if not (set(parts["parameter"]) == set(parts["average"]) == set(parts["best"]) == names):
        raise ValueError("the checkpoint is of another network")
    for part in ("parameter", "average", "best"):
        if any(parts[part][name].shape != loop.average.values[name].shape for name in names):
            raise ValueError("the checkpoint is of a network of another size")
    fixed = dict(_fixed(loop))
    if {name: v.shape for name, v in parts.get("fixed", {}).items()} != {
        name: v.shape for name, v in fixed.items()
    }:
        raise ValueError("the checkpoint is of another decoder")
    for name, value in fixed.items():
        value.copy_(parts["fixed"][name])
    put(loop.segmenter, parts["parameter"])
    for name in names:
        loop.average.values[name].copy_(parts["average"][name])
        loop.best[name] = parts["best"][name].to(loop.device)
    loop.average.steps = average_steps
    _restore_optimizer(loop, parts.get("optimizer", {}))


def _fixed(loop: Loop) -> Iterator[tuple[str, Tensor]]:
    """What training finds out about the decoder's inputs, but does not learn."""
    return loop.segmenter.decoder.named_buffers()


def _restore_optimizer(loop: Loop, tensors: dict[str, Tensor]) -> None:
    for name, parameter in loop.segmenter.named_parameters():
        if not parameter.requires_grad:
            continue
        state = {
            key: tensors[f"{key}/{name}"]
            for key in ("step", "exp_avg", "exp_avg_sq")
            if f"{key}/{name}" in tensors
        }
        if state:
            moved = {
                key: value if key == "step" else value.to(parameter) for key, value in state.items()
            }
            loop.optimizer.state[parameter] = moved


def remove(folder: Path) -> None:
    """Take the checkpoint away; the folder too when nothing else is in it."""
    for path in (folder / STATE, *folder.glob(TENSORS)):
        path.unlink(missing_ok=True)
    if folder.is_dir() and not any(folder.iterdir()):
        shutil.rmtree(folder, ignore_errors=True)
