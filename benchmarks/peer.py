"""Side by side with TerraTorch: `.venv/bin/python benchmarks/peer.py --peer PYTHON`.

The same backbone tensors (random ones, made by the peer), method (LoRA of rank 16 on q, v, fc1 and
fc2), decoder (linear), chips and batches, in one run, by turns. Each side trains as it does by
default: TerraTorch in float32 (its import lets a CPU multiply in bfloat16) with a constant rate,
Tilth with its mixed precision, frozen weights in what the device multiplies in, warm-up, decay and
average of the weights. Both decoders begin at random weights: where Tilth's own would begin, at a
logistic regression, is made for a backbone that has learnt something. Tilth's runs for the loss
have half of the time that TerraTorch's best needed for its least loss. On a GPU, also the share of
the measured bfloat16 peak that LoRA training of Prithvi 300M reaches.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from revision import commit
from torch import Tensor, nn
from torch.nn import functional as F

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "peer.jsonl"
MODELS = {
    "prithvi-2-tiny-tl": "prithvi_eo_v2_tiny_tl",
    "prithvi-2-100m-tl": "prithvi_eo_v2_100_tl",
    "prithvi-2-300m-tl": "prithvi_eo_v2_300_tl",
}
BANDS = ["B02", "B03", "B04", "B8A", "B11", "B12"]
PEER_BANDS = ["BLUE", "GREEN", "RED", "NIR_NARROW", "SWIR_1", "SWIR_2"]
RATES = (3e-4, 1e-3, 3e-3)
CLASSES = 7  # of the sample scene


def main() -> None:
    """Run both sides by turns and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer", help="the Python of an environment with terratorch and peft")
    parser.add_argument("--models", nargs="*", default=["prithvi-2-tiny-tl", "prithvi-2-100m-tl"])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--chip", type=int, default=112)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=60, help="of TerraTorch's runs for the loss")
    parser.add_argument("--timed", type=int, default=12, help="steps that are timed, each turn")
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--side", choices=("tilth", "terratorch"), help=argparse.SUPPRESS)
    parser.add_argument("--work", help=argparse.SUPPRESS)
    parser.add_argument("--rate", type=float, default=0.0, help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, default=0.0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    if options.side:
        print(json.dumps(side(options)))
    else:
        for model in options.models:
            compare(options, model)
        if options.device == "cuda":
            print(json.dumps(share_of_peak()))


def compare(options: argparse.Namespace, model: str) -> None:
    """One model: steps by turns, then three rates on each side; appends the result."""
    with tempfile.TemporaryDirectory() as folder:
        seconds: dict[str, list[float]] = {"terratorch": [], "tilth": []}
        last: dict[str, dict[str, Any]] = {}
        for _ in range(options.turns):
            for name in seconds:
                last[name] = child(options, model, folder, name, 0.0)
                seconds[name].append(last[name]["step_seconds"])
        best = {"terratorch": best_of(options, model, folder, "terratorch", steps=options.steps)}
        needed, target = min(best["terratorch"]["curve"], key=lambda point: point[1])
        # As a user of Tilth gives a training its minutes: half of what the other needed.
        best["tilth"] = best_of(options, model, folder, "tilth", seconds=needed / 2)
    reached = {
        name: next((at for at, loss in run["curve"] if loss <= target), None)
        for name, run in best.items()
    }
    row = {
        "model": model,
        "device": torch.cuda.get_device_name() if options.device == "cuda" else "cpu",
        "chip": options.chip,
        "batch": options.batch,
        "peer": last["terratorch"]["version"],
        "step_seconds": {name: min(values) for name, values in seconds.items()},
        "step_ratio": min(seconds["tilth"]) / min(seconds["terratorch"]),
        "peak_mb": {name: last[name]["peak_mb"] for name in seconds},
        "tensors_mb": {name: last[name]["tensors_mb"] for name in seconds},
        "saved_mb": {name: last[name]["saved_mb"] for name in seconds},
        "best_rate": {name: run["rate"] for name, run in best.items()},
        "steps": {name: run["steps"] for name, run in best.items()},
        "least_loss": {name: least(run) for name, run in best.items()},
        "target_loss": target,
        "seconds_to_target": reached,
        "commit": commit(),
    }
    with RESULTS.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
    print(json.dumps(row, indent=1), flush=True)


def best_of(
    options: argparse.Namespace, model: str, folder: str, name: str, **bound: float
) -> dict[str, Any]:
    """Of one side's runs of so many steps or seconds, a run a rate, the one with the least loss."""
    runs = [child(options, model, folder, name, rate, **bound) for rate in RATES]
    return min(runs, key=least)


def least(run: dict[str, Any]) -> float:
    """The least validation loss of a run."""
    return min(loss for _, loss in run["curve"])


def child(
    options: argparse.Namespace,
    model: str,
    folder: str,
    name: str,
    rate: float,
    steps: int = 0,
    seconds: float = 0.0,
) -> dict[str, Any]:
    """One side's run in a process of its own environment."""
    python = options.peer if name == "terratorch" else sys.executable
    command = [python, str(Path(__file__).resolve()), "--side", name, "--work", folder]
    command += ["--models", model, "--device", options.device, "--chip", str(options.chip)]
    command += ["--batch", str(options.batch), "--steps", str(steps)]
    command += ["--timed", str(options.timed), "--threads", str(options.threads)]
    command += ["--rate", str(rate), "--seconds", str(seconds)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ})
    return json.loads(done.stdout.splitlines()[-1])


