"""The models that timm carries, against torchgeo, torchvision and transformers.

    python benchmarks/oracle/timm_models.py --peer PYTHON_OF_THE_PEER [--only MODEL ...] [--golden]

torchgeo publishes SSL4EO-S12 and DeCUR, and builds them with timm too; so they are also compared
with the ViT in transformers (at the native size: it interpolates positions in another way) and
torchvision's ResNet-50, and DINOv3 with the one in transformers, which share no code with timm. The
peer always has all the bands: those that a case leaves out are zeros to it.
"""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from common import Answer, Case, Maps, main, randomise, version
from torch import Tensor, nn

MODELS = {
    "ssl4eo-s12-vit-s": "ssl4eo-s12-vit-s",
    "ssl4eo-s12-vit-s-transformers": "ssl4eo-s12-vit-s",
    "decur-resnet50": "decur-resnet50",
    "decur-resnet50-torchvision": "decur-resnet50",
    "dinov3-sat-large": "dinov3-sat-large",
}
GOLDEN = {
    "timm-vit": "ssl4eo-s12-vit-s",
    "timm-resnet": "decur-resnet50",
    "timm-dinov3": "dinov3-sat-large",
}
# The tiny networks of the golden files: few bands, blocks and channels.
TINY_BANDS = [
    {"name": name, "wavelength_nm": length, "group": ""}
    for name, length in (("B2", 492.4), ("B3", 559.8), ("B4", 664.6), ("B8", 832.8))
]
TINY_VIT = {"embed_dim": 24, "depth": 2, "num_heads": 2, "patch_size": 8, "img_size": 32}
TINY_RESNET: dict[str, Any] = {"layers": [1, 1, 1, 1], "channels": [4, 4, 4, 4]}
TINY_DINOV3 = {"embed_dim": 24, "depth": 2, "num_heads": 2, "patch_size": 8}

Run = Callable[[Tensor, Sequence[int]], Maps]


def peer(name: str) -> Answer:
    """The peer's half: a network of random weights and what it makes of random images."""
    if name in ("ssl4eo-s12-vit-s", "timm-vit"):
        return _vit(tiny=name in GOLDEN)
    if name in ("dinov3-sat-large", "timm-dinov3"):
        return _dinov3(tiny=name in GOLDEN)
    if name == "ssl4eo-s12-vit-s-transformers":
        return _transformers_vit()
    if name == "decur-resnet50-torchvision":
        return _torchvision_resnet()
    return _resnet(tiny=name in GOLDEN)


def _cases(
    maps: Run, bands: int, subset: list[int], size: int, other: tuple[int, int], depths: list[int]
) -> Iterator[tuple[Case, Tensor, Callable[[Tensor], Maps]]]:
    """The native chip, another size and a part of the bands."""
    everything = list(range(bands))
    for case in (
        Case("native", (size, size), everything, depths),
        Case("other-size", other, everything, depths),
        Case("subset", (size, size), subset, depths),
    ):
        yield case, case.image(), functools.partial(_completed, maps, bands, case)


def _completed(maps: Run, bands: int, case: Case, image: Tensor) -> Maps:
    """The maps of an image whose missing bands are zeros."""
    whole = torch.zeros(len(image), bands, *case.size)
    whole[:, case.bands] = image
    return maps(whole, case.depths)


