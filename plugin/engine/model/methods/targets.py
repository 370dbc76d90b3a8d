"""Which layers a method adapts: q, k, v, proj, fc1 and fc2, whatever a model calls them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from ...backbones.base import Backbone
from ...errors import TilthError
from .method import Method

# The last part of a layer's name -> what the layer does.
_ROLES = {
    "qkv": ("qkv", "to_qkv", "in_proj", "c_attn", "query_key_value"),
    "kv": ("kv", "to_kv"),
    "q": ("q", "to_q", "q_proj", "query", "q_linear"),
    "k": ("k", "to_k", "k_proj", "key", "k_linear"),
    "v": ("v", "to_v", "v_proj", "value", "v_linear"),
    "proj": ("proj", "to_out", "out_proj", "o_proj"),
    # A gated MLP has two layers that widen.
    "fc1": ("fc1", "fc1_g", "fc1_x", "fc3", "w1", "w12", "linear1"),
    "fc2": ("fc2", "w2", "w3", "linear2"),
}
_PARTS = {"qkv": ("q", "k", "v"), "kv": ("k", "v")}


class Split(nn.Module):
    """A fused linear layer as one layer for each of its outputs, so that some can be adapted.

    Its output equals the fused layer's, whose parts are equal shares of the output's channels.
    """

    def __init__(self, fused: nn.Linear, parts: Sequence[str]) -> None:
        """`parts` are the names of the shares, in their order."""
        super().__init__()
        self.in_features, self.out_features = fused.in_features, fused.out_features
        share = fused.out_features // len(parts)
        for number, part in enumerate(parts):
            rows = slice(number * share, (number + 1) * share)
            layer = nn.Linear(fused.in_features, share, fused.bias is not None, device="meta")
            # Clones: a slice of the fused weight would be saved with all of it.
            layer.weight = _part(fused.weight, rows)
            if fused.bias is not None:
                layer.bias = _part(fused.bias, rows)
            self.add_module(part, layer)

    def forward(self, x: Tensor) -> Tensor:
        """[..., in] -> [..., out]."""
        return torch.cat([layer(x) for layer in self.children()], dim=-1)

    def fused(self) -> nn.Linear:
        """The one layer again, of the parts as they are now."""
        parts: list[nn.Linear] = list(self.children())  # type: ignore[arg-type]
        layer = nn.Linear(
            self.in_features, self.out_features, parts[0].bias is not None, device="meta"
        )
        weight = torch.cat([part.weight.detach() for part in parts])
        layer.weight = nn.Parameter(weight, requires_grad=False)
        if parts[0].bias is not None:
            bias = torch.cat([part.bias.detach() for part in parts])
            layer.bias = nn.Parameter(bias, requires_grad=False)
        return layer


def role(target: str) -> str:
    """What a layer does by its name: "attn.qkv" -> "qkv"; empty where the name doesn't say."""
    names = [part for part in target.split(".") if not part.isdigit()]
    last = names[-1] if names else ""
    return next((role for role, known in _ROLES.items() if last in known), "")


def resolved(method: Method, backbone: Backbone) -> Method:
    """The method with the suffixes of this backbone's layers as targets.

    Targets may be roles ("q", "qkv", "proj", "fc1"), layers of the card ("attn.qkv"), or parts of
    a fused one ("attn.qkv.q"); without any, the method's usual ones are taken. Raises TilthError
    for targets that the backbone doesn't have.
    """
    known = backbone.card.lora_targets
    if not method.targets:
        return method.with_targets(_usual(method, known))
    found: list[str] = []
    for target in method.targets:
        layers = list(_layers(target, known))
        if not layers:
            choices = dict.fromkeys([*filter(None, map(role, known)), *known])
            raise TilthError(
                f"targets: {target!r} is none of backbone {backbone.card.id!r}; choose from "
                f"{', '.join(choices) or 'another backbone, since it has none'}"
            )
        found += layers
    # A fused layer that is adapted as a whole isn't split as well.
    found = [name for name in dict.fromkeys(found) if name.rpartition(".")[0] not in found]
    return method.with_targets(found)


def split(backbone: Backbone, targets: Sequence[str]) -> None:
    """Split the fused layers of which `targets` name parts, in place."""
    for fused, parts in _fused(backbone.card.lora_targets):
        if not any(f"{fused}.{part}" in targets for part in parts):
            continue
        for name, layer in list(backbone.named_modules()):
            if not name.endswith(f".{fused}"):
                continue
            if not isinstance(layer, nn.Linear) or layer.out_features % len(parts):
                raise TilthError(
                    f"targets: {fused!r} of backbone {backbone.card.id!r} can't be split; "
                    f"choose {role(fused)!r}"
                )
            backbone.set_submodule(name, Split(layer, parts))


def open_shortcuts(backbone: Backbone) -> None:
    """Make timm's attentions that have a bias of their own call the layer qkv.

    Some multiply with its weight behind its back: what adapts the layer would never be asked.
    """
    for module in backbone.modules():
        if hasattr(module, "qkv_bias_separate"):
            module.qkv_bias_separate = True  # type: ignore[assignment]


def fuse(network: nn.Module) -> None:
    """Make one layer again of each that `split` took apart, in place."""
    for name, module in list(network.named_modules()):
        if isinstance(module, Split):
            network.set_submodule(name, module.fused())


def _part(values: Tensor, rows: slice) -> nn.Parameter:
    return nn.Parameter(values.detach()[rows].clone(), requires_grad=values.requires_grad)


def _usual(method: Method, known: Sequence[str]) -> Sequence[str]:
    """(IA)3: keys, values and what enters the second layer of the MLP, as in its paper."""
    if method.name != "ia3":
        return known
    # With q, k and v in one layer all three are scaled: the layer stays whole.
    return [name for name in known if role(name) in ("qkv", "kv", "k", "v", "fc2")] or known


def _layers(target: str, known: Sequence[str]) -> Iterator[str]:
    """The layers that a target means."""
    for name in known:
        parts = _PARTS.get(role(name), ())
        means = [name, role(name)]
        if role(name) in ("q", "k", "v", "kv"):
            means.append("qkv")
        if target in means:
            yield name
        else:
            yield from (f"{name}.{p}" for p in parts if target in (p, f"{name}.{p}"))


def _fused(known: Sequence[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    for name in known:
        if role(name) in _PARTS:
            yield name, _PARTS[role(name)]
