"""docs/models.md, made from the cards, LoRA's sizes and the oracles' results.

`.venv/bin/python scripts/models_table.py` writes it anew. A test compares the committed page.
"""

from __future__ import annotations

import json
import runpy
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
runpy.run_path(str(ROOT / "plugin" / "engine" / "launch.py"))  # makes tilth_engine importable

from tilth_engine.backbones import catalogue, store  # noqa: E402
from tilth_engine.backbones.card import Card  # noqa: E402

PAGE = ROOT / "docs" / "models.md"
RESULTS = ROOT / "benchmarks" / "results"

HEAD = """# The models

Made from the models' cards by `scripts/models_table.py`: change the cards (in
plugin/engine/backbones), not this page.

A model is chosen by what it was trained on (sensor, bands, size of a pixel), by what the device can
hold, and by its licence. `tilth backbones fetch ID` gets a model's weights, `tilth backbones show
ID` prints its card. Presto is on no hub: `tilth backbones add presto --file default_model.pt` adds
it, the file being data/default_model.pt of its authors' repository. The embedded model needs no
download. Whether a foundation model is worth it is best seen by comparing it with the others on the
labels at hand.

## Which model for what

"Memory" are gigabytes on the device: for a training step (LoRA of rank 16 on all of the card's
layers, 8 chips of the native size, the default decoder, bfloat16; for the network with random
weights, which is trained in full, all of it) and for mapping one chip. They are computed from the
sizes of all tensors that are alive at once (`benchmarks/memory.py`); **no GPU has measured them
yet**. CUDA itself takes about half a gigabyte more. Smaller batches, gradient checkpointing and
frozen weights of 8 or 4 bits take less. "Dates" is how many dates of an image the model takes;
"told" says whether it can be told when and where an image was taken.
"""

TIMM = """## Any model of timm

`timm:NAME` is a model of [timm](https://huggingface.co/docs/timm) by its name, with or without the
tag of the weights: `timm:vit_base_patch16_224.augreg_in21k` (ImageNet),
`timm:vit_base_patch14_dinov2` (DINOv2), `timm:vit_large_patch16_dinov3`, `timm:resnet50`,
`timm:convnext_tiny`. Its card is made from what timm knows of it. Most were trained on pictures in
red, green and blue (with the tag `sat493m` those of satellites); other bands can be taken in, with
the weights of the nearest colour.
Transformers and CNNs that can give feature maps of any bands and any size of image will do; those
made for one size alone (BEiT, MaxViT and some others) are refused. Batch normalisation keeps the
statistics of the pre-training.
"""

LORA = """## What LoRA trains

Parameters of the adapter with rank 16: by default all layers that the card names; the choice of the
paper (arXiv 2504.17397: q, v, fc1, fc2); and qkv (as one layer where the model has one), fc1, fc2.
A fused layer's adapter has one matrix to the common input and one from there to q, k and v, which
makes as many parameters as two adapters of q and v alone. Convolutional networks have other layers.
"""

ORACLE = """## Equal to the originals

The same weights (random ones under the names of the published file; for Galileo nano and Presto the
published ones) in an independent implementation, the peer, and in Tilth: the largest difference of
any feature, as a share of the largest feature, in float32. It must be at most 1e-4; it is 0 where
both come down to the same operations of PyTorch. torchgeo builds its ViT and its ResNet with timm,
as Tilth does; torchvision and transformers share no code with timm, which is why they are peers
too. The scripts are in benchmarks/oracle, "bands" is how many the image has. The
tests check small golden tensors that the same scripts made.
"""


def page() -> str:
    """The whole page."""
    cards = sorted(catalogue.cards().values(), key=lambda card: (card.id != "embedded", card.id))
    parts = [HEAD, _overview(cards), TIMM, LORA, _lora(cards), ORACLE, _oracle(), "## The cards\n"]
    return "\n".join([*parts, *(_card(card) for card in cards)])


def _overview(cards: Sequence[Card]) -> str:
    rows = [
        (
            f"[{card.id}](#{card.id.replace('.', '')})",
            _sensor(card),
            _range(card),
            f"{card.native_size} / {card.patch}",
            f"{card.several_dates}{', told' if card.time_location else ''}",
            _millions(card.parameters),
            _memory(card),
            card.licence.split(":")[0] + (" (binds)" if card.binding else ""),
        )
        for card in cards
    ]
    heads = ("Model", "Bands", "Pixel (m)", "Chip / patch (px)", "Dates", "Parameters",
             "Memory (GB): training, mapping", "Licence")  # fmt: skip
    return _table(heads, rows)


def _lora(cards: Sequence[Card]) -> str:
    sizes = json.loads((RESULTS / "lora_sizes.json").read_text(encoding="utf-8"))
    known = [card.id for card in cards if card.id in sizes]
    choices = list(sizes[known[0]])
    rows = [
        (name, *("–" if sizes[name][c] is None else _millions(sizes[name][c]) for c in choices))
        for name in known
    ]
    return _table(("Model", *choices), rows)


