"""What the oracle scripts share: the two halves, what they hand over, and the comparison.

A script gives `main` its models and a function for each half. The peer's half runs in the peer's
environment and must not import the engine; it writes a folder a model: `weights.safetensors`
(published names), `cases.json` and for each case `NAME.safetensors` with `image` and a `map.DEPTH`
for each depth. The other half is the same for all: `convert`, build, `fill`, run, compare.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import runpy
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "oracle.jsonl"
GOLDEN = ROOT / "tests" / "engine" / "backbones" / "golden"
LIMIT = 1e-4
# Small enough to be tracked.
GOLDEN_BYTES = 150_000


Maps = Mapping[int, Tensor]


@dataclass
class Case:
    """One comparison. `bands` are indices into the card's; the rest is as `Inputs` has it."""

    name: str
    size: tuple[int, int]
    bands: list[int]
    depths: list[int]
    frames: list[int] = field(default_factory=list)
    dates: list[str] = field(default_factory=list)
    location: tuple[float, float] | None = None
    time_location: bool = False
    batch: int = 1
    resolution_m: float | None = None
    zoom: float = 1.0

    def image(self) -> Tensor:
        """A standardised image [batch, C, H, W]."""
        generator = torch.Generator().manual_seed(1)
        return torch.randn(self.batch, len(self.bands), *self.size, generator=generator)


@dataclass
class Answer:
    """What the peer says of a model: weights in published names, and the cases' maps by depth.

    The maps, or a function of the image that makes them: so a case can be left out. `card`
    overrules fields of Tilth's card of that name (a tiny network's options and sizes).
    """

    weights: Mapping[str, Tensor]
    peer: str
    cases: Iterable[tuple[Case, Tensor, Maps | Callable[[Tensor], Maps]]]
    card: Mapping[str, Any] = field(default_factory=dict)


Peer = Callable[[str], Answer]


def randomise(module: nn.Module, seed: int = 0) -> nn.Module:
    """Draw every parameter, so that none is zero or one and none can be mixed up unnoticed."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim > 1:
                fan = math.prod(parameter.shape[1:]) if min(parameter.shape[:2]) > 1 else 1
                parameter.copy_(noise * fan**-0.5)
            elif name.endswith("bias"):
                parameter.copy_(0.1 * noise)
            else:
                parameter.copy_(1 + 0.1 * noise)
    return module


def main(
    doc: str | None,
    models: Mapping[str, str],
    golden: Mapping[str, str],
    peer: Peer,
) -> int:
    """The command line of a script. Returns 1 where a difference is above `LIMIT`.

    models: what is compared, by name; the value is the id of Tilth's card.
    golden: the same of the tiny networks; the names are those of their files.
    """
    parser = argparse.ArgumentParser(description=doc)
    parser.add_argument("--peer", help="the Python of the peer's environment")
    parser.add_argument("--only", nargs="*", default=[], help="these models alone")
    parser.add_argument("--cases", nargs="*", default=[], help="these cases alone")
    parser.add_argument("--golden", action="store_true", help="make the tests' files anew")
    parser.add_argument("--half", nargs=2, metavar=("MODEL", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    if options.half:
        name, folder = options.half
        write(Path(folder), peer(name), options.cases)
        return 0
    if not options.peer:
        parser.error("--peer is needed")
    chosen = golden if options.golden else models
    worst = 0.0
    for name, card_id in chosen.items():
        if options.only and name not in options.only:
            continue
        with tempfile.TemporaryDirectory() as folder:
            command = [options.peer, str(Path(sys.argv[0]).resolve()), "--half", name, folder]
            subprocess.run([*command, "--cases", *options.cases], check=True)
            worst = max(worst, compare(name, card_id, Path(folder), record=not options.golden))
            if options.golden:
                keep(name, card_id, Path(folder))
    return int(worst > LIMIT)


def write(folder: Path, answer: Answer, only: Sequence[str]) -> None:
    """The peer's half of a model; all cases where `only` is empty."""
    save_file(
        {name: tensor.detach().contiguous().clone() for name, tensor in answer.weights.items()},
        folder / "weights.safetensors",
    )
    # Importing TerraTorch lowers it to bfloat16 where a CPU can, from the import on.
    torch.set_float32_matmul_precision("highest")
    cases = []
    for case, image, found in answer.cases:
        if only and case.name not in only:
            continue
        with torch.inference_mode():
            maps = found(image) if callable(found) else found
        tensors = {"image": image, **{f"map.{depth}": value for depth, value in maps.items()}}
        save_file(
            {name: value.detach().contiguous().clone() for name, value in tensors.items()},
            folder / f"{case.name}.safetensors",
        )
        cases.append(asdict(case))
    facts = {"peer": answer.peer, "cases": cases, "card": dict(answer.card)}
    (folder / "cases.json").write_text(json.dumps(facts), encoding="utf-8")


