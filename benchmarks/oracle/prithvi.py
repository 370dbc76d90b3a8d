"""Prithvi against TerraTorch: run `python benchmarks/oracle/prithvi.py --peer PYTHON`.

The peer builds its masked autoencoder (whose names are those of the official files), and its
encoder with TerraTorch's own filter for checkpoints and bands.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from common import Answer, Case, main, randomise, spread, version
from torch import Tensor

# Tilth's models and TerraTorch's names of them.
PEERS = {
    "prithvi-1-100m": "prithvi_eo_v1_100",
    "prithvi-2-tiny-tl": "prithvi_eo_v2_tiny_tl",
    "prithvi-2-100m-tl": "prithvi_eo_v2_100_tl",
    "prithvi-2-300m": "prithvi_eo_v2_300",
    "prithvi-2-300m-tl": "prithvi_eo_v2_300_tl",
    "prithvi-2-600m": "prithvi_eo_v2_600",
    "prithvi-2-600m-tl": "prithvi_eo_v2_600_tl",
}
GOLDEN = {"prithvi_tl": "prithvi-2-tiny-tl"}
TINY = {"dim": 16, "depth": 2, "heads": 2}
# In the card's order; the names are TerraTorch's.
BANDS = ["BLUE", "GREEN", "RED", "NIR_NARROW", "SWIR_1", "SWIR_2"]
YEARS = ["2019-02-28", "2020-06-30", "2020-12-31"]


def cases(side: int, patch: int, depth: int, time_location: bool) -> list[Case]:
    """The native chip, other sizes, a part of the bands in another order, dates, time and place."""
    every, depths = list(range(len(BANDS))), spread(depth)
    other = (5 * patch, 3 * patch)
    found = [
        Case("native", (side, side), every, depths, batch=2),
        Case("other-size", other, every, depths),
        Case("subset", (side, side), [3, 0, 5], depths),
        Case("dates", (side, side), every * 3, depths, [d for d in range(3) for _ in every]),
    ]
    if time_location:
        found += [
            Case(
                "time-location",
                (side, side),
                every,
                depths,
                dates=YEARS[:1],
                location=(-4.08, 52.41),
                time_location=True,
            ),
            Case(
                "dates-time-location",
                other,
                [2, 3] * 3,
                depths,
                frames=[0, 0, 1, 1, 2, 2],
                dates=YEARS,
                location=(151.2, -33.9),
                time_location=True,
            ),
        ]
    return found


def peer(name: str) -> Answer:
    """TerraTorch's half of a model."""
    from terratorch.models.backbones import prithvi_vit
    from terratorch.models.backbones.prithvi_mae import PrithviMAE

    tiny = name in GOLDEN
    config = dict(prithvi_vit.prithvi_cfgs[PEERS[GOLDEN.get(name, name)]])
    card: dict[str, Any] = {}
    if tiny:
        config |= {"img_size": 16, "patch_size": [1, 4, 4], "embed_dim": 16, "depth": 2}
        config |= {"num_heads": 2, "decoder_embed_dim": 16, "decoder_depth": 0}
        options = {**TINY, "coordinates": True}
        card = {"options": options, "patch": 4, "native_size": 16}
    whole = randomise(PrithviMAE(**config))
    weights = dict(whole.state_dict())
    if name == "prithvi-1-100m":  # the first model's file has neither prefix
        weights = {key.removeprefix("encoder.").removeprefix("decoder."): value
                   for key, value in weights.items()}  # fmt: skip
    side, patch = int(config["img_size"]), int(config["patch_size"][-1])
    time_location = bool(config["coords_encoding"])
    chosen = cases(side, patch, int(config["depth"]), time_location)

    def run(case: Case, image: Tensor) -> dict[int, Tensor]:
        dates = max(case.frames, default=0) + 1
        bands = [BANDS[index] for index in case.bands[: len(case.bands) // dates]]
        model = _encoder(prithvi_vit, {**config, "num_frames": dates}, weights, bands)
        stack = image.unflatten(1, (dates, len(bands))).transpose(1, 2)
        features = model.forward_features(stack, *_coordinates(case))
        grid = (dates, *(length // patch for length in case.size))
        return {
            depth: features[depth - 1][:, 1:]
            .unflatten(1, grid)
            .permute(0, 1, 4, 2, 3)
            .flatten(1, 2)
            for depth in case.depths
        }

    found = [(case, case.image(), partial(run, case)) for case in chosen]
    return Answer(weights, version("terratorch"), found, card)


def _encoder(
    prithvi_vit: Any, config: dict[str, Any], weights: Mapping[str, Tensor], bands: list[str]
) -> Any:
    """TerraTorch's encoder of these bands, filled as it fills official ones."""
    from terratorch.datasets import HLSBands

    wanted = [HLSBands.try_convert_to_hls_bands_enum(band) for band in bands]
    model = prithvi_vit.PrithviViT(**{**config, "in_chans": len(bands)})
    model.load_state_dict(
        prithvi_vit.checkpoint_filter_fn_vit(
            dict(weights), model, prithvi_vit.PRETRAINED_BANDS, wanted
        )
    )
    return model.eval()


def _coordinates(case: Case) -> list[Tensor | None]:
    """For TerraTorch: years and days of the year [B, T, 2], latitude and longitude [B, 2]."""
    if not case.time_location or case.location is None:
        return [None, None]
    import datetime

    days = [datetime.date.fromisoformat(date) for date in case.dates]
    time = [[float(day.year), float(day.timetuple().tm_yday)] for day in days]
    longitude, latitude = case.location
    return [torch.tensor([time]), torch.tensor([[latitude, longitude]])]


if __name__ == "__main__":
    sys.exit(main(__doc__, {name: name for name in PEERS}, GOLDEN, peer))
