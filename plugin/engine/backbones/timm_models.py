"""Any vision transformer or CNN of timm by its name, and the models published in timm's names.

Timm: Wightman 2019, https://github.com/huggingface/pytorch-image-models. SSL4EO-S12 (Wang et al.
2022, arXiv 2211.07044), DeCUR (Wang et al. 2023, arXiv 2309.05300) and DINOv3 (Siméoni et al.
2025, arXiv 2508.10104) are among them. `timm_cards` makes the card of one that has none.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Mapping, Sequence
from typing import Any

import timm
import torch
from torch import Tensor, nn

from . import conversion, patches
from .base import Backbone, Converted
from .card import Card
from .inputs import Inputs

# Maps finer than this cost most of a CNN's memory and hold little that the image itself doesn't.
FINEST = 4
PREFIX = "network."
NORM = {"norm.weight": torch.ones, "norm.bias": torch.zeros}


class TimmBackbone(Backbone):
    """One of timm's networks without its head, taking the image's bands.

    The card's options are `timm`, the model's name, and `arguments` for timm's `create_model`. A
    transformer whose blocks all have one width gives a map a block; a network in stages (a CNN, a
    windowed transformer) one a stage, from a stride of `FINEST` pixels on. Learnt position codes
    are interpolated to the image's size by timm.
    """

    def __init__(self, card: Card, inputs: Inputs) -> None:
        """Weights are drawn from torch's generator. Raises ValueError where timm can't make it."""
        super().__init__(card, inputs)
        self.network = create(card, len(inputs.wavelengths))
        stages = _stages(self.network)
        if not stages:
            raise ValueError("timm doesn't say where its feature maps are")
        layers = dict(self.network.named_modules())
        if not all(str(stage["module"]) in layers for stage in stages):
            raise ValueError("its feature maps are not those of whole layers")
        strides = [int(stage["reduction"]) for stage in stages]
        self.plain = len(set(strides)) == 1
        taken = [i for i, stride in enumerate(strides) if self.plain or stride >= FINEST]
        self.indices = tuple(taken)
        self.dims = tuple(int(stages[i]["num_chs"]) for i in taken)
        self.strides = tuple(strides[i] for i in taken)
        self.patch = max(self.strides)

    @property
    def blocks(self) -> nn.ModuleList:  # type: ignore[override]
        """The blocks, or stages, in their order; they belong to `network`."""
        stages = _stages(self.network)
        return nn.ModuleList(
            self.network.get_submodule(str(stages[i]["module"])) for i in self.indices
        )

    def train(self, mode: bool = True) -> TimmBackbone:
        """As ever, but batch normalisation keeps the statistics of the pre-training.

        They are part of the frozen network: an adapter doesn't store them.
        """
        super().train(mode)
        for module in self.network.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
        return self

    def forward(self, image: Tensor, depths: Sequence[int]) -> list[Tensor]:
        """Feature maps [B, dims[d-1], H/strides[d-1], W/strides[d-1]]; see `Backbone.forward`."""
        self.check(image, depths)
        wanted = sorted(set(depths))
        maps = self.network.forward_intermediates(
            image,
            indices=[self.indices[depth - 1] for depth in wanted],
            # A plain transformer would norm every map, and only the last is to be normed.
            norm=not self.plain,
            stop_early=True,
            intermediates_only=True,
        )
        found = dict(zip(wanted, maps, strict=True))
        final = getattr(self.network, "norm", None)
        if self.plain and self.depth in found and final is not None:
            found[self.depth] = final(found[self.depth].permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return [found[depth] for depth in depths]

    @classmethod
    def convert(cls, card: Card, published: Mapping[str, Tensor]) -> Converted:
        """A checkpoint in timm's names, or one that timm itself can rename.

        A final norm that the checkpoint lacks, as some do that were published for classification,
        starts neutral, and `dropped` says so. Raises ValueError as `conversion.checked` does.
        """
        with torch.device("meta"):
            network = create(card, len(card.bands))
        expected = network.state_dict()
        source = dict(published)
        if set(expected) - set(source) - set(_added(expected, source)):
            source = _renamed(network, source)
        added = _added(expected, source)
        ours = {PREFIX + name: tensor for name, tensor in {**added, **source}.items()}
        norms = [f"{name} (not in the file: it starts neutral)" for name in added if name in NORM]
        converted = conversion.checked(cls, card, ours, ())
        dropped = [name.removeprefix(PREFIX) for name in converted.dropped]
        return Converted(converted.tensors, dropped + norms)

    def select(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The first convolution cut to the image's bands; the rest as it is.

        Raises KeyError where the tensors lack that convolution, ValueError as `patches.slices`.
        """
        chosen = dict(tensors)
        places = patches.slices(self.card, self.inputs)
        for name in kernels(self.card):
            chosen[PREFIX + name] = patches.cut(chosen[PREFIX + name], places)
        return chosen


def create(card: Card, bands: int) -> Any:
    """The card's network for so many bands, without its head. Raises ValueError if timm can't."""
    name, arguments = str(card.options["timm"]), dict(card.options.get("arguments", {}))
    # Only names that timm itself knows: another may mean a download or a folder to it.
    if not timm.is_model(name):
        raise ValueError(f"timm {timm.__version__} has no model {name!r}")
    try:
        network = timm.create_model(
            name, pretrained=False, in_chans=bands, num_classes=0, **arguments
        )
        network.prune_intermediate_layers(
            list(range(len(_stages(network)))), prune_norm=False, prune_head=True
        )
    except (AssertionError, AttributeError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(f"timm can't make {name!r} for {bands} bands ({error})") from error
    return network


def _stages(network: Any) -> list[Mapping[str, Any]]:
    """What timm says of a network's feature maps: `num_chs`, `reduction`, `module` of each."""
    info = getattr(network, "feature_info", [])
    return list(getattr(info, "info", info))


def kernels(card: Card) -> tuple[str, ...]:
    """The names, within the network, of the tensors that have a slice a band of the card."""
    return _kernels(str(card.options["timm"]), len(card.bands))


@functools.lru_cache(maxsize=8)
def _kernels(name: str, bands: int) -> tuple[str, ...]:
    # They are those whose shape another number of bands changes.
    shapes = []
    for count in (bands, bands + 1):
        with torch.device("meta"):
            state = timm.create_model(name, in_chans=count, num_classes=0).state_dict()
        shapes.append({key: tuple(tensor.shape) for key, tensor in state.items()})
    return tuple(key for key, shape in shapes[0].items() if shapes[1][key] != shape)


def _added(expected: Mapping[str, Tensor], source: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What a checkpoint may lack: counts that nothing uses, and the final norm."""
    return {
        name: NORM.get(name, torch.zeros)(tensor.shape, dtype=tensor.dtype, device="cpu")
        for name, tensor in expected.items()
        if name not in source and (name in NORM or name.endswith("num_batches_tracked"))
    }


def _renamed(network: Any, published: dict[str, Tensor]) -> dict[str, Tensor]:
    """The checkpoint in timm's names, by the filter that timm has for this kind of network."""
    module = importlib.import_module(type(network).__module__)
    rename = getattr(module, "checkpoint_filter_fn", None)
    if rename is None:
        return published
    try:
        return dict(rename(published, network))
    except (AttributeError, KeyError, NotImplementedError, RuntimeError) as error:
        raise ValueError(f"timm can't read it ({error})") from error