def compare(name: str, card_id: str, folder: Path, *, record: bool) -> float:
    """Tilth's half: the largest relative difference of a model's cases, printed one by one."""
    runpy.run_path(str(ROOT / "plugin" / "engine" / "launch.py"))  # makes tilth_engine importable
    from tilth_engine.backbones import catalogue
    from tilth_engine.backbones.card import Card
    from tilth_engine.backbones.inputs import Inputs

    facts = json.loads((folder / "cases.json").read_text(encoding="utf-8"))
    card = Card.from_dict({**catalogue.card_of(card_id).to_dict(), **facts["card"]})
    architecture = catalogue.ARCHITECTURES[card.architecture]
    converted = architecture.convert(card, load_file(folder / "weights.safetensors"))
    worst = 0.0
    for values in facts["cases"]:
        case = Case(**values)
        inputs = Inputs(
            tuple(card.bands[index].wavelength_nm for index in case.bands),
            tuple(case.bands),
            tuple(case.frames),
            tuple(case.dates),
            None if case.location is None else (case.location[0], case.location[1]),
            case.time_location,
            case.resolution_m,
            case.zoom,
        )
        network = architecture(card, inputs)
        network.fill(converted.tensors)
        tensors = load_file(folder / f"{case.name}.safetensors")
        with torch.inference_mode():
            maps = network.eval()(tensors["image"], case.depths)
        difference = max(
            relative(found, tensors[f"map.{depth}"])
            for depth, found in zip(case.depths, maps, strict=True)
        )
        worst = max(worst, difference)
        mark = "ok" if difference <= LIMIT else "TOO FAR"
        size = "x".join(str(side) for side in case.size)
        print(f"{name:24} {case.name:20} {size:9} {difference:.1e} {mark}", flush=True)
        if record:
            _record(name, case, card, difference, facts["peer"])
    return worst


def relative(found: Tensor, expected: Tensor) -> float:
    """max|a-b| / max|b|; infinite where shapes differ."""
    if found.shape != expected.shape:
        return math.inf
    return float((found - expected).abs().max() / expected.abs().max())


def keep(name: str, card_id: str, folder: Path) -> None:
    """One file for the tests: weights/NAME, CASE/image, CASE/map.DEPTH; facts as metadata."""
    tensors = {
        f"weights/{key}": value for key, value in load_file(folder / "weights.safetensors").items()
    }
    facts = json.loads((folder / "cases.json").read_text(encoding="utf-8"))
    for case in facts["cases"]:
        found = load_file(folder / f"{case['name']}.safetensors")
        tensors |= {f"{case['name']}/{key}": value for key, value in found.items()}
    path = GOLDEN / f"{name}.safetensors"
    path.parent.mkdir(exist_ok=True)
    metadata = {"card_id": card_id, **{key: json.dumps(value) for key, value in facts.items()}}
    save_file(tensors, path, metadata=metadata)
    if path.stat().st_size > GOLDEN_BYTES:
        raise SystemExit(f"{path} has {path.stat().st_size} bytes, more than {GOLDEN_BYTES}")


def spread(depth: int) -> list[int]:
    """Four depths of a network, or all of fewer."""
    return sorted({max(depth * quarter // 4, 1) for quarter in (1, 2, 3, 4)})


def _record(name: str, case: Case, card: Any, difference: float, peer: str) -> None:
    git = shutil.which("git") or "git"
    commit = subprocess.run(
        [git, "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()
    line = {
        "model": name,
        "case": case.name,
        "size": list(case.size),
        "bands": [_band(card.bands[index]) for index in case.bands],
        "dates": max(case.frames, default=0) + 1,
        "relative_difference": float(f"{difference:.2e}"),
        "peer": peer,
        "commit": commit,
    }
    RESULTS.parent.mkdir(exist_ok=True)
    with RESULTS.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def _band(band: Any) -> str:
    return f"{band.group} {band.name}" if band.group else str(band.name)


def version(package: str) -> str:
    """`package version` of what is installed here."""
    from importlib import metadata

    return f"{package} {metadata.version(package)}"
