"""Cards made on the fly: what timm itself knows of a model, as `timm:NAME`."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import re
from typing import Any

import timm
import torch
from torch import nn

from ..errors import TilthError
from .card import Band, Card
from .inputs import Inputs
from .timm_models import TimmBackbone, kernels

PREFIX = "timm:"
# Tried in turn: how families of timm are told that images have any size.
ANY_SIZE: tuple[dict[str, Any], ...] = (
    {"dynamic_img_size": True},
    {"strict_img_size": False},
    {},
)
# Licences that ask for no more than naming the authors and passing the licence on.
FREE = ("apache-2.0", "mit", "bsd-3-clause", "cc-by-4.0")
LICENCES = {
    "apache-2.0": ("Apache-2.0", "https://www.apache.org/licenses/LICENSE-2.0"),
    "mit": ("MIT", "https://opensource.org/license/mit"),
    "bsd-3-clause": ("BSD-3-Clause", "https://opensource.org/license/bsd-3-clause"),
    "cc-by-4.0": ("CC-BY-4.0", "https://creativecommons.org/licenses/by/4.0/"),
    "cc-by-nc-4.0": (
        "CC-BY-NC-4.0: not for commercial use",
        "https://creativecommons.org/licenses/by-nc/4.0/",
    ),
    "dinov3-license": (
        "DINOv3 License: Meta's own terms; commercial use allowed, passed on only with the licence",
        "https://ai.meta.com/resources/models-and-libraries/dinov3-license/",
    ),
}
# Weights that were trained on satellite pictures, by timm's tag: what they are for, their pixels.
SATELLITE = {
    "sat493m": (
        "A large vision transformer for pictures in red, green and blue from aircraft or very "
        "sharp satellites, about 0.3 to 2 m; trained without labels on 493 million satellite "
        "pictures. Other bands can be taken in, with the weights of the nearest colour. Needs a "
        "GPU.",
        (0.3, 2.0),
    )
}
RGB = (Band("red", 665.0), Band("green", 560.0), Band("blue", 490.0))


@functools.lru_cache(maxsize=32)
def card_of(backbone_id: str) -> Card:
    """The card of `timm:NAME`, NAME with or without the tag that says which weights.

    The card's id has the tag. Raises TilthError for a name that timm doesn't have (with those
    that look alike), and for a model that can't give feature maps of any bands and any size.
    """
    name = backbone_id.removeprefix(PREFIX)
    settings = _settings(name)
    tagged = f"{settings.architecture}.{settings.tag}" if settings.tag else settings.architecture
    problem: ValueError | None = None
    for arguments in ANY_SIZE:
        card = _card(tagged, settings, {"timm": tagged, "arguments": arguments})
        try:
            return _tried(card)
        except ValueError as error:
            problem = problem or error if "unexpected keyword" in str(error) else error
    raise TilthError(
        f"timm's model {tagged!r} can't serve as a backbone, as it can't give feature maps for "
        f"any bands and any size of image: {str(problem).rstrip('.')}. Choose another."
    )


def _settings(name: str) -> Any:
    """Timm's own account of a model. Raises TilthError for an unknown name."""
    try:
        if timm.is_model(name):
            return timm.models.get_pretrained_cfg(name, allow_unregistered=False)
    except RuntimeError:  # a tag that the model doesn't have
        pass
    known = [*timm.list_pretrained(), *timm.list_models()]
    same = [other for other in known if other.split(".")[0] == name.split(".")[0]]
    close = same[:5] or difflib.get_close_matches(name, known, n=5, cutoff=0.4)
    hint = f"Did you mean {', '.join(close)}?" if close else "Look it up in timm's list of models."
    raise TilthError(f"timm {timm.__version__} has no model {name[:80]!r}. {hint}")


