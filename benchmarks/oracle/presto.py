"""Presto as published against Tilth's, on the same weights; and the golden tensors of the tests.

    python benchmarks/oracle/presto.py --source FOLDER [--weights default_model.pt] [--golden]

FOLDER has the authors' single_file_presto.py (https://github.com/nasaharvest/presto); the
environment needs einops. Without --weights, a small network of random weights serves.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from galileo import INFRARED, NDVI, RADAR, RED, S2, SMALL, Case, catalogue, record, roughen, write
from tilth_engine.backbones.card import Card
from tilth_engine.backbones.presto import PrestoBackbone
from torch import Tensor

PEER = "nasaharvest/presto 13173d0"
YEAR = tuple(f"2023-{month:02}-15" for month in range(3, 13))
SIDE = 3
PLACE = (-111.5, 40.3)

CASES = (
    Case("one-date", S2, SIDE, 1, ("2023-07-01",), PLACE),
    Case("no-date", S2, SIDE, 1, (), PLACE),
    Case("radar-too", RADAR + S2, SIDE, 1, YEAR[:3], PLACE),
    Case("year", S2, SIDE, 1, YEAR, PLACE),
    Case("own-statistics", (2, 3, 4, 8), SIDE, 1, YEAR[:4], PLACE, own_statistics=True),
    Case("no-red", (2, 3, 8), SIDE, 1, YEAR[:2], PLACE),
)
# Where each of our bands is among the authors' 17.
PLACES = (*range(12), 16)


def main() -> None:
    """Compare, print the largest relative difference of each case, and write the golden file."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--source", required=True)
    parser.add_argument("--weights")
    parser.add_argument("--golden", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    sys.path.insert(0, str(Path(given.source)))
    import single_file_presto as peer

    card = catalogue.card_of("presto")
    if not given.weights:
        card = replace(card, options=SMALL)
    torch.manual_seed(0)
    network = peer.Presto.construct(
        encoder_embedding_size=card.options["dim"],
        encoder_depth=card.options["depth"],
        encoder_num_heads=card.options["heads"],
        decoder_embedding_size=card.options["dim"],
        decoder_depth=1,
        decoder_num_heads=card.options["heads"],
    ).eval()
    if given.weights:
        weights = torch.load(given.weights, map_location="cpu", weights_only=True)
        encoder = network.encoder
        encoder.load_state_dict(
            {n.removeprefix("encoder."): t for n, t in weights.items() if n.startswith("encoder.")}
        )
    else:
        roughen(network)
        weights, encoder = network.state_dict(), network.encoder
    kept: dict[str, Tensor] = {}
    told: dict[str, Any] = {}
    for case in CASES:
        backbone = PrestoBackbone(card, case.inputs()).eval()
        backbone.fill(PrestoBackbone.convert(card, weights).tensors)
        generator = torch.Generator().manual_seed(len(case.name))
        bands = len(case.inputs().wavelengths)
        image = torch.randn(2, bands, SIDE, SIDE + 1, generator=generator)
        with torch.inference_mode():
            (ours,) = backbone(image, [backbone.depth])
            theirs = expected(encoder, card, case, image)
        difference = float((ours - theirs).abs().max() / theirs.abs().max())
        print(f"{case.name:24} {difference:.1e}")
        if given.weights:
            record("presto", card, case, difference, f"{PEER}, its weights")
        kept |= {f"image/{case.name}": image, f"map/{case.name}": theirs.contiguous()}
        told[case.name] = case.inputs().to_dict()
    if given.golden and given.weights:
        write("presto-real", {"year": told["year"]}, kept, SMALL)
    elif given.golden:
        write("presto", told, kept, SMALL, weights)


def expected(encoder: Any, card: Card, case: Case, image: Tensor) -> Tensor:
    """The published encoder's map [B, D, h, w]: its output for each pixel."""
    dates, count = max(len(case.dates), 1), len(case.bands)
    pixels = image.permute(0, 2, 3, 1).reshape(-1, dates, count)
    values = torch.tensor(card.mean).expand(len(pixels), dates, -1).clone()
    for number, band in enumerate(case.bands):
        values[..., band] = pixels[..., number] * card.std[band] + card.mean[band]
    there = set(case.bands)
    scaled = torch.zeros(len(pixels), dates, 17)
    scaled[..., :2] = (values[..., :2] + 25) / 25
    scaled[..., 2:12] = values[..., 2:12] / 10000
    if {RED, INFRARED} <= there and not case.own_statistics:
        red, infrared = scaled[..., RED], scaled[..., INFRARED]
        index = torch.where(red + infrared > 0, (infrared - red) / (red + infrared), 0.0)
        scaled[..., 16] = index.clamp(-1, 1)  # reflectance as random as ours may be negative
        there.add(NDVI)
    mask = torch.ones_like(scaled)
    for places in encoder.band_groups.values():
        if any(PLACES[band] in places for band in there):
            mask[..., places] = 0
    months = torch.tensor([int(date[5:7]) - 1 for date in case.dates] or [6])
    lon, lat = case.location or (0.0, 0.0)
    found = encoder(
        scaled,
        torch.full((len(pixels), dates), 9),
        torch.tensor([[lat, lon]]).expand(len(pixels), -1),
        mask,
        months.expand(len(pixels), -1),
    )
    return found.unflatten(0, (len(image), *image.shape[-2:])).permute(0, 3, 1, 2)


if __name__ == "__main__":
    main()
