"""The segmenter: backbone, adapted by a method, and decoder."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..backbones import catalogue
from ..backbones.inputs import Inputs
from ..errors import TilthError
from ..jobs import NO_BACKBONE
from .decoders import factory
from .decoders.factory import DecoderSettings
from .decoders.image_branch import branches_of
from .layers import resize_to
from .methods import adapt, kin
from .methods.method import PRINCIPAL, Method
from .methods.vit_adapter import AdaptedViT


class Segmenter(nn.Module):
    """From a standardised image to class logits; `backbone` is None for the decoder alone.

    The backbone gets the image enlarged `zoom` times, with sides that are multiples of its patch,
    and of the image's bands those at `picks` (all where it is empty).
    """

    def __init__(
        self,
        backbone: nn.Module | None,
        decoder: nn.Module,
        depths: Sequence[int] = (),
        zoom: float = 1.0,
        patch: int = 1,
        picks: Sequence[int] = (),
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.decoder = decoder
        self.depths, self.zoom, self.patch = list(depths), zoom, patch
        self.picks = list(picks)

    def features(self, image: Tensor) -> list[Tensor]:
        """The backbone's feature maps (B, dim, h, w) of an image (B, C, H, W); none without one."""
        if self.backbone is None:
            return []
        if self.picks:
            image = image[:, self.picks]
        steps = [max(round(side * self.zoom / self.patch), 1) for side in image.shape[-2:]]
        size = [count * self.patch for count in steps]
        if size != list(image.shape[-2:]):
            image = F.interpolate(image, size=size, mode="bilinear", align_corners=False)
        return self.backbone(image, self.depths)  # type: ignore[no-any-return]

    def plain(self, image: Tensor) -> Tensor | None:
        """The last map (B, dim, h, w) of the backbone as it was before any method; None where the
        decoder doesn't look at it."""
        branches = branches_of(self.decoder)
        if branches is None or branches.distilled.tokens is None or self.backbone is None:
            return None
        with torch.no_grad(), adapt.unadapted(self.backbone):
            return self.features(image)[-1]

    def opinion(self, image: Tensor) -> Tensor | None:
        """What the usual classifiers say, as logits (B, K, H, W); None where there are none."""
        branches = branches_of(self.decoder)
        if branches is None:
            return None
        return branches.distilled(image, self.plain(image)).float()  # type: ignore[no-any-return]

    def forward(self, image: Tensor) -> Tensor:
        """image (B, C, H, W), sides multiples of 4. Logits (B, K, H, W).

        Where the decoder trusts the usual classifiers alone, nothing else is computed.
        """
        branches = branches_of(self.decoder)
        if branches is not None and not branches.trust:
            return self.opinion(image).log_softmax(1)  # type: ignore[union-attr]
        maps = self.features(image)
        if branches is None:
            return resize_to(self.decoder(image, maps), image)
        # A backbone that nothing was added to has said it already.
        said = maps[-1] if maps else None
        tokens = self.plain(image) if adapt.is_added_to(self.backbone) else said
        return branches(image, maps, tokens)  # type: ignore[no-any-return]

    def settle(self, method: Method) -> None:
        """Be as fast as a network that the method adapted can be, once nothing learns any more."""
        if self.backbone is None:
            return
        branches = branches_of(self.decoder)
        if branches is None or branches.distilled.tokens is None:
            self.backbone = adapt.merged(self.backbone, method)
        elif not branches.trust:  # the plain backbone alone is asked
            self.backbone = adapt.taken_off(self.backbone, method)

    def surroundings(self, image: Tensor) -> Tensor:
        """What training judges chips by: the logits without those of a spectral branch."""
        maps = self.features(image)
        branches = branches_of(self.decoder)
        if branches is not None:
            return branches.surroundings(image, maps)
        return resize_to(self.decoder(image, maps), image)


def build(
    backbone_id: str,
    method: Method,
    decoder: DecoderSettings,
    inputs: Inputs,
    classes: int,
    *,
    seed: int = 0,
    random_backbone: bool = False,
) -> tuple[Segmenter, Method]:
    """A segmenter with a fresh decoder, and the method with its targets filled in.

    Raises TilthError for an unknown backbone, one with a decoder that looks at none, and targets
    that are none of its own.
    """
    bands = len(inputs.wavelengths)
    if backbone_id == NO_BACKBONE:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return Segmenter(None, factory.make(decoder, bands, [], [], classes)), method
    if not factory.DEPTHS[decoder.name]:
        raise TilthError(f"decoder: {decoder.name} looks at no backbone; choose none")
    network = catalogue.build(backbone_id, inputs.seen(), random_weights=random_backbone, seed=seed)
    method = adapt.resolved(method, network)
    adapted = adapt.apply(network, method, seed)
    count, patch = factory.DEPTHS[decoder.name], network.patch
    shape = adapted if isinstance(adapted, AdaptedViT) else network
    depths = shape.pick(count) if isinstance(shape, AdaptedViT) else spread(shape.depth, count)
    dims = [shape.dims[depth - 1] for depth in depths]
    strides = [shape.strides[depth - 1] for depth in depths]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        head = factory.make(decoder, bands, dims, strides, classes, inputs.zoom)
    picks = inputs.picks if inputs.left_out else ()
    return Segmenter(adapted, head, depths, inputs.zoom, patch, picks), method


def trainable(
    backbone_id: str, method: Method, decoder: DecoderSettings, inputs: Inputs, classes: int
) -> tuple[int, int]:
    """How many numbers of backbone and decoder training would change; no weights are needed.

    Raises TilthError as `build` does.
    """
    with torch.device("meta"):
        if method.name in PRINCIPAL and backbone_id != NO_BACKBONE:
            plain = catalogue.build(backbone_id, inputs.seen(), random_weights=True)
            kin.check(adapt.resolved(method, plain), plain)
            # As many as LoRA's, which has nothing to decompose.
            method = dataclasses.replace(method, name="lora")
        network, _ = build(backbone_id, method, decoder, inputs, classes, random_backbone=True)
    counts = [adapt.trainable_parameters(part) for part in (network.backbone, network.decoder)]
    return counts[0], counts[1]


def spread(depth: int, count: int) -> list[int]:
    """`count` depths spread evenly over a network, the last one its end: (8, 2) -> [4, 8]."""
    return [max(depth * (number + 1) // count, 1) for number in range(count)]


def stored(segmenter: Segmenter, method: Method) -> dict[str, Tensor]:
    """The tensors that the method changed in the backbone; none without one."""
    backbone = segmenter.backbone
    return {} if backbone is None else adapt.stored(backbone, method)


def restore(
    segmenter: Segmenter, method: Method, adapter: dict[str, Tensor], decoder: dict[str, Tensor]
) -> None:
    """Put an adapter's tensors into a segmenter. Raises TilthError where they do not fit."""
    if segmenter.backbone is not None:
        adapt.restore(segmenter.backbone, method, adapter)
    elif adapter:
        raise TilthError("adapter weights: there are some, but no backbone that they belong to")
    try:
        segmenter.decoder.load_state_dict(decoder)
    except RuntimeError as error:
        raise TilthError("adapter weights: the decoder's do not fit the card") from error
    branches = branches_of(segmenter.decoder)
    if branches is not None and not (0 <= branches.trust <= 1 and branches.distilled.makes_sense()):
        raise TilthError("adapter weights: the decoder's make no sense")