def _vit(tiny: bool) -> Answer:
    from torchgeo.models import vit_small_patch16_224

    bands, arguments = (4, {**TINY_VIT, "num_classes": 2}) if tiny else (13, {})
    network = vit_small_patch16_224(in_chans=bands, dynamic_img_size=True, **arguments)
    randomise(network).eval()

    def maps(image: Tensor, depths: Sequence[int]) -> Maps:
        # Block by block, as the network is called for classification.
        rows, columns = (side // network.patch_embed.patch_size[0] for side in image.shape[-2:])
        tokens = network._pos_embed(network.patch_embed(image))
        found = {}
        for number, block in enumerate(network.blocks, start=1):
            tokens = block(tokens)
            if number in depths:
                last = number == len(network.blocks)
                output = (network.norm(tokens) if last else tokens)[:, 1:]
                found[number] = output.transpose(1, 2).unflatten(2, (rows, columns))
        assert torch.equal(network.norm(tokens), network.forward_features(image))
        return found

    options = {"timm": "vit_small_patch16_224", "arguments": {"dynamic_img_size": True}}
    cases = _cases(maps, 13, [1, 2, 3, 7, 11, 12], 224, (160, 272), [3, 6, 12])
    if tiny:
        cases = _cases(maps, 4, [0, 3], 32, (24, 40), [1, 2])
    return Answer(
        network.state_dict(),
        f"{version('torchgeo')}, {version('timm')}",
        cases,
        _tiny_card(options, TINY_VIT, 8, 32) if tiny else {},
    )


def _transformers_vit() -> Answer:
    from transformers import ViTConfig, ViTModel

    config = ViTConfig(
        hidden_size=384,
        num_hidden_layers=12,
        num_attention_heads=6,
        intermediate_size=1536,
        num_channels=13,
        layer_norm_eps=1e-6,
    )
    network = randomise(ViTModel(config, add_pooling_layer=False)).eval()

    def maps(image: Tensor, depths: Sequence[int]) -> Maps:
        output = network(image, output_hidden_states=True)
        found = {}
        for number in depths:
            tokens = output.last_hidden_state if number == 12 else output.hidden_states[number]
            found[number] = tokens[:, 1:].transpose(1, 2).unflatten(2, (14, 14))
        return found

    cases = _cases(maps, 13, [1, 2, 3, 7, 11, 12], 224, (160, 272), [3, 6, 12])
    native = (case for case in cases if case[0].size == (224, 224))
    return Answer(_in_timms_names(network.state_dict()), version("transformers"), native)


def _resnet(tiny: bool) -> Answer:
    from torchgeo.models import resnet50

    bands, arguments = (4, {**TINY_RESNET, "num_classes": 2}) if tiny else (13, {})
    network = _with_statistics(resnet50(in_chans=bands, **arguments))

    def maps(image: Tensor, depths: Sequence[int]) -> Maps:
        return _stages(network, network.act1, image, depths)

    options = {"timm": "resnet50", "arguments": {}}
    cases = _cases(maps, 13, [1, 2, 3, 7, 11, 12], 224, (160, 288), [1, 2, 3, 4])
    if tiny:
        cases = _cases(maps, 4, [0, 3], 32, (32, 64), [2, 4])
    return Answer(
        network.state_dict(),
        f"{version('torchgeo')}, {version('timm')}",
        cases,
        _tiny_card(options, TINY_RESNET, 32, 32) if tiny else {},
    )


def _torchvision_resnet() -> Answer:
    from torchvision.models import resnet50

    network = resnet50(weights=None)
    network.conv1 = nn.Conv2d(13, 64, 7, stride=2, padding=3, bias=False)
    _with_statistics(network)

    def maps(image: Tensor, depths: Sequence[int]) -> Maps:
        return _stages(network, network.relu, image, depths)

    cases = _cases(maps, 13, [1, 2, 3, 7, 11, 12], 224, (160, 288), [1, 2, 3, 4])
    return Answer(network.state_dict(), version("torchvision"), cases)


def _stages(network: Any, activation: nn.Module, image: Tensor, depths: Sequence[int]) -> Maps:
    """A ResNet's outputs stage by stage; its names are torchvision's in timm too."""
    x = network.maxpool(activation(network.bn1(network.conv1(image))))
    found = {}
    for number in range(1, 5):
        x = getattr(network, f"layer{number}")(x)
        if number in depths:
            found[number] = x
    return found


def _with_statistics(network: nn.Module) -> nn.Module:
    """Random weights, and random statistics in the batch normalisations."""
    generator = torch.Generator().manual_seed(1)
    for module in randomise(network).modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.copy_(0.1 * torch.randn(module.num_features, generator=generator))
            module.running_var.copy_(0.5 + torch.rand(module.num_features, generator=generator))
    return network.eval()


def _dinov3(tiny: bool) -> Answer:
    from transformers import DINOv3ViTConfig, DINOv3ViTModel

    size, depth, patch = (24, 2, 8) if tiny else (1024, 24, 16)
    network = DINOv3ViTModel(
        DINOv3ViTConfig(
            patch_size=patch,
            hidden_size=size,
            intermediate_size=4 * size,
            num_hidden_layers=depth,
            num_attention_heads=2 if tiny else 16,
            num_register_tokens=4,
            # The published biases are all nought, and timm's file leaves them out.
            query_bias=False,
            value_bias=False,
        )
    )
    randomise(network).eval()

    def maps(image: Tensor, depths: Sequence[int]) -> Maps:
        rows, columns = (side // patch for side in image.shape[-2:])
        output = network(image, output_hidden_states=True)
        found = {}
        for number in depths:
            last = number == depth
            tokens = output.last_hidden_state if last else output.hidden_states[number]
            found[number] = tokens[:, 5:].transpose(1, 2).unflatten(2, (rows, columns))
        return found

    name = "vit_large_patch16_dinov3.sat493m"
    options = {"timm": name, "arguments": {"dynamic_img_size": True}}
    cases = _cases(maps, 3, [0, 2], 256, (192, 304), [6, 12, 18, 24])
    if tiny:
        cases = _cases(maps, 3, [0, 2], 32, (24, 40), [1, 2])
    card = _tiny_card(options, TINY_DINOV3, 8, 32) if tiny else {}
    return Answer(
        _in_timms_names(network.state_dict()),
        version("transformers"),
        cases,
        {name: value for name, value in card.items() if name not in ("bands", "mean", "std")},
    )


_NAMES = (
    (r"^embeddings\.cls_token$", "cls_token"),
    (r"^embeddings\.register_tokens$", "reg_token"),
    (r"^embeddings\.position_embeddings$", "pos_embed"),
    (r"^embeddings\.patch_embeddings\.(?:projection\.)?", "patch_embed.proj."),
    (r"^(?:model\.)?layers?\.(\d+)\.", r"blocks.\1."),
    (r"\.layernorm_before\.", ".norm1."),
    (r"\.layernorm_after\.", ".norm2."),
    (r"^layernorm\.", "norm."),
    (r"\.attention\.o_proj\.", ".attn.proj."),
    (r"\.layer_scale(\d)\.lambda1$", r".gamma_\1"),
    (r"\.mlp\.up_proj\.", ".mlp.fc1."),
    (r"\.mlp\.down_proj\.", ".mlp.fc2."),
)


def _in_timms_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of transformers' network under the names of timm's file."""
    found = {}
    for name, tensor in state.items():
        if name == "embeddings.mask_token" or re.search(r"attention\.[kv]_proj", name):
            continue
        if "attention.q_proj" in name:
            parts = [state[name.replace("q_proj", f"{part}_proj")] for part in "qkv"]
            tensor, name = torch.cat(parts), name.replace(".attention.q_proj.", ".attn.qkv.")
        for pattern, ours in _NAMES:
            name = re.sub(pattern, ours, name)
        found[name] = tensor
    return found


def _tiny_card(
    options: Mapping[str, Any], arguments: Mapping[str, Any], patch: int, size: int
) -> dict[str, Any]:
    """What of a card a tiny network overrules."""
    return {
        "options": {**options, "arguments": {**options["arguments"], **arguments}},
        "patch": patch,
        "native_size": size,
        "bands": TINY_BANDS,
        "mean": [0.0] * len(TINY_BANDS),
        "std": [1.0] * len(TINY_BANDS),
    }


if __name__ == "__main__":
    sys.exit(main(__doc__, MODELS, GOLDEN, peer))
