"""The device memory that each model needs, computed without a device, and written into its card.

    python benchmarks/memory.py [ID ...] [--write]

A training step (LoRA of rank 16 on all of the model's targets, or all weights where they begin at
random; 8 chips of the native size, the default decoder, bfloat16) and the mapping of one chip are
run on fake tensors, which have a shape, a type and a storage but no values. What counts is the most
bytes that are alive at once: weights, what is kept for the backward pass, gradients, the
optimiser's states and what is in between. CUDA's own half gigabyte and what its allocator leaves
unused come on top. The image is of Sentinel-2's bands (red, green and blue for those that know no
others), of one date.
"""

from __future__ import annotations

import argparse
import re
import runpy
import weakref
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

ROOT = Path(__file__).resolve().parents[1]
runpy.run_path(str(ROOT / "plugin" / "engine" / "launch.py"))  # makes tilth_engine importable

from tilth_engine.backbones import catalogue  # noqa: E402
from tilth_engine.backbones.card import Card  # noqa: E402
from tilth_engine.backbones.inputs import Inputs  # noqa: E402
from tilth_engine.backbones.matching import match_bands  # noqa: E402
from tilth_engine.data.bands import SENTINEL2, Band  # noqa: E402
from tilth_engine.errors import TilthError  # noqa: E402
from tilth_engine.model import segmenter as segmenters  # noqa: E402
from tilth_engine.model.decoders.factory import DecoderSettings  # noqa: E402
from tilth_engine.model.methods.method import Method  # noqa: E402
from tilth_engine.training.memory import prepare  # noqa: E402

BATCH = 8
CLASSES = 6
CPU = torch.device("cpu")


class Alive(TorchDispatchMode):
    """Counts the bytes of the storages that are alive, and the most there ever were."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0
        self.known: set[int] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Run an operation and count what it has made."""
        found = func(*args, **(kwargs or {}))
        for value in tree_leaves(found):
            if isinstance(value, Tensor):
                self._count(value)
        return found

    def _count(self, value: Tensor) -> None:
        storage = value.untyped_storage()
        key = id(storage)
        if key in self.known:
            return
        self.known.add(key)
        size = storage.nbytes()
        self.now += size
        self.most = max(self.most, self.now)
        weakref.finalize(storage, self._gone, key, size)

    def _gone(self, key: int, size: int) -> None:
        self.known.discard(key)
        self.now -= size


def inputs_of(card: Card) -> Inputs:
    """Sentinel-2's bands on this model; all of the card's where it knows none of them."""
    bands = [Band(name, length) for name, length in SENTINEL2.items() if name != "B10"]
    lengths = tuple(band.wavelength_nm for band in bands)
    try:
        match = match_bands(card, bands)
    except TilthError:
        return Inputs.all_of(card)
    return Inputs(lengths, match.bands, left_out=match.left_out, resolution_m=10.0)


def training(card: Card) -> int:
    """The most bytes alive in the second training step, when the optimiser has its states."""
    network, inputs = _network(card)
    prepare(network.backbone, "bfloat16", False, CPU)
    with FakeTensorMode(), Alive() as alive:
        _on_cpu(network)
        trained = [p for p in network.parameters() if p.requires_grad]
        optimiser = torch.optim.AdamW(trained)
        average = [p.detach().clone() for p in trained]
        for _ in range(2):
            image, target = _batch(card, inputs, BATCH)
            with torch.autocast("cpu", torch.bfloat16):
                logits = network.surroundings(image)
            loss = F.cross_entropy(logits.float(), target)
            del logits, image, target
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            del loss
            optimiser.step()
        del average
        return alive.most


def inference(card: Card) -> int:
    """The most bytes alive while one chip is mapped, the adapter merged into float32 weights."""
    network, inputs = _network(card)
    with FakeTensorMode(), Alive() as alive, torch.no_grad():
        _on_cpu(network)
        image, _ = _batch(card, inputs, 1)
        with torch.autocast("cpu", torch.bfloat16):
            network.eval()(image)
        return alive.most


def _network(card: Card) -> tuple[Any, Inputs]:
    inputs = inputs_of(card)
    method = Method("full" if card.options.get("random") else "lora")
    with torch.device("meta"):
        network, _ = segmenters.build(
            card.id, method, DecoderSettings(), inputs, CLASSES, random_backbone=True
        )
    return network.train(), inputs


def _on_cpu(network: nn.Module) -> None:
    """Fake tensors that count as the CPU's in place of the parameters and buffers."""
    for module in network.modules():
        for name, value in list(module._parameters.items()):
            if value is not None:
                fake = torch.empty(value.shape, dtype=value.dtype)
                module._parameters[name] = nn.Parameter(fake, requires_grad=value.requires_grad)
        for name, value in list(module._buffers.items()):
            if value is not None:
                module._buffers[name] = torch.empty(value.shape, dtype=value.dtype)


def _batch(card: Card, inputs: Inputs, count: int) -> tuple[Tensor, Tensor]:
    side = card.native_size
    image = torch.zeros(count, len(inputs.wavelengths), side, side)
    return image, torch.zeros(count, side, side, dtype=torch.long)


def write(card: Card, path: Path, gigabytes: tuple[float, float]) -> None:
    """Put the figures into the card's file, which is left as it is otherwise."""
    text = path.read_text(encoding="utf-8")
    value = f'"memory_gb": [{gigabytes[0]}, {gigabytes[1]}]'
    changed, count = re.subn(r'"memory_gb": (null|\[[^\]]*\])', value, text)
    if not count:
        changed = re.sub(r"\n}\s*$", f",\n  {value}\n}}\n", text)
    path.write_text(changed, encoding="utf-8")


def main() -> None:
    """Print a line a model; with --write, keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("ids", nargs="*", help="these models alone")
    parser.add_argument("--write", action="store_true", help="write the figures into the cards")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for card in catalogue.cards().values():
        if not card.architecture or (options.ids and card.id not in options.ids):
            continue
        step, chip = (round(size / 1e9, 2) for size in (training(card), inference(card)))
        print(f"{card.id:24} {card.native_size:4} px  training {step:6.2f}  one chip {chip:5.2f}")
        if options.write:
            path = catalogue.CARDS / f"{card.id}.json"
            if card.architecture == "embedded":
                path = Path(catalogue.store.EMBEDDED) / "card.json"
            write(card, path, (step, chip))


if __name__ == "__main__":
    main()
