"""A method's settings: a job's, and a stranger's card."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
from peft import PeftType
from tilth_engine import method_list
from tilth_engine.errors import TilthError
from tilth_engine.jobs import TrainJob
from tilth_engine.model.methods import kin
from tilth_engine.model.methods.method import Method

ROOT = Path(__file__).resolve().parents[4]
JOB = TrainJob(images=["a.tif"], out="b.tilth", labels="c.gpkg", class_field="class")


def job(**changes):
    return dataclasses.replace(JOB, **changes)


@pytest.mark.parametrize("name", method_list.METHODS)
def test_each_has_usual_settings_and_words_and_survives_a_card(name):
    about = method_list.METHODS[name]
    method = Method.of(job(method=name))

    assert Method.from_dict(method.to_dict()) == method
    assert method.alpha == method.rank
    assert (about.rank > 0) == (name in kin.KIN and name != "ia3")
    assert about.title and about.summary.endswith(".") and len(about.summary) < 110
    assert (about.rate == 0) == (name in ("frozen", "probe"))
    job(method=name).check()


def test_the_page_on_methods_says_the_same():
    page = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
    rows = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| `")]
    shown = [name for group in method_list.GROUPS for name in group]

    assert [row[0].strip("`") for row in rows] == shown
    for row in rows:
        about = method_list.METHODS[row[0].strip("`")]
        assert row[1:3] == [about.title, about.summary]
        assert [float(cell.strip() or 0) for cell in row[3:5]] == [about.rank, about.rate]


def test_the_page_on_methods_names_all_that_peft_has():
    page = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")

    def named(kind):
        letters = r"[-() \n]*".join(kind.name.replace("_", ""))
        return re.search(rf"(?<![a-z]){letters}(?![a-z])", page, re.IGNORECASE)

    assert [kind.name for kind in PeftType if not named(kind)] == []


def test_the_groups_hold_each_method_once_lora_first():
    shown = [name for group in method_list.GROUPS for name in group]

    assert shown[0] == "lora"
    assert sorted(shown) == sorted(method_list.METHODS)


def test_the_job_decides_where_it_says_something():
    assert Method.of(job()) == Method("lora", 16, 16)
    assert Method.of(job(method="vpt")) == Method("vpt", dropout=0.1, prompts=100)
    assert Method.of(job(method="vera")).rank == 256
    assert Method.of(job(rank=4)) == Method("lora", 4, 4)
    said = job(rank=8, alpha=32, dropout=0.05, targets=["q", "v"])
    assert Method.of(said) == Method("lora", 8, 32, ("q", "v"), 0.05)
    # A rank is nothing to a method that has none.
    assert Method.of(job(method="full", rank=4)) == Method("full")


@pytest.mark.parametrize(
    "changes",
    [
        {"rank": 0},
        {"rank": 257},
        {"rank": -1},
        {"alpha": 0},
        {"alpha": 10**6},
        {"dropout": -0.1},
        {"dropout": 1.0},
        {"dropout": float("nan")},
        {"prompts": 0},
        {"prompts": 10**9},
        {"targets": ["q"] * 65},
        {"targets": [""]},
        {"targets": ["x" * 101]},
    ],
)
def test_settings_that_make_no_sense_are_refused(changes):
    with pytest.raises(TilthError, match="method lora: its "):
        Method.of(job(**changes))
    with pytest.raises(TilthError, match="adapter card: the method's "):
        Method.from_dict({**Method().to_dict(), **changes})


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "evil"},
        {"name": None},
        {"rank": "many"},
        {"rank": None},
        {"rank": float("inf")},
        {"alpha": []},
        {"alpha": 10**400},
        {"targets": 5},
        {"targets": [1]},
        {"targets": [["q"]]},
        {"targets": None},
        {"dropout": "x"},
        {"dropout": {}},
        {"dropout": 10**400},
        {"prompts": []},
        {"prompts": "1e9"},
    ],
)
def test_a_strangers_card_with_other_things_is_refused(changes):
    with pytest.raises(TilthError, match="adapter card: the method"):
        Method.from_dict({**Method().to_dict(), **changes})
    for missing in ("name", "rank", "alpha", "targets"):
        values = Method().to_dict()
        del values[missing]
        with pytest.raises(TilthError, match="damaged"):
            Method.from_dict(values)


def test_a_card_without_the_later_entries_is_read():
    earlier = {"name": "lora", "rank": 16, "alpha": 16, "targets": ["attn.qkv"]}

    assert Method.from_dict(earlier) == Method(targets=("attn.qkv",))
