"""docs/models.md is what the cards, LoRA's sizes and the oracles' results make of it."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest
from tilth_engine.backbones import catalogue

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results"


@pytest.fixture(scope="module")
def made() -> str:
    return runpy.run_path(str(ROOT / "scripts" / "models_table.py"))["page"]()


def test_the_committed_page_is_the_one_that_the_cards_make(made):
    committed = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    assert committed == made, (
        "docs/models.md is not what the cards make; run: .venv/bin/python scripts/models_table.py "
        "(after a change of an architecture also: .venv/bin/python benchmarks/lora_sizes.py and "
        ".venv/bin/python benchmarks/memory.py --write)"
    )


def test_every_card_is_told_with_its_licence_and_source(made):
    for card in catalogue.cards().values():
        section = made.split(f"\n### {card.id}\n")[1].split("\n### ")[0]
        for fact in (card.title, card.summary, card.licence, card.source, card.sha256, card.units):
            assert fact in section
        assert section.count(" nm)") == sum(b.wavelength_nm is not None for b in card.bands)


def test_weights_are_named_with_the_way_to_get_them(made):
    for card in catalogue.cards().values():
        section = made.split(f"\n### {card.id}\n")[1].split("\n### ")[0]
        lines = [line for line in section.splitlines() if line.startswith("- Weights:")]
        if card.id in ("embedded", "unet-random"):
            assert lines == []
        else:
            assert lines[0].startswith(f"- Weights: `{card.file}`")
            assert (card.repository or "on no hub") in lines[0]
    assert "tilth backbones add presto --file default_model.pt" in made


def test_every_model_that_runs_has_its_memory_and_its_lora_sizes():
    sizes = json.loads((RESULTS / "lora_sizes.json").read_text(encoding="utf-8"))
    for card in catalogue.cards().values():
        if not card.architecture:
            continue
        assert card.memory_gb is not None, f"run: benchmarks/memory.py {card.id} --write"
        training, mapping = card.memory_gb
        # Weights alone take two bytes each in training and four when mapping.
        assert training > mapping * 0.5 > 0
        assert mapping > 3.5 * card.parameters / 1e9
        assert card.id in sizes, "run: benchmarks/lora_sizes.py"


def test_lora_trains_what_the_paper_counted():
    sizes = json.loads((RESULTS / "lora_sizes.json").read_text(encoding="utf-8"))
    paper = {
        "prithvi-2-tiny-tl": 0.52,
        "prithvi-2-100m-tl": 2.06,
        "prithvi-2-300m": 5.51,
        "prithvi-2-600m": 9.18,
    }
    found = {name: round(sizes[name]["q, v, fc1, fc2"] / 1e6, 2) for name in paper}
    assert found == paper


def test_no_oracle_found_a_difference_above_the_limit():
    lines = (RESULTS / "oracle.jsonl").read_text(encoding="utf-8").splitlines()
    last = {(line["model"], line["case"], line["peer"]): line for line in map(json.loads, lines)}
    assert last
    assert not [key for key, line in last.items() if not line["relative_difference"] <= 1e-4]