def side(options: argparse.Namespace) -> dict[str, Any]:
    """One side: timed steps (rate 0), or a run with the validation loss as it goes."""
    device, model = torch.device(options.device), options.models[0]
    torch.manual_seed(0)
    made = tilth if options.side == "tilth" else terratorch
    network, step, ready, saved, version = made(model, Path(options.work), device)
    draw, held_out = chips(options.chip)
    result: dict[str, Any] = {"version": version, "rate": options.rate}
    rng = np.random.default_rng(0)
    if options.rate:
        number, spent, done, curve = 0, 0.0, 0.0, []
        while done < 1:
            image, target = draw(rng, options.batch)
            started = time.monotonic()
            step(image.to(device), target.to(device), options.rate, done)
            wait(device)
            number, spent = number + 1, spent + time.monotonic() - started
            done = spent / options.seconds if options.seconds else number / options.steps
            if number % 5 == 0 or done >= 1:
                with ready():
                    curve.append((spent, validation(network, held_out, device)))
        return {**result, "curve": curve, "steps": number}
    times = []
    with Peak(device) as peak:
        for _ in range(options.timed + 2):
            image, target = draw(rng, options.batch)
            started = time.monotonic()
            step(image.to(device), target.to(device), 1e-3, 0.5)
            wait(device)
            times.append(time.monotonic() - started)
    image, target = draw(rng, options.batch)
    in_step = tensors_mb(lambda: step(image.to(device), target.to(device), 1e-3, 0.5), device)
    saved_mb = saved() / 1e6
    return {
        **result,
        "step_seconds": statistics.median(times[2:]),
        "peak_mb": peak.mb,
        "tensors_mb": in_step,
        "saved_mb": saved_mb,
    }


