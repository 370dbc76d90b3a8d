"""PiSSA and OLoRA: adapters that start from the weights themselves, and how they are stored.

Their start takes a part out of the frozen weight: W = R + s B0 A0, and training moves B and A. What
a file holds is the change of W, s (B A - B0 A0), as a plain LoRA of twice the rank: nobody has to
decompose a weight again, which on another machine would come out another way.
"""

from __future__ import annotations

from typing import Any

import torch
from peft import get_peft_model_state_dict, set_peft_model_state_dict
from torch import Tensor

_A, _B = ".lora_A.weight", ".lora_B.weight"


def begin(model: Any) -> None:
    """Keep the start of a fresh model's adapters in `model.start`, for `stored` and `restore`.

    The start is rounded to half precision, in which files are written: a rounding there would be
    one of the weights' largest part.
    """
    model.start = {
        name: value.detach().cpu().clone()
        for name, value in get_peft_model_state_dict(model).items()
    }
    rounded = {name: value.half().float() for name, value in model.start.items()}
    if all(bool(value.isfinite().all()) for value in rounded.values()):
        _move(model, rounded)
        set_peft_model_state_dict(model, rounded)


def stored(model: Any) -> dict[str, Tensor]:
    """The change to the weights as a LoRA of twice the rank: A [2r, in], B [out, 2r]."""
    found = {}
    for name, value in get_peft_model_state_dict(model).items():
        now, before = value.detach().cpu(), model.start[name]
        if name.endswith(_A):
            found[name] = torch.cat([now, before])
        else:
            found[name] = torch.cat([now, -before], dim=1)
    return found


def restore(model: Any, tensors: dict[str, Tensor]) -> None:
    """Put `stored` tensors back: the model goes on from their start, not from its own."""
    now, start = {}, {}
    for name, value in tensors.items():
        first, second = value.chunk(2, 0 if name.endswith(_A) else 1)
        now[name] = first.contiguous()
        start[name] = second.clone() if name.endswith(_A) else -second
    _move(model, start)
    set_peft_model_state_dict(model, now)


@torch.no_grad()
def _move(model: Any, start: dict[str, Tensor]) -> None:
    """Let the frozen weights be what another start leaves of them."""
    for path in (name[: -len(_A)] for name in start if name.endswith(_A)):
        layer = model.get_submodule(path)
        weight = layer.get_base_layer().weight
        own, theirs = (
            (values[path + _B].float() @ values[path + _A].float()).to(weight)
            for values in (model.start, start)
        )
        weight += layer.scaling["default"] * (own - theirs)
    model.start = start
