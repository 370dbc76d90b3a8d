"""DOFA as in torchgeo against Tilth's.

    python benchmarks/oracle/dofa.py --peer PYTHON [--only MODEL ...] [--golden]

PYTHON's environment needs torchgeo and terratorch. Torchgeo's network has a fixed size: for another
its position codes are resized by TerraTorch's function.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import common
import torch
from common import Answer, Case
from torch import Tensor, nn

MODELS = {"dofa-base": "dofa-base", "dofa-large": "dofa-large"}
GOLDEN = {"dofa_tiny": "dofa-base"}
SIZES = {"dofa-base": (768, 12, 12), "dofa-large": (1024, 24, 16), "dofa_tiny": (24, 2, 2)}
# The card's bands in its order, in micrometres.
WAVES = [0.665, 0.56, 0.49, 0.705, 0.74, 0.783, 0.842, 1.61, 2.19, 5.405, 5.405]
OPTIONS = {"wave_dim": 16, "wave_tokens": 128, "wave_hidden": 24}


def peer(name: str) -> Answer:
    """The peer's half of one model; the tiny one has a small hypernetwork too."""
    # Here, since importing it lowers the precision of products until `write` raises it again.
    from terratorch.models.backbones.dofa_vit import resize_pos_embed
    from torchgeo.models import dofa

    tiny = name == "dofa_tiny"
    dim, depth, heads = SIZES[name]
    patch, native = (4, 16) if tiny else (16, 224)
    network = dofa.DOFA(native, patch, 0.0, dim, depth, heads, num_classes=0, global_pool=False)
    if tiny:
        network.patch_embed = dofa.DOFAEmbedding(16, patch, dim)
        layer = nn.TransformerEncoderLayer(16, 4, 24, 0, "gelu")
        network.patch_embed.weight_generator.transformer_encoder = nn.TransformerEncoder(layer, 1)
    common.randomise(network).eval()
    # Positions are random too; their usual size is about 0.7.
    generator = torch.Generator().manual_seed(9)
    network.pos_embed.data = torch.randn(network.pos_embed.shape, generator=generator) * 0.7
    # As the authors' own files, which have more.
    weights = {**network.state_dict(), "mask_token": torch.zeros(1, 1, dim)}
    weights |= {"projector.weight": torch.zeros(2, 2), "projector.bias": torch.zeros(2)}
    options = {"dim": dim, "depth": depth, "heads": heads, **OPTIONS}
    options["stand_ins"] = {"vv": 5.405, "vh": 5.405}
    changed = {"patch": patch, "native_size": native, "options": options} if tiny else {}
    found = [
        (case, case.image(), partial(_maps, network, resize_pos_embed, case, native // patch))
        for case in _cases(native, depth, tiny)
    ]
    return Answer(weights, common.version("torchgeo"), found, changed)


def _cases(native: int, depth: int, tiny: bool) -> list[Case]:
    depths = common.spread(depth)
    small, large = (12, 20) if tiny else (128, 320)
    cases = [
        Case("sentinel2", (native, native), list(range(9)), depths),
        Case("smaller", (small, small), list(range(9)), depths),
        Case("larger-oblong", (native, large), [2, 1, 0, 6], depths),
        Case("red-nir", (small, small), [0, 6], depths),
        Case("radar", (small, small), [9, 10], depths, batch=2),
    ]
    return [cases[0], cases[2], cases[4]] if tiny else cases


def _maps(network: Any, resize: Any, case: Case, side: int, image: Tensor) -> dict[int, Tensor]:
    """The network's maps at the case's depths; the last comes normed."""
    seen: dict[int, Tensor] = {}
    stages = [*network.blocks[:-1], network.norm]
    hooks = [
        stage.register_forward_hook(
            lambda _, given, output, number=number: seen.__setitem__(number, output.clone())
        )
        for number, stage in enumerate(stages, start=1)
    ]
    rows, columns = (pixels // network.patch_size for pixels in case.size)
    native = network.pos_embed.data
    if (rows, columns) != (side, side):
        network.pos_embed.data = resize(native, (rows, columns), (side, side), "bicubic")
    network.forward_features(image, [WAVES[band] for band in case.bands])
    network.pos_embed.data = native
    for hook in hooks:
        hook.remove()
    return {
        number: seen[number][:, 1:].transpose(1, 2).unflatten(2, (rows, columns))
        for number in case.depths
    }


if __name__ == "__main__":
    raise SystemExit(common.main(__doc__, MODELS, GOLDEN, peer))