def chips(size: int) -> tuple[Callable[..., tuple[Tensor, Tensor]], list[tuple[Tensor, Tensor]]]:
    """A function that draws batches from the sample scene's west, and batches of its east."""
    import rasterio

    with rasterio.open(ROOT / "resources" / "sample" / "image.tif") as file:
        places = [file.descriptions.index(band) + 1 for band in BANDS]
        image = file.read(places).astype(np.float32)
    with rasterio.open(ROOT / "resources" / "sample" / "truth.tif") as file:
        truth = file.read(1).astype(np.int64) - 1
    image = (image - image.mean((1, 2), keepdims=True)) / image.std((1, 2), keepdims=True)
    times = -(-size // 128)  # larger chips need a larger scene
    image, truth = (np.kron(part, np.ones((times, times), part.dtype)) for part in (image, truth))
    edge = image.shape[2] * 2 // 3

    def draw(rng: np.random.Generator, batch: int) -> tuple[Tensor, Tensor]:
        rows = rng.integers(0, image.shape[1] - size + 1, batch)
        columns = rng.integers(0, edge - size + 1, batch)
        places = list(zip(rows, columns, strict=True))
        return (
            torch.from_numpy(np.stack([image[:, r : r + size, c : c + size] for r, c in places])),
            torch.from_numpy(np.stack([truth[r : r + size, c : c + size] for r, c in places])),
        )

    rows = range(0, image.shape[1] - size + 1, size)
    east = np.s_[edge : edge + size]
    held_out = [
        (
            torch.from_numpy(image[None, :, r : r + size, east].copy()),
            torch.from_numpy(truth[None, r : r + size, east].copy()),
        )
        for r in rows
    ]
    return draw, held_out


def validation(
    network: Callable[[Tensor], Tensor], held_out: list[tuple[Tensor, Tensor]], device: torch.device
) -> float:
    """The mean cross-entropy over the held-out chips."""
    with torch.inference_mode():
        losses = [
            F.cross_entropy(network(image.to(device)).float(), target.to(device), ignore_index=-1)
            for image, target in held_out
        ]
    return float(torch.stack(losses).mean())


def tilth(model: str, work: Path, device: torch.device) -> tuple:
    """Tilth's side: network, step, how to look at the average, size of what is saved, version."""
    sys.path.insert(0, str(ROOT / "plugin" / "engine"))
    import launch  # noqa: F401  makes tilth_engine importable
    from safetensors.torch import load_file, save
    from tilth_engine.adapter_file import in_half
    from tilth_engine.backbones import catalogue
    from tilth_engine.backbones.inputs import Inputs
    from tilth_engine.devices import mixed_precision
    from tilth_engine.model.decoders.factory import DecoderSettings
    from tilth_engine.model.methods.method import Method
    from tilth_engine.model.segmenter import build, stored
    from tilth_engine.training import memory
    from tilth_engine.training.average import Average
    from tilth_engine.training.schedule import schedule
    from tilth_engine.training.scoring import Settings
    from tilth_engine.version import VERSION

    card = catalogue.card_of(model)
    inputs = Inputs.all_of(card)
    fresh = catalogue.build(model, inputs, random_weights=True)
    kind = catalogue.ARCHITECTURES[card.architecture]
    fresh.fill(kind.convert(card, load_file(work / "backbone.safetensors")).tensors)
    weights = fresh.state_dict()
    method = Method("lora", 16, 16, targets=("q", "v", "fc1", "fc2"))
    settings = DecoderSettings("linear", image_branch=False)
    original = catalogue.build

    def built(*arguments: Any, **keywords: Any) -> Any:
        backbone = original(*arguments, **{**keywords, "random_weights": True})
        backbone.load_state_dict(weights)
        return backbone

    catalogue.build = built
    network, method = build(model, method, settings, inputs, CLASSES)
    memory.prepare(network.backbone, "auto", False, device)
    network = network.to(device).to(memory_format=torch.channels_last)
    times = Settings.decoder_rate / Settings.learning_rate
    groups = [
        {"params": [p for p in part.parameters() if p.requires_grad], "lr": 0.0, "times": times}
        for part, times in ((network.backbone, 1.0), (network.decoder, times))
    ]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.01)
    average = Average(network)
    parameters = [p for group in groups for p in group["params"]]

    def step(image: Tensor, target: Tensor, rate: float, done: float) -> None:
        network.train()
        for group in optimizer.param_groups:
            group["lr"] = rate * group["times"] * schedule(done, 0.05)
        with mixed_precision(device):
            logits = network(image.contiguous(memory_format=torch.channels_last))
        loss = F.cross_entropy(logits.float(), target, ignore_index=-1)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        average.update(network)

    def saved() -> int:
        tensors = {**stored(network, method), **network.decoder.state_dict()}
        halves = {name: in_half(t.detach().cpu()).contiguous() for name, t in tensors.items()}
        return len(zlib.compress(save(halves)))  # as in the adapter file, which is a zip

    def judged(image: Tensor) -> Tensor:
        with mixed_precision(device):
            return network.eval()(image)

    return judged, step, lambda: average.applied(network), saved, VERSION


def terratorch(model: str, work: Path, device: torch.device) -> tuple:
    """TerraTorch's side, as its factory makes it; writes the backbone's tensors for the other."""
    import contextlib
    from importlib.metadata import version

    from safetensors.torch import save_file
    from terratorch.registry import BACKBONE_REGISTRY
    from terratorch.tasks import SemanticSegmentationTask

    name = MODELS[model]
    torch.manual_seed(0)
    plain = BACKBONE_REGISTRY.build(
        f"terratorch_{name}", pretrained=False, bands=PEER_BANDS, num_frames=1
    )
    path = work / "backbone.safetensors"
    if not path.is_file():
        state = {k: v.clone().contiguous() for k, v in plain.state_dict().items()}
        save_file(state, path)
    torch.manual_seed(0)  # so that the task's backbone has the same tensors
    task = SemanticSegmentationTask(
        model_factory="EncoderDecoderFactory",
        model_args={
            "backbone": f"terratorch_{name}",
            "backbone_pretrained": False,
            "backbone_bands": PEER_BANDS,
            "backbone_num_frames": 1,
            "decoder": "LinearDecoder",
            "decoder_upsampling_size": 16,
            "decoder_num_classes": CLASSES,
            "num_classes": CLASSES,
            "necks": [{"name": "SelectIndices", "indices": [-1]}, {"name": "ReshapeTokensToImage"}],
            "peft_config": {
                "method": "LORA",
                "replace_qkv": "qkv",
                "peft_config_kwargs": {
                    "r": 16,
                    "lora_alpha": 16,
                    "target_modules": ["qkv.q_linear", "qkv.v_linear", "mlp.fc1", "mlp.fc2"],
                },
            },
        },
        loss="ce",
        ignore_index=-1,
        freeze_backbone=False,
    )
    network = task.model.to(device)
    of_task = dict(network.encoder.named_parameters())
    first = next(value for key, value in of_task.items() if key.endswith("fc1.base_layer.weight"))
    assert torch.equal(first.cpu(), plain.state_dict()["blocks.0.mlp.fc1.weight"])
    parameters = [p for p in network.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters)

    def step(image: Tensor, target: Tensor, rate: float, done: float) -> None:
        network.train()
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss = F.cross_entropy(network(image).output, target, ignore_index=-1)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    def saved() -> int:
        buffer = io.BytesIO()
        state = {"state_dict": network.state_dict(), "optimizer_states": [optimizer.state_dict()]}
        torch.save(state, buffer)
        return buffer.getbuffer().nbytes

    def judged(image: Tensor) -> Tensor:
        return network.eval()(image).output

    return judged, step, contextlib.nullcontext, saved, f"terratorch {version('terratorch')}"


