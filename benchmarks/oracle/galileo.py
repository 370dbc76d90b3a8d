"""Galileo as published against Tilth's, on the same weights; and the golden tensors of the tests.

    python benchmarks/oracle/galileo.py --source FOLDER [--weights encoder.pt] [--golden]

FOLDER has the authors' single_file_galileo.py (https://github.com/nasaharvest/galileo); the
environment needs einops. Without --weights, a small network of random weights serves.
"""

from __future__ import annotations

import argparse
import json
import runpy
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

ROOT = Path(__file__).resolve().parents[2]
runpy.run_path(str(ROOT / "plugin" / "engine" / "launch.py"))  # makes tilth_engine importable

from tilth_engine.backbones import catalogue  # noqa: E402
from tilth_engine.backbones.card import Card  # noqa: E402
from tilth_engine.backbones.galileo import GalileoBackbone  # noqa: E402
from tilth_engine.backbones.inputs import Inputs  # noqa: E402

GOLDEN = ROOT / "tests" / "engine" / "backbones" / "golden"
RESULTS = ROOT / "benchmarks" / "results" / "oracle.jsonl"
# What the recorded differences were measured against.
PEER = "nasaharvest/galileo 0f0b5b9"
SMALL = {"dim": 16, "depth": 2, "heads": 4}
RADAR, S2 = (0, 1), tuple(range(2, 12))
RED, INFRARED, NDVI = 4, 8, 12


@dataclass(frozen=True)
class Case:
    """An input to compare on; `bands` of the card are given for each of the dates."""

    name: str
    bands: tuple[int, ...]
    side: int
    patch: int
    dates: tuple[str, ...] = ()
    location: tuple[float, float] | None = None
    resolution_m: float = 10.0
    own_statistics: bool = False

    def inputs(self) -> Inputs:
        """As a backbone is built for it."""
        count = max(len(self.dates), 1)
        frames = tuple(date for date in range(count) for _ in self.bands)
        return Inputs(
            (None,) * (len(self.bands) * count),
            self.bands * count,
            frames if count > 1 else (),
            self.dates,
            self.location,
            bool(self.location or self.dates),
            self.resolution_m,
            own_statistics=self.own_statistics,
        )


CASES = (
    Case("all", RADAR + S2, 16, 4),
    Case("sentinel2-patch8", S2, 32, 8),
    Case("largest-grid", S2, 48, 4),
    Case("sentinel2-without-ndvi", S2, 24, 4, own_statistics=True),
    Case("blue-green-red-nir", (2, 3, 4, 8), 16, 2, ("2024-02-10",), resolution_m=3.0),
    Case("no-red", (2, 3, 8), 16, 4),
    Case("radar", RADAR, 16, 8),
    Case("two-dates-and-place", S2, 16, 4, ("2024-05-15", "2024-08-15"), (-111.5, 40.3), 20.0),
)
# Too large for the golden files.
LARGE = ("largest-grid",)
# Of these the tests have the maps by the real weights too.
REAL = ("all", "two-dates-and-place")


