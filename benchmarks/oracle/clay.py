"""Clay v1 (TerraTorch's) and v1.5 (the authors' claymodel package) against Tilth's.

    python benchmarks/oracle/clay.py --peer PYTHON [--only MODEL ...] [--golden]

PYTHON's environment needs terratorch and claymodel. Both peers take square images only, and give
the last map alone (v1.5) or one a block (v1): hooks read the others.
"""

from __future__ import annotations

import datetime
import math
import sys
import sysconfig
import types
from collections.abc import Sequence
from functools import partial
from typing import Any

import common
import torch
from common import Answer, Case
from torch import Tensor, nn

MODELS = {"clay-1": "clay-1", "clay-1.5": "clay-1.5"}
GOLDEN = {"clay_v1": "clay-1", "clay_v15": "clay-1.5"}
SIZES = {"clay-1": (768, 12, 12), "clay-1.5": (1024, 24, 16)}
TINY = (24, 2, 4)
# The card's bands in its order, in micrometres; radar's are the stand-ins of the training.
SENTINEL2 = [0.493, 0.56, 0.665, 0.704, 0.74, 0.783, 0.842, 0.865, 1.61, 2.19]
LANDSAT, NAIP = [0.65, 0.56, 0.48, 0.86, 1.6, 2.2], [0.65, 0.56, 0.48, 0.842]
LINZ, MODIS = [0.635, 0.555, 0.465], [0.645, 0.858, 0.469, 0.555, 1.24, 1.64, 2.13]
WAVES = [*SENTINEL2, *LANDSAT, *NAIP, *LINZ, *MODIS, 3.5, 4.0]
RADAR = [len(WAVES) - 2, len(WAVES) - 1]
OPTIONS = {"wave_dim": 16, "wave_tokens": 4, "wave_hidden": 24}


def peer(name: str) -> Answer:
    """The peer's half of one model; tiny ones have small hypernetworks too."""
    tiny, model = name in GOLDEN, GOLDEN.get(name, name)
    dim, depth, heads = TINY if tiny else SIZES[model]
    patch, native = (4, 16) if tiny else (8, 256)
    make = _v1 if model == "clay-1" else _v15
    modules, encoder = make(native, patch, dim, depth, heads)
    if tiny:
        encoder.patch_embedding = modules.DynamicEmbedding(16, 4, patch, dim)
        layer = nn.TransformerEncoderLayer(16, 4, 24, 0, "gelu", batch_first=model != "clay-1")
        encoder.patch_embedding.weight_generator.encoder = nn.TransformerEncoder(layer, 1)
    common.randomise(encoder).eval()
    # As in a Lightning checkpoint, with what is no part of the encoder.
    weights = {f"model.encoder.{key}": value for key, value in encoder.state_dict().items()}
    weights |= {"model.decoder.mask_patch": torch.zeros(4), "model.proj.weight": torch.zeros(2, 2)}
    options = {"dim": dim, "depth": depth, "heads": heads, "gsd": 10.0, **OPTIONS}
    options["stand_ins"] = {"vv": 3.5, "vh": 4.0}
    changed = {"patch": patch, "native_size": native, "options": options} if tiny else {}
    package = "terratorch" if model == "clay-1" else "claymodel"
    found = [
        (case, case.image(), partial(_maps, encoder, case, patch))
        for case in _cases(native, depth, tiny)
    ]
    return Answer(weights, common.version(package), found, changed)


def _v1(native: int, patch: int, dim: int, depth: int, heads: int) -> tuple[Any, Any]:
    from terratorch.models.backbones.clay_v1 import modules

    return modules, modules.EmbeddingEncoder(
        native, patch, dim, depth, heads, dim // heads, mlp_ratio=4.0
    )


def _v15(native: int, patch: int, dim: int, depth: int, heads: int) -> tuple[Any, Any]:
    # The package's modules lie at the top of site-packages, and import each other from `src`.
    package = types.ModuleType("src")
    package.__path__ = [sysconfig.get_paths()["purelib"]]
    sys.modules["src"] = package
    from src import factory, model

    return factory, model.Encoder(
        0.0, patch, False, dim, depth, heads, dim_head=dim // heads, mlp_ratio=4.0
    )


def _cases(native: int, depth: int, tiny: bool) -> list[Case]:
    size, other = (native, native), (native // 2, native // 2)
    depths = common.spread(depth)
    sentinel2 = list(range(10))
    told: dict[str, Any] = {
        "dates": ["2024-08-15T10:56:00"],
        "location": (-111.5, 40.3),
        "time_location": True,
    }
    cases = [
        Case("sentinel2", size, sentinel2, depths),
        Case("half", other, sentinel2, depths, resolution_m=30.0, zoom=2.0),
        Case("red-nir", other, [2, 6], depths),
        Case("radar", other, RADAR, depths, batch=2),
        Case("naip-told", other, [16, 17, 18, 19], depths, **told, resolution_m=1.0, batch=2),
    ]
    return [cases[0], cases[3], cases[4]] if tiny else cases


def _maps(encoder: Any, case: Case, patch: int, image: Tensor) -> dict[int, Tensor]:
    """The encoder's maps at the case's depths."""
    side = case.size[0] // patch
    if hasattr(encoder, "grid_size"):
        encoder.grid_size = side
    seen: dict[int, Tensor] = {}
    layers = list(encoder.transformer.layers)
    # The input of a block is the output of the one before; that of the last comes normed.
    hooks = [
        layer[0].register_forward_pre_hook(
            lambda _, given, number=number: seen.__setitem__(number, given[0].clone())
        )
        for number, layer in enumerate(layers)
    ]
    gsd = (case.resolution_m or 10.0) / case.zoom
    output = encoder(
        {
            "pixels": image,
            "time": _time(case).expand(case.batch, -1),
            "latlon": _place(case).expand(case.batch, -1),
            "gsd": torch.tensor(gsd),
            "waves": torch.tensor([WAVES[band] for band in case.bands]),
        }
    )
    for hook in hooks:
        hook.remove()
    # v1 gives a list of maps, v1.5 the last one and its masks.
    seen[len(layers)] = output[-1] if isinstance(output, list) else output[0]
    return {
        depth: seen[depth][:, 1:].transpose(1, 2).unflatten(2, (side, side))
        for depth in case.depths
    }


def _time(case: Case) -> Tensor:
    if not case.time_location:
        return torch.zeros(1, 4)
    moment = datetime.datetime.fromisoformat(case.dates[0])
    return _turns([moment.isocalendar().week * 2 * math.pi / 52, moment.hour * 2 * math.pi / 24])


def _place(case: Case) -> Tensor:
    if case.location is None:
        return torch.zeros(1, 4)
    longitude, latitude = case.location
    return _turns([latitude * math.pi / 180, longitude * math.pi / 180])


def _turns(angles: Sequence[float]) -> Tensor:
    return torch.tensor([[f(angle) for angle in angles for f in (math.sin, math.cos)]])


if __name__ == "__main__":
    raise SystemExit(common.main(__doc__, MODELS, GOLDEN, peer))