class Peak:
    """The most memory that a block took beyond what was there before: `mb`."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.mb = device, 0.0

    def __enter__(self) -> Peak:
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
            return self
        self._most, self._before, self._over = 0, resident(), threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self.device.type == "cuda":
            self.mb = torch.cuda.max_memory_allocated() / 1e6
            return
        self._over.set()
        self._thread.join()
        self.mb = (self._most - self._before) / 1e6

    def _watch(self) -> None:
        while not self._over.wait(0.01):
            self._most = max(self._most, resident())


def tensors_mb(step: Callable[[], None], device: torch.device) -> float:
    """The most memory that PyTorch's tensors take at one time in a step, beyond what is kept.

    What the process holds besides (libraries, heaps that are not given back) differs between runs.
    """
    if device.type == "cuda":
        kept = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        step()
        wait(device)
        return (torch.cuda.max_memory_allocated() - kept) / 1e6
    with torch.profiler.profile(profile_memory=True) as profile:
        step()
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.json"
        profile.export_chrome_trace(str(trace))
        events = json.loads(trace.read_text(encoding="utf-8"))["traceEvents"]
    held = [event["args"]["Total Allocated"] for event in events if event["name"] == "[memory]"]
    return (max(held) - held[0]) / 1e6


def resident() -> int:
    """The bytes of memory that this process holds (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def wait(device: torch.device) -> None:
    """Until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def share_of_peak(model: str = "prithvi-2-300m-tl", chip: int = 224, batch: int = 32) -> dict:
    """LoRA training's operations a second, as a share of what bfloat16 products reach here."""
    from torch.utils.flop_counter import FlopCounterMode

    sys.path.insert(0, str(ROOT / "plugin" / "engine"))
    import launch  # noqa: F401  makes tilth_engine importable
    from tilth_engine.backbones import catalogue
    from tilth_engine.backbones.inputs import Inputs
    from tilth_engine.devices import mixed_precision
    from tilth_engine.model.decoders.factory import DecoderSettings
    from tilth_engine.model.methods.method import Method
    from tilth_engine.model.segmenter import build

    device = torch.device("cuda")
    inputs = Inputs.all_of(catalogue.card_of(model))
    settings = DecoderSettings("linear", image_branch=False)
    network, _ = build(model, Method(), settings, inputs, CLASSES, random_backbone=True)
    network = network.to(device).train()
    image = torch.randn(batch, len(BANDS), chip, chip, device=device)

    def step() -> None:
        with mixed_precision(device):
            loss = network(image).float().square().mean()
        loss.backward()

    with FlopCounterMode(display=False) as counter:
        step()
    left = torch.randn(8192, 8192, device=device, dtype=torch.bfloat16)
    peak = 2 * 8192**3 / seconds_of(lambda: left @ left)
    reached = counter.get_total_flops() / seconds_of(step)
    return {"model": model, "tflops": reached / 1e12, "peak_tflops": peak / 1e12,
            "share": reached / peak}  # fmt: skip


def seconds_of(work: Callable[[], Any], times: int = 10) -> float:
    """The median time of some work on the GPU."""
    for _ in range(3):
        work()
    found = []
    for _ in range(times):
        torch.cuda.synchronize()
        started = time.monotonic()
        work()
        torch.cuda.synchronize()
        found.append(time.monotonic() - started)
    return statistics.median(found)


if __name__ == "__main__":
    main()