def main() -> None:
    """Compare, print the largest relative difference of each case, and write the golden file."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--source", required=True)
    parser.add_argument("--weights")
    parser.add_argument("--golden", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    sys.path.insert(0, given.source)
    import single_file_galileo as peer

    card = catalogue.card_of("galileo-nano")
    if not given.weights:
        card = replace(card, options=SMALL)
    torch.manual_seed(0)
    encoder = peer.Encoder(
        embedding_size=card.options["dim"],
        depth=card.options["depth"],
        mlp_ratio=4,
        num_heads=card.options["heads"],
    ).eval()
    if given.weights:
        encoder.load_state_dict(torch.load(given.weights, map_location="cpu", weights_only=True))
    else:
        roughen(encoder)
    published = encoder.state_dict()
    kept: dict[str, Tensor] = {}
    told: dict[str, Any] = {}
    for case in CASES:
        own = replace(card, patch=case.patch)
        backbone = GalileoBackbone(own, case.inputs()).eval()
        backbone.fill(GalileoBackbone.convert(own, published).tensors)
        generator = torch.Generator().manual_seed(len(case.name))
        bands = len(case.inputs().wavelengths)
        image = torch.randn(1, bands, case.side, case.side, generator=generator)
        depths = range(1, backbone.depth + 1)
        with torch.inference_mode():
            ours = backbone(image, depths)
            theirs = [expected(encoder, peer, own, case, image, d) for d in depths]
        worst = max(float((a - b).abs().max() / b.abs().max())
                    for a, b in zip(ours, theirs, strict=True))  # fmt: skip
        print(f"{case.name:24} {worst:.1e}")
        if given.weights:
            record("galileo-nano", card, case, worst, f"{PEER}, its weights")
        kept[f"image/{case.name}"] = image
        kept |= {
            f"map/{case.name}/{d}": m.contiguous() for d, m in zip(depths, theirs, strict=True)
        }
        if case.name not in LARGE:
            told[case.name] = {"patch": case.patch, "inputs": case.inputs().to_dict()}
    if given.golden and given.weights:
        write("galileo-nano", {n: told[n] for n in REAL}, kept, SMALL)
    elif given.golden:
        used = {name: tensor for name, tensor in published.items() if "space_embed" not in name}
        write("galileo", told, kept, SMALL, used)


def write(
    name: str,
    cases: dict[str, Any],
    tensors: dict[str, Tensor],
    options: dict[str, int],
    weights: Mapping[str, Tensor] | None = None,
) -> None:
    """A golden file of the images and maps of `cases`, and of weights that are small enough."""
    kept = {key: tensor for key, tensor in tensors.items() if key.split("/")[1] in cases}
    # Half of each number says enough: `roughen` has rounded them.
    kept |= {f"published/{name}": tensor.half() for name, tensor in (weights or {}).items()}
    path = GOLDEN / f"{name}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(kept, path, {"cases": json.dumps(cases), "options": json.dumps(options)})
    print(path, path.stat().st_size)


def record(model: str, card: Card, case: Case, difference: float, peer: str) -> None:
    """Add a line to the results of all oracles."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    line = {
        "model": model,
        "case": case.name,
        "size": [case.side, case.side],
        "bands": [card.bands[band].name for band in case.bands],
        "dates": max(len(case.dates), 1),
        "relative_difference": float(f"{difference:.2e}"),
        "peer": peer,
        "commit": commit,
    }
    with RESULTS.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def roughen(network: torch.nn.Module) -> None:
    """Random values for what starts as zeros, and all learnt ones rounded to half precision."""
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.1)
                parameter.copy_(parameter.half().float())


def expected(encoder: Any, peer: Any, card: Card, case: Case, image: Tensor, depth: int) -> Tensor:
    """The published encoder's map [1, D, h, w] after `depth` blocks."""
    dates, side = max(len(case.dates), 1), case.side
    mean, std = torch.tensor(card.mean), torch.tensor(card.std)
    values = mean.expand(dates, side, side, -1).clone()
    planes = image[0].reshape(dates, len(case.bands), side, side)
    for number, band in enumerate(case.bands):
        values[..., band] = planes[:, number] * std[band] + mean[band]
    there = set(case.bands)
    if {RED, INFRARED} <= there and not case.own_statistics:
        red, infrared = values[..., RED], values[..., INFRARED]
        index = torch.where(red + infrared > 0, (infrared - red) / (red + infrared), 0.0)
        values[..., NDVI] = index.clamp(-1, 1)  # reflectance as random as ours may be negative
        there.add(NDVI)
    scaled = (values - (mean - 2 * std)) / (4 * std)
    scaled[..., NDVI] = values[..., NDVI]
    seen = [bool(there & set(places)) for places in peer.SPACE_TIME_BANDS_GROUPS_IDX.values()]
    mask = torch.tensor([0.0 if group else 1.0 for group in seen])
    months = [int(date[5:7]) - 1 for date in case.dates] or [6]
    static, hidden = torch.zeros(1, len(peer.STATIC_BANDS)), torch.ones(1, 4)
    if case.location:
        lon, lat = torch.deg2rad(torch.tensor(case.location))
        places = [peer.STATIC_BANDS.index(name) for name in "xyz"]
        static[0, places] = torch.stack([lat.cos() * lon.cos(), lat.cos() * lon.sin(), lat.sin()])
        hidden[0, 1] = 0
    output = encoder(
        scaled.permute(1, 2, 0, 3)[None],
        torch.zeros(1, side, side, len(peer.SPACE_BANDS)),
        torch.zeros(1, dates, len(peer.TIME_BANDS)),
        static,
        mask.expand(1, side, side, dates, -1),
        torch.ones(1, side, side, 3),
        torch.ones(1, dates, 3),
        hidden,
        torch.tensor([months]),
        case.patch,
        case.resolution_m,
        exit_after=depth,
        add_layernorm_on_exit=depth == len(encoder.blocks),
    )
    means = encoder.apply_mask_and_average_tokens_per_patch(*output[:-1])
    return means.transpose(1, 2).unflatten(2, (side // case.patch, -1))


if __name__ == "__main__":
    main()
