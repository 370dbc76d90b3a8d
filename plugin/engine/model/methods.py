"""Methods: how the frozen backbone is adapted, and what of it is stored.

LoRA: Hu et al. 2021 (arXiv 2106.09685), through peft.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from torch import Tensor, nn

from ..errors import TilthError

MAX_RANK = 256
MAX_ALPHA = 10_000


@dataclass(frozen=True)
class Method:
    """A way to adapt a backbone. ``rank``, ``alpha`` and ``targets`` concern LoRA alone."""

    name: str = "lora"
    rank: int = 16
    alpha: int = 16
    targets: tuple[str, ...] = field(default=())

    def to_dict(self) -> dict[str, Any]:
        """The method as JSON holds it."""
        return {**asdict(self), "targets": list(self.targets)}

    @staticmethod
    def from_dict(data: dict[str, Any]) -> Method:
        """The method that a card describes. Raises TilthError when it makes no sense."""
        try:
            method = Method(
                str(data["name"]), int(data["rank"]), int(data["alpha"]), tuple(data["targets"])
            )
        except (KeyError, OverflowError, TypeError, ValueError) as error:
            raise TilthError("adapter card: the method is damaged") from error
        if method.name not in ("lora", "frozen", "full"):
            raise TilthError(f"adapter card: the method {method.name[:50]!r} is not known")
        if not 1 <= method.rank <= MAX_RANK or not 0 < method.alpha <= MAX_ALPHA:
            raise TilthError("adapter card: the method's rank or alpha makes no sense")
        if not all(isinstance(target, str) for target in method.targets):
            raise TilthError("adapter card: the method's targets make no sense")
        return method


def apply(backbone: nn.Module, method: Method, seed: int = 0) -> nn.Module:
    """The backbone made trainable as the method says; everything else in it is frozen.

    The backbone is changed in place. Raises ValueError when LoRA finds none of its targets.
    """
    backbone.requires_grad_(method.name == "full")
    if method.name != "lora":
        return backbone
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return get_peft_model(backbone, _lora_config(method))


def stored(backbone: nn.Module, method: Method) -> dict[str, Tensor]:
    """The tensors that the method changed, on the CPU, ready for safetensors.

    LoRA comes in peft's own layout, so that peft alone can load it onto the plain backbone.
    """
    if method.name == "lora":
        state = get_peft_model_state_dict(backbone)
    elif method.name == "full":
        state = backbone.state_dict()
    else:
        state = {}
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
    if method.name == "lora":
        set_peft_model_state_dict(backbone, tensors)
    elif method.name == "full":
        backbone.load_state_dict(tensors)


def merged(backbone: nn.Module, method: Method) -> nn.Module:
    """The backbone with the low-rank updates added into its weights: as fast as the plain one."""
    if method.name != "lora":
        return backbone
    merge: Any = backbone.merge_and_unload
    plain: nn.Module = merge()
    return plain


def peft_config(method: Method) -> dict[str, Any]:
    """What peft writes as adapter_config.json, with sets as lists."""
    config = _lora_config(method).to_dict()
    return {key: sorted(item) if isinstance(item, set) else item for key, item in config.items()}


def trainable_names(module: nn.Module) -> Sequence[str]:
    """The names of the parameters that training changes."""
    return [name for name, parameter in module.named_parameters() if parameter.requires_grad]


def _lora_config(method: Method) -> LoraConfig:
    return LoraConfig(
        r=method.rank,
        lora_alpha=method.alpha,
        target_modules=list(method.targets),
        lora_dropout=0.0,
        bias="none",
    )