def _oracle() -> str:
    lines = (RESULTS / "oracle.jsonl").read_text(encoding="utf-8").splitlines()
    # The last line of each case counts.
    found = {(line["model"], line["case"], line["peer"]): line for line in map(json.loads, lines)}
    rows = [
        (
            line["model"],
            line["case"],
            " × ".join(str(side) for side in line["size"]),
            str(len(line["bands"])),
            f"{line['relative_difference']:.1e}" if line["relative_difference"] else "0",
            line["peer"],
            line["commit"],
        )
        for _, line in sorted(found.items())
    ]
    return _table(
        ("Model", "Case", "Pixels", "Bands", "Largest difference", "Peer", "Commit"), rows
    )


def _card(card: Card) -> str:
    facts = dict(_facts(card))
    lines = [f"### {card.id}\n", f"**{card.title}.** {card.summary}\n"]
    lines += [f"- {name}: {value}" for name, value in facts.items() if value]
    return "\n".join(lines) + "\n"


def _facts(card: Card) -> Iterator[tuple[str, str]]:
    """The card's facts in words; empty ones are left out."""
    yield "Licence", _link(card.licence, card.licence_url)
    if card.binding:
        yield "Before a download", "the licence is shown and must be accepted"
    if not card.architecture:
        yield "In Tilth", "listed only; it can't be run yet"
    yield "Source", card.source
    weights = _weights(card)
    yield "Weights", weights
    yield "Revision", f"`{card.revision}`" if card.revision else ""
    unknown = "not known to Tilth" if weights else ""
    yield "sha256 of the file", f"`{card.sha256}`" if card.sha256 else unknown
    yield "Bands", _bands(card)
    yield "Units", card.units
    if card.mean:
        yield "Mean", _numbers([value / card.scale for value in card.mean])
        yield "Standard deviation", _numbers([value / card.scale for value in card.std])
    by = {"card": "the card's figures", "image": "the image's own statistics"}
    yield "Normalised by", by[card.normalisation]
    yield "Pixels", f"{_range(card)} m; chip {card.native_size}, patch or stride {card.patch}"
    told = "; can be told date and place" if card.time_location else ""
    yield "Dates", f"{card.several_dates}{told}"
    yield "Parameters", f"{card.parameters:,}" if card.architecture else _millions(card.parameters)
    yield "Memory (computed)", _memory_in_words(card)
    yield "Layers that adapters may take", ", ".join(f"`{name}`" for name in card.lora_targets)
    yield "Cite", card.citation


def _weights(card: Card) -> str:
    """The file of weights and where it is had; empty where there is none to get."""
    if card.architecture and not store.needed(card):
        return ""
    size = f", {card.size_bytes / 1e6:.0f} MB" if card.size_bytes else ""
    if card.repository:
        return f"`{card.file}` of {card.repository}{size}"
    add = f": `tilth backbones add {card.id} --file {card.file}`" if card.architecture else ""
    return f"`{card.file}`{size}, on no hub{add}"


def _sensor(card: Card) -> str:
    if not card.bands:
        return "any"
    groups = list(dict.fromkeys(band.group for band in card.bands if band.group))
    names = [band.name for band in card.bands]
    few = ", ".join(names) if len(names) <= 6 else f"{len(names)}"
    text = f"{len(names)} in {len(groups)} groups" if len(groups) > 1 else few
    return f"{text}, or any" if card.any_bands else text


def _bands(card: Card) -> str:
    if not card.bands:
        return "any"
    groups: dict[str, list[str]] = {}
    for band in card.bands:
        length = "" if band.wavelength_nm is None else f" ({band.wavelength_nm:g} nm)"
        groups.setdefault(band.group, []).append(band.name + length)
    text = "; ".join(
        (f"{group}: " if group else "") + ", ".join(names) for group, names in groups.items()
    )
    return text + ("; any other from 300 to 3000 nm too" if card.any_bands else "")


def _numbers(values: Sequence[float]) -> str:
    if len(set(values)) == 1 and len(values) > 1:
        return f"{values[0]:g} for every band"
    return ", ".join(f"{value:.6g}" for value in values)


def _range(card: Card) -> str:
    low, high = card.ground_resolution_m
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


def _memory(card: Card) -> str:
    return "–" if card.memory_gb is None else f"{card.memory_gb[0]:.1f}, {card.memory_gb[1]:.1f}"


def _memory_in_words(card: Card) -> str:
    if card.memory_gb is None:
        return ""
    return f"training {card.memory_gb[0]:g} GB, mapping {card.memory_gb[1]:g} GB"


def _millions(count: int) -> str:
    return f"{count / 1e6:.2f} M" if count < 1e7 else f"{count / 1e6:.0f} M"


def _link(text: str, address: str) -> str:
    return f"[{text}]({address})" if address else text


def _table(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
