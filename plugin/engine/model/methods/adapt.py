"""How a frozen backbone is adapted by a method, and what of it is stored."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, TypeGuard

import torch
from peft import (
    PeftModel,
    get_peft_model,
    get_peft_model_state_dict,
    set_peft_model_state_dict,
)
from torch import Tensor, nn

from ...backbones.base import Backbone
from ...errors import TilthError
from . import kin, principal, prompts, targets, vit_adapter
from .method import PRINCIPAL, Method


def resolved(method: Method, backbone: Backbone) -> Method:
    """The method with this backbone's layers as its targets; none where it has no targets.

    Raises TilthError for targets that the backbone doesn't have.
    """
    if method.name not in kin.KIN:
        return method.with_targets(())
    return targets.resolved(method, backbone)


def apply(backbone: Backbone, method: Method, seed: int = 0) -> nn.Module:
    """The backbone made trainable as the method says; everything else in it is frozen.

    The backbone is changed in place; targets that the method leaves out are its usual ones. Raises
    TilthError where the method and the backbone don't go together.
    """
    backbone.requires_grad_(method.name == "full")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        if method.name in kin.KIN:
            return _with_peft(backbone, targets.resolved(method, backbone))
        if method.name == "vit-adapter":
            return vit_adapter.AdaptedViT(backbone)
        if method.name == "vpt":
            prompts.add(backbone, method.prompts, method.dropout)
        elif method.name == "bitfit":
            _free_biases(backbone)
    return backbone


def stored(backbone: nn.Module, method: Method) -> dict[str, Tensor]:
    """The tensors that the method changed, on the CPU, ready for safetensors.

    LoRA and its kin come in peft's own layout, so that peft alone can load them onto the backbone.
    """
    if method.name in PRINCIPAL:
        state = principal.stored(backbone)
    elif method.name in kin.KIN:
        state = get_peft_model_state_dict(backbone)
    elif method.name == "full":
        # A normalisation's count of batches is no weight: nothing uses it.
        state = {n: v for n, v in backbone.state_dict().items() if v.is_floating_point()}
    else:
        state = {n: value for n, value in backbone.named_parameters() if value.requires_grad}
    # Clones, since a view would be saved with the whole storage that it looks at.
    return {name: tensor.detach().cpu().clone().contiguous() for name, tensor in state.items()}


def restore(backbone: nn.Module, method: Method, tensors: dict[str, Tensor]) -> None:
    """Put stored tensors back. Raises TilthError when names or shapes are not the backbone's."""
    expected = stored(backbone, method)
    if set(expected) != set(tensors):
        odd = sorted(set(expected) ^ set(tensors))[0]
        raise TilthError(
            f"adapter weights: {odd[:100]!r} does not belong to this backbone and method"
        )
    for name, tensor in tensors.items():
        if tensor.shape != expected[name].shape:
            raise TilthError(
                f"adapter weights: {name!r} has shape {tuple(tensor.shape)}, "
                f"expected {tuple(expected[name].shape)}"
            )
    if method.name in PRINCIPAL:
        principal.restore(backbone, tensors)
    elif method.name in kin.KIN:
        set_peft_model_state_dict(backbone, tensors)
    else:
        backbone.load_state_dict(tensors, strict=False)


def merged(backbone: nn.Module, method: Method) -> nn.Module:
    """The backbone with the changes added into its weights, where the method allows it: as fast as
    the plain one."""
    return _without_peft(backbone, method, "merge_and_unload")


def taken_off(backbone: nn.Module, method: Method) -> nn.Module:
    """The backbone as it was before a method that `keeps_plain`."""
    return _without_peft(backbone, method, "unload")


def _without_peft(backbone: nn.Module, method: Method, how: str) -> nn.Module:
    """The backbone freed by a method of peft's models; itself where peft has no part in it."""
    if method.name not in kin.KIN:
        return backbone
    plain: nn.Module = getattr(backbone, how)()
    targets.fuse(plain)
    return plain


def keeps_plain(method: Method) -> bool:
    """Whether the backbone can still be asked what it said before the method changed it."""
    return method.name == "frozen" or (method.name in kin.KIN and method.name not in PRINCIPAL)


@contextlib.contextmanager
def unadapted(backbone: nn.Module) -> Iterator[None]:
    """Within the ``with`` block, the backbone computes as it did before a method that
    `keeps_plain`."""
    if is_added_to(backbone):
        with backbone.disable_adapter():
            yield
    else:
        yield


def is_added_to(backbone: nn.Module | None) -> TypeGuard[PeftModel]:
    """Whether a backbone has an adapter beside its own weights."""
    return isinstance(backbone, PeftModel)


def peft_config(method: Method) -> dict[str, Any]:
    """What peft writes as adapter_config.json, with sets as lists; empty for methods that are not
    peft's, and where no backbone is."""
    if method.name not in kin.KIN or not method.targets:
        return {}
    config = kin.configuration(method.as_stored()).to_dict()
    return {key: sorted(item) if isinstance(item, set) else item for key, item in config.items()}


def trainable_names(module: nn.Module) -> Sequence[str]:
    """The names of the parameters that training changes."""
    return [name for name, parameter in module.named_parameters() if parameter.requires_grad]


def trainable_parameters(module: nn.Module | None) -> int:
    """How many numbers training changes."""
    parameters = () if module is None else module.parameters()
    return sum(parameter.numel() for parameter in parameters if parameter.requires_grad)


def _with_peft(backbone: Backbone, method: Method) -> nn.Module:
    kin.check(method, backbone)
    targets.open_shortcuts(backbone)
    targets.split(backbone, method.targets)
    model: nn.Module = get_peft_model(backbone, kin.configuration(method))
    if method.name in PRINCIPAL:
        principal.begin(model)
    return model


def _free_biases(backbone: Backbone) -> None:
    """Ben Zaken et al. 2021 (arXiv 2106.10199)."""
    biases = [
        parameter
        for name, parameter in backbone.named_parameters()
        if name.rpartition(".")[2] == "bias" or name.endswith("_bias")
    ]
    if not biases:
        raise TilthError(
            f"method bitfit: backbone {backbone.card.id!r} has no biases; choose another method"
        )
    for bias in biases:
        bias.requires_grad_(True)