def _tried(card: Card) -> Card:
    """The card with what only the network tells. Raises ValueError where it can't serve."""
    with torch.device("meta"):
        backbone = TimmBackbone(card, Inputs.all_of(card)).eval()
        patch = backbone.patch
        size = -(-card.native_size // patch) * patch
        # Five bands: a network that takes any number of them has no fixed idea of three.
        trial = TimmBackbone(card, Inputs((None,) * 5)).eval()
        for height, width in ((size, size), (size + 2 * patch, size + patch)):
            image = torch.zeros(1, 5, height, width)
            try:
                maps = trial(image, range(1, trial.depth + 1))
            except (AssertionError, RuntimeError, TypeError, ValueError) as error:
                raise ValueError(str(error) or f"not {height} x {width} pixels") from error
            for found, dim, stride in zip(maps, trial.dims, trial.strides, strict=True):
                if found.shape != (1, dim, height // stride, width // stride):
                    raise ValueError(f"its maps have other sizes at {height} x {width} pixels")
    for name in kernels(card):
        if backbone.network.state_dict()[name].ndim != 4:
            raise ValueError("its first layer is no convolution")
    return dataclasses.replace(
        card,
        patch=patch,
        native_size=size,
        parameters=sum(parameter.numel() for parameter in backbone.parameters()),
        lora_targets=adaptable(backbone),
        options=card.options if backbone.plain else {**card.options, "stages": True},
    )


def adaptable(backbone: TimmBackbone) -> tuple[str, ...]:
    """Names of the linear layers and plain convolutions that every block (or stage) has.

    A stage is made of blocks in turn: what follows the last number of a layer's name counts.
    """
    common: dict[str, int] = {}
    for block in backbone.blocks:
        names = [
            re.sub(r"^(.*\.)?\d+(\.|$)", "", name)
            for name, module in block.named_modules()
            if isinstance(module, nn.Linear) or (type(module) is nn.Conv2d and module.groups == 1)
        ]
        for name in dict.fromkeys(filter(None, names)):
            common[name] = common.get(name, 0) + 1
    return tuple(name for name, count in common.items() if count == len(backbone.blocks))


def _card(name: str, settings: Any, options: dict[str, Any]) -> Card:
    """A card with timm's facts; what the network must tell is filled in by `_tried`."""
    licence, url = LICENCES.get(
        settings.license or "", (settings.license or "not stated by timm", "")
    )
    hub = settings.hf_hub_id or ""
    papers = [f"arXiv {paper.removeprefix('arXiv:')}" for paper in _list(settings.paper_ids)]
    usual = (
        f"Timm's {name}: trained on pictures in red, green and blue, not on satellite images. "
        "Other bands can be taken in, with the weights of the nearest colour."
    )
    summary, pixels = SATELLITE.get(settings.tag or "", (usual, (0.05, 30.0)))
    return Card(
        id=PREFIX + name,
        title=f"{name} (timm)",
        summary=summary if hub else f"{summary} There are no weights to fetch: random ones serve.",
        licence=licence,
        licence_url=url,
        source=settings.origin_url or "https://github.com/huggingface/pytorch-image-models",
        file=settings.hf_hub_filename or "model.safetensors",
        revision="",
        sha256="",
        bands=RGB,
        units="bytes of a picture, 0 to 255",
        scale=1.0,
        mean=tuple(round(255 * value, 3) for value in settings.mean),
        std=tuple(round(255 * value, 3) for value in settings.std),
        normalisation="image",
        patch=1,
        native_size=int(settings.input_size[-1]),
        ground_resolution_m=pixels,
        parameters=1,
        lora_targets=(),
        any_bands=False,
        citation="; ".join([*papers, "Wightman 2019, PyTorch Image Models (timm)"]),
        architecture="timm",
        options=options,
        repository=hub,
        binding=(settings.license or "") not in FREE,
    )


def _list(value: Any) -> list[str]:
    """Timm gives one paper as text, several as a list, none as None."""
    return [] if not value else [value] if isinstance(value, str) else list(value)
