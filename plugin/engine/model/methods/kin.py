"""LoRA and its kin, through peft: their configurations.

LoRA: Hu et al. 2021 (arXiv 2106.09685). DoRA: 2402.09353. rsLoRA: 2312.03732. PiSSA: 2404.02948.
OLoRA: 2406.01775. LoHa: 2108.06098. LoKr: 2309.14859. HiRA: ICLR 2025. DeLoRA: 2503.18225.
GraLoRA: 2505.20355. MiSS: 2409.15371. VeRA: 2310.11454. (IA)3: 2205.05638. OFT: 2306.07280.

Not AdaLoRA, whose ranks follow a schedule over a number of steps that is not known beforehand here,
and nothing that needs a compiled operator (BOFT) or data before it begins (EVA, CorDA).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import peft
from torch import nn

from ...backbones.base import Backbone
from ...errors import TilthError
from .method import PRINCIPAL, Method
from .targets import role

Options = dict[str, Any]


def _lora(method: Method, **more: Any) -> Options:
    return {
        "r": method.rank,
        "lora_alpha": method.alpha,
        "lora_dropout": method.dropout,
        "bias": "none",
        **more,
    }


def _lycoris(method: Method) -> Options:
    return {"r": method.rank, "alpha": method.alpha, "module_dropout": method.dropout}


# A method's configuration class in peft, its options, and whether it can adapt convolutions.
_KIN: dict[str, tuple[str, Callable[[Method], Options], bool]] = {
    "lora": ("LoraConfig", _lora, True),
    "dora": ("LoraConfig", lambda m: _lora(m, use_dora=True), True),
    "rslora": ("LoraConfig", lambda m: _lora(m, use_rslora=True), True),
    # Sixteen rounds of the fast decomposition: as good as the exact one, in seconds.
    "pissa": ("LoraConfig", lambda m: _lora(m, init_lora_weights="pissa_niter_16"), False),
    "olora": ("LoraConfig", lambda m: _lora(m, init_lora_weights="olora"), False),
    "loha": ("LoHaConfig", _lycoris, True),
    "lokr": ("LoKrConfig", _lycoris, True),
    "hira": ("HiraConfig", lambda m: {"r": m.rank, "hira_dropout": m.dropout}, False),
    "delora": ("DeloraConfig", lambda m: {"r": m.rank, "module_dropout": m.dropout}, False),
    "gralora": (
        "GraloraConfig",
        lambda m: {"r": m.rank, "alpha": m.alpha, "gralora_dropout": m.dropout},
        False,
    ),
    "miss": ("MissConfig", lambda m: {"r": m.rank, "miss_dropout": m.dropout}, False),
    # The random directions are stored: another torch may draw others from the same seed.
    "vera": (
        "VeraConfig",
        lambda m: {"r": m.rank, "vera_dropout": m.dropout, "save_projection": True},
        False,
    ),
    "ia3": ("IA3Config", lambda m: {"feedforward_modules": _feedforward(m)}, True),
    "oft": (
        "OFTConfig",
        lambda m: {"r": 0, "oft_block_size": m.rank, "module_dropout": m.dropout},
        False,
    ),
}
KIN = tuple(_KIN)


def configuration(method: Method) -> Any:
    """peft's configuration of a method of `KIN` whose targets are filled in.

    Raises TilthError where the peft that is installed doesn't have it yet.
    """
    name, options, _ = _KIN[method.name]
    make = getattr(peft, name, None)
    if make is None:
        raise TilthError(
            f"method {method.name}: peft {peft.__version__} doesn't have it; make Tilth's "
            "environment anew, or choose lora"
        )
    return make(target_modules=list(method.targets), **options(method))


def check(method: Method, backbone: Backbone) -> None:
    """Raise TilthError for layers that a method of `KIN` can't adapt."""
    if not method.targets:
        raise TilthError(
            f"method {method.name}: backbone {backbone.card.id!r} has no layers for it; choose "
            "frozen or full"
        )
    layers = [
        layer
        for name, layer in backbone.blocks.named_modules()
        if name.endswith(tuple(f".{target}" for target in method.targets))
    ]
    if not _KIN[method.name][2] and any(isinstance(layer, nn.Conv2d) for layer in layers):
        able = ", ".join(name for name, (_, _, convolutions) in _KIN.items() if convolutions)
        raise TilthError(
            f"method {method.name}: backbone {backbone.card.id!r} is made of convolutions, which "
            f"it can't adapt; choose one of {able}, full, frozen"
        )
    widths = [n for layer in layers if isinstance(layer, nn.Linear) for n in layer.weight.shape]
    if method.name == "gralora" and any(width % 2 for width in (method.rank, *widths)):
        raise TilthError("method gralora: rank and layers must be even; choose another rank")
    if method.name in (*PRINCIPAL, "miss") and method.rank > min(widths, default=method.rank):
        raise TilthError(
            f"method {method.name}: its rank is more than the {min(widths)} channels of a layer of "
            f"backbone {backbone.card.id!r}; choose a smaller one"
        )


def _feedforward(method: Method) -> list[str]:
    """The layers whose input (IA)3 scales; of the others it scales the output."""
    return [target for target in method.targets if role(target) == "fc2"]
