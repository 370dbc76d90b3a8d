"""Reports: one file, nothing from outside, a stranger's text never runs."""

from __future__ import annotations

import html.parser
import math
import re

import numpy as np
import pytest
from tilth_engine.errors import TilthError
from tilth_engine.evaluate import scores
from tilth_engine.report import evaluation_report, training_report

EVIL = "<script>alert(1)</script>\"'&"
VOID = {"meta", "line", "circle", "polyline", "br"}


class Checker(html.parser.HTMLParser):
    """Collects tags and attributes, and fails on tags that are not closed in order."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.attributes, self.text = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, f"</{tag}> out of order"

    def handle_data(self, data):
        self.text.append(data)


def checked(path):
    page = path.read_text(encoding="utf-8")
    checker = Checker()
    checker.feed(page)
    checker.close()
    assert not checker.open
    assert "script" not in checker.tags
    for name, value in checker.attributes:
        assert not name.startswith("on") and name not in ("src", "href")
        assert "url(" not in (value or "").lower()
    assert not re.search(r"@import|url\(|https?://", page)
    return page, checker


CLASSES = [
    {"code": 1, "name": "Wald", "value": "1", "colour": "#228833", "polygons": 9, "pixels": 1300,
     "validated": True},
    {"code": 2, "name": EVIL, "value": "2", "colour": "red;background:url(x)", "polygons": 1,
     "pixels": 5, "validated": False},
]  # fmt: skip
SCORE = scores(np.array([[90, 10], [0, 0]]), CLASSES)


def card(**changes):
    return {
        "format": 1,
        "tilth": "0.1.0",
        "name": EVIL,
        "created": "2026-01-01",
        "backbone": {"id": "embedded", "title": "Small", "licence": "GPL"},
        "method": {"name": "lora", "rank": 16, "targets": ["qkv", "proj"]},
        "decoder": {"name": "unet"},
        "classes": CLASSES,
        "bands": [{"name": EVIL, "wavelength_nm": 492.0}],
        "resolution_m": 10.0,
        "chip": 64,
        "score": SCORE,
        "training": {"epochs": 3, "seconds": 60.0, "polygons": 10, "settings": {"batch": 8}},
        "warnings": [EVIL, "labels: few"],
        **changes,
    }


HISTORY = [
    {"train_loss": 1.0, "validation_loss": 1.1, "validation_score": 0.4, "learning_rate": 0.1},
    {"train_loss": 0.5, "validation_loss": None, "validation_score": None, "learning_rate": 0.1},
    {"train_loss": math.nan, "validation_loss": 0.7, "validation_score": 0.8},
]


def test_a_training_report(tmp_path):
    path = tmp_path / "r.html"
    training_report(path, card(), HISTORY)
    page, checker = checked(path)
    assert EVIL not in page and EVIL in "".join(checker.text)
    assert "polyline" in checker.tags and "NaN" not in page and "nan" not in page
    for text in (
        "Wald",
        "0.947",
        "90.0%",
        "lora; rank 16; targets qkv, proj",
        "labels: few",
        "Chip",
        # Why the curve's end is not the figure at the top.
        "after each epoch is of a sample of what is held out; the final score above is",
    ):
        assert text in page, text


def test_nothing_held_out(tmp_path):
    path = tmp_path / "r.html"
    history = [{"train_loss": 0.5, "validation_loss": None, "validation_score": None}]
    training_report(path, card(score=None, warnings=[], resolution_m=None), history)
    page, checker = checked(path)
    assert "Nothing was held out" in page and "Warnings" not in page
    assert "after each epoch" not in page
    assert "circle" in checker.tags  # one epoch is a point
    training_report(path, card(score=None), [])
    assert "svg" not in checked(path)[1].tags


def test_both_scores_stand_side_by_side(tmp_path):
    path = tmp_path / "r.html"
    far = scores(np.array([[30, 70], [0, 0]]), CLASSES)
    training_report(path, card(region_score=far, training={"unseen_region": EVIL}), HISTORY)
    page, checker = checked(path)
    assert EVIL not in page and EVIL in "".join(checker.text)
    assert "<td>0.947</td><td>0.462</td>" in page
    assert page.count("Confusion matrix") == 2
    training_report(path, card(score=None, region_score=far), HISTORY)
    assert "Of the unseen region alone" in checked(path)[0]


def test_the_chart_stays_in_its_frame(tmp_path):
    path = tmp_path / "r.html"
    history = [{"train_loss": 10.0 / (n + 1), "validation_score": n / 50} for n in range(50)]
    training_report(path, card(), history)
    page, _ = checked(path)
    lines = re.findall(r"points='([^']+)'", page)
    assert len(lines) == 2
    for line in lines:
        points = np.array([list(map(float, p.split(","))) for p in line.split()])
        assert len(points) == 50 and (np.diff(points[:, 0]) > 0).all()
        assert points.min() >= 0 and points[:, 0].max() <= 760 and points[:, 1].max() <= 260


def test_an_evaluation_report(tmp_path):
    path = tmp_path / "r.html"
    result = {**SCORE, "matched_by": "name", "pixels": 100, "unmapped": 3, "warnings": [EVIL]}
    evaluation_report(path, result, f"/data/{EVIL}.tif", "ref.gpkg|layername=x")
    page, _ = checked(path)
    assert EVIL not in page and "Matched".lower() in page.lower()
    assert "–" in page  # the class without reference has no figures
    assert page.count("class='chip'") == 1  # a colour that is none is not used


def test_a_place_that_cannot_be_written(tmp_path):
    with pytest.raises(TilthError, match=r"folder .* does not exist"):
        training_report(tmp_path / "no" / "r.html", card(), HISTORY)
