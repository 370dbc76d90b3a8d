"""Backbones as people read them on the command line."""

from __future__ import annotations

import pytest
import torch
from tilth_engine import weights
from tilth_engine.backbone_wording import list_text, show_text
from tilth_engine.backbones import catalogue, store

ALL = sorted(catalogue.cards())


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("TILTH_HOME", str(tmp_path / "home"))


def states():
    return [weights.state(card) for card in catalogue.cards().values()]


def store_weights(backbone):
    card = catalogue.card_of(backbone)
    store.write(card, {"a": torch.zeros(2_000_000)}, {"source": {}})
    return card


def section(text, title):
    """The ids below a title."""
    lines = text.splitlines()
    start = lines.index(title) + 1
    return [line.split()[0] for line in lines[start : lines.index("", start)]]


def test_weights_that_are_here_come_first_and_are_as_large_as_they_are_here():
    store_weights("presto")

    text = list_text(states())

    assert section(text, "Ready to use") == ["embedded", "presto", "unet-random"]
    assert "galileo-base" in section(text, "Weights to get: tilth backbones fetch ID")
    listed = section(text, "Listed only: Tilth can't run these yet")
    assert listed and all(name.startswith(("olmoearth", "satmae", "scalemae")) for name in listed)
    row = next(line for line in text.splitlines() if line.startswith("presto"))
    assert row.split()[1:3] == ["8", "MB"]
    assert row.endswith("Presto")


def test_the_columns_are_aligned_and_a_line_has_at_most_100_characters():
    lines = list_text(states()).splitlines()

    column = lines[0].index("LICENCE")
    rows = [line for line in lines if line.split(" ")[0] in ALL]
    assert len(rows) == len(ALL)
    for row in rows:
        assert row[column - 1] == " " and row[column] != " "
    assert max(map(len, lines)) <= 100


def test_a_licence_that_binds_is_marked_and_the_mark_explained():
    text = list_text(states())
    assert "DINOv3 License*" in text
    assert "\n* The licence binds" in text
    free = [state for state in states() if not state["binding"]]
    assert "*" not in list_text(free)


@pytest.mark.parametrize("backbone", ALL)
def test_all_of_each_is_told_within_100_columns(backbone):
    card = catalogue.card_of(backbone)

    text = show_text(weights.show(backbone))

    words = " ".join(text.split())
    assert text.startswith(f"{card.title} ({backbone})\n")
    for fact in (card.summary, card.licence, card.licence_url, card.citation, card.units):
        assert " ".join(fact.split()) in words
    for band in card.bands:
        length = "" if band.wavelength_nm is None else f" ({band.wavelength_nm:.0f} nm)"
        assert f"{band.name}{length}" in text  # in one line
    assert all(len(line) <= 100 or "https://" in line for line in text.splitlines())


def test_how_to_get_weights_is_told_each_command_on_a_line_of_its_own():
    lines = [line.strip() for line in show_text(weights.show("dinov3-sat-large")).splitlines()]

    assert "tilth backbones fetch dinov3-sat-large --accept-licence" in lines
    assert "tilth backbones add dinov3-sat-large --file FILE" in lines


def test_weights_that_are_here_are_told_with_their_place():
    card = store_weights("presto")

    text = " ".join(show_text(weights.show("presto")).split())

    assert f"here: 8 MB in {store.folder(card)}" in text
    assert "fetch" not in text


def test_memory_is_told_or_that_it_was_not_measured():
    assert "4.94 GB to train" in show_text(weights.show("galileo-base"))
    assert "not measured" in show_text(weights.show("olmoearth-base"))
