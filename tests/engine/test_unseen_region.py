"""Training with a region that is never seen: two scores, and what they warn of."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from rasterio.transform import Affine
from tilth_engine import adapter_file, judging, landscape
from tilth_engine.compare_job import Choice, CompareJob
from tilth_engine.data.unseen import EVERYWHERE
from tilth_engine.errors import TilthError
from tilth_engine.evaluate import scores
from tilth_engine.events import Reporter
from tilth_engine.jobs import InspectJob, PlanJob
from tilth_engine.planning import plan
from tilth_engine.run import Runner
from tilth_engine.training.aim import Aim
from tilth_engine.training.loop import Loop
from tilth_engine.training.samples import Samples
from tilth_engine.wording import result_text

from .test_compare import run as compared
from .worlds import WATER, WOOD, Run, square, train_job, write_image, write_polygons

COLUMNS = (4, 30, 56, 82, 108, 134, 160, 186)


def strips(east=0):
    """uint16 [4, 80, 208]: water in the upper half of every row of squares, wood in the lower.

    From column 150 on all is ``east`` brighter.
    """
    lower = (np.arange(80) // 13) % 2 == 1
    values = np.where(
        lower[None, :, None], np.array(WOOD)[:, None, None], np.array(WATER)[:, None, None]
    ) + np.zeros((1, 1, 208))
    values[:, :, 150:] += east
    noise = np.random.default_rng(0).normal(0, 40, values.shape)
    return (values + noise).clip(1).astype(np.uint16)


def labels_of(path, columns=COLUMNS, more=()):
    """Six polygons of two classes in each column; two fewer in the first, so that the east is the
    better quarter."""
    places = [(column, row) for column in columns for row in (0, 13, 26, 39, 52, 65)]
    places = [place for place in places if place[0] != columns[0] or place[1] < 50]
    shapes = [square(column, row + 2, 8) for column, row in places]
    classes = [["water", "wood"][row // 13 % 2] for _, row in places]
    return write_polygons(path, [*shapes, *more], classes + ["water"] * len(more))


def job_of(folder, east=0, **changes):
    values = {
        "images": [write_image(folder / "scene.tif", strips(east))],
        "labels": labels_of(folder / "labels.gpkg"),
        "split": "regions",
        "method": "forest",
    }
    return train_job(folder, **{**values, **changes})


@pytest.fixture(scope="module")
def strange(tmp_path_factory):
    """A forest on a scene whose east looks different."""
    folder = tmp_path_factory.mktemp("strange")
    # The wood of the east is as dark as nothing else, its water as bright as the west's wood.
    return Run(job_of(folder, east=2500, report=str(folder / "r.html")))


def test_a_region_that_looks_the_same_gets_the_same_score(tmp_path):
    run = Run(job_of(tmp_path))

    card = run.result["card"]
    assert run.result["score"]["macro_f1"] > 0.95
    assert run.result["region_score"]["macro_f1"] > 0.95
    assert card["region_score"] == run.result["region_score"]
    held_out = run.result["held_out"]
    region = held_out["region"]
    assert region["polygons"] == 12 and region["classes"] == {"water": 6, "wood": 6}
    assert held_out["polygons"] == 8
    supports = [
        sum(row["support"] for row in score["per_class"])
        for score in (card["score"], card["region_score"])
    ]
    assert supports == [64 * 8, 64 * 12]
    assert card["training"]["unseen_region"] == f"{region['name']}: 12 polygons"
    assert run.result["warnings"] == []


def test_a_region_that_looks_different_is_warned_of(strange):
    result = strange.result
    near, far = result["score"]["macro_f1"], result["region_score"]["macro_f1"]

    assert near > 0.9 and far < 0.7
    told = [text for text in result["warnings"] if "unseen region (the east)" in text]
    assert f"the score is {far:.2f}, against {near:.2f} near the polygons" in told[0]
    assert "draw polygons there, too" in told[0]
    assert adapter_file.read(strange.job.out).card["warnings"] == result["warnings"]
    # Sure where it has been, and honest where not.
    assert result["card"]["temperature"] > 2


def test_the_report_and_the_command_show_both(strange):
    page = Path(strange.job.report).read_text(encoding="utf-8")
    for score in (strange.result["score"], strange.result["region_score"]):
        assert f"<b>{score['macro_f1']:.3f}</b>" in page
        for row in score["per_class"]:
            assert f"<td>{row['f1']:.3f}</td>" in page
    assert page.count("Confusion matrix") == 2
    text = result_text("train", strange.result)
    shown = Runner().run(InspectJob(strange.job.out), Reporter(lambda event: None))
    for lines in (text, result_text("inspect", shown)):
        assert "in the unseen region (the east: 12 polygons):" in lines
        assert f"macro-F1 {strange.result['region_score']['macro_f1']:.3f}" in lines


def test_the_plan_says_what_would_be_held_out(tmp_path):
    job = job_of(tmp_path)

    text = plan(PlanJob(job), Reporter(lambda event: None))["text"]

    assert "8 polygons held out to score; " in text
    assert "; an unseen region, the east: 12 of 46 polygons" in text


def test_training_sees_no_pixel_of_the_region_and_learns_its_polygons_in_the_end(
    tmp_path, monkeypatch
):
    """The region's pixels are far brighter than all others; one polygon reaches out of it."""
    seen, taught = [], []
    step, learn = Loop._step, Loop.learn_all

    def watched(self, chips, generator):
        seen.append(max(float(chip.image.max()) for chip in chips))
        seen.append(float(self.pixels[0].max()))
        seen.append(float(self.landscape.max()))
        seen.extend(float(chip.image.max()) for chip in self.elsewhere)
        return step(self, chips, generator)

    def last(self, aim, *more):
        taught.append(float(aim.table()[0].max()))
        taught.append(len(aim.places(10**6)[0]))
        learn(self, aim, *more)

    monkeypatch.setattr(Loop, "_step", watched)
    monkeypatch.setattr(Loop, "learn_all", last)
    values = strips()
    values[:, :, 160:] = 60_000
    long = square(120, 10, 1).union(square(165, 11, 1)).envelope
    labels = labels_of(tmp_path / "l.gpkg", more=[long])
    job = job_of(
        tmp_path,
        images=[write_image(tmp_path / "bright.tif", values)],
        labels=labels,
        method="frozen",
        backbone="none",
        epochs=1,
    )

    run = Run(job)

    assert run.result["held_out"]["region"]["polygons"] == 13
    assert max(seen) < 0.5
    assert taught[0] > 1
    # The part that reaches out is neither trained on nor scored.
    score = run.result["region_score"]
    assert sum(row["support"] for row in score["per_class"]) == 12 * 64 + (166 - 160) * 2
    assert taught[1] == 46 * 64 + (166 - 120) * 2


def test_chips_stay_on_their_side_of_the_line():
    samples = Samples(64, 1)
    samples.points = {1: {1: np.array([[0, 10, 90], [0, 70, 5]])}}
    samples.pixels = {1: {1: 2}}
    asked = []
    samples.chip = lambda image, row, column, size, units: (
        asked.append((row, column)) or Samples.chip(samples, image, row, column, size, units)
    )
    rng = np.random.default_rng(0)
    left, top, right, bottom = EVERYWHERE
    for box in ((left, top, 91, bottom), (5, top, right, bottom), (left, 10, right, bottom)):
        asked.clear()
        aim = Aim(samples, np.array([1], np.int32), 64, [box])
        for _ in range(50):
            aim.draw(rng)
        rows, columns = np.array(asked).T
        assert columns.min() >= box[0] and columns.max() + 64 <= box[2]
        assert rows.min() >= box[1] and rows.max() + 64 <= box[3]


def test_of_several_scenes_one_is_the_region(tmp_path):
    places = [Affine(10, 0, 500_000 + 3000 * number, 0, -10, 5_000_000) for number in range(3)]
    images = [
        write_image(tmp_path / f"{number}.tif", strips(2500 * (number == 0)), transform=place)
        for number, place in enumerate(places)
    ]
    columns = [300 * number + column for number in range(3) for column in COLUMNS[:4]]

    run = Run(job_of(tmp_path, images=images, labels=labels_of(tmp_path / "l.gpkg", columns)))

    assert run.result["held_out"]["region"]["name"] == "image 1"
    assert run.result["held_out"]["region"]["polygons"] == 22
    assert run.result["score"]["macro_f1"] > 0.9


def test_the_landscape_is_taken_from_before_the_line(tmp_path):
    from tilth_engine.data.imagery import Image
    from tilth_engine.normalise import Normalisation

    values = strips()
    values[:, :, 150:] = 50_000
    with Image.open([write_image(tmp_path / "i.tif", values)]) as image:
        normalisation = Normalisation.of(image)
        box = (EVERYWHERE[0], EVERYWHERE[1], 150, EVERYWHERE[3])
        whole = landscape.landscape([image], [normalisation], 0)
        near = landscape.landscape([image], [normalisation], 0, [box])
        twice = landscape.landscape([image, image], [normalisation] * 2, 0, [box, None])
    assert whole.max() > 1 > near.max()
    assert len(near) > 5000
    assert len(twice) == min(len(near), landscape.PIXELS // 2)


def test_views_of_the_land_are_without_labels_and_from_before_the_line(tmp_path):
    from tilth_engine.data.imagery import Image
    from tilth_engine.normalise import Normalisation

    values = strips()
    values[:, :, 150:] = 50_000
    with Image.open([write_image(tmp_path / "i.tif", values)]) as image:
        land = [image], [Normalisation.of(image)]
        box = (EVERYWHERE[0], EVERYWHERE[1], 150, EVERYWHERE[3])
        whole, near = landscape.views(*land, 64, 0), landscape.views(*land, 64, 0, [box])
        larger = landscape.views(*land, 256, 0)
        narrow = landscape.views(*land, 64, 0, [(100, 0, 150, 80)])
    assert max(chip.image.max() for chip in whole) > 1 > max(chip.image.max() for chip in near)
    assert len(whole) == len(near) == landscape.VIEWS
    assert all(chip.image.shape == (4, 64, 64) and not chip.classes.any() for chip in near)
    assert larger, "larger than the image"
    assert not narrow, "no room before the line"


def test_too_few_polygons_are_refused_before_training(tmp_path):
    few = write_polygons(tmp_path / "two.gpkg", [square(4, 2), square(60, 15)], ["water", "wood"])
    told = []

    with pytest.raises(TilthError, match="split regions: no straight line"):
        Run(job_of(tmp_path, labels=few), stop=told.append)
    assert not any(event["event"] == "metrics" for event in told)


def test_classes_that_lie_on_one_side_are_told(tmp_path):
    columns = [column for column in COLUMNS for _ in range(3)]
    rows = [13 * number + 2 for _ in COLUMNS for number in range(3)]
    shapes = [square(c, r, 8) for c, r in zip(columns, rows, strict=True)]
    kinds = ["water", "wood", "water"] * len(COLUMNS)
    kinds[10], kinds[13] = "heath", "heath"  # in the middle
    labels = write_polygons(tmp_path / "l.gpkg", shapes, kinds)

    run = Run(job_of(tmp_path, labels=labels))

    assert any("heath: no polygon in the unseen region" in t for t in run.result["warnings"])
    row = next(r for r in run.result["region_score"]["per_class"] if r["name"] == "heath")
    assert (row["name"], row["support"], row["f1"]) == ("heath", 0, None)


def test_a_comparison_has_both_columns(tmp_path):
    job = CompareJob(
        job_of(tmp_path, east=2500), [Choice("forest", {"method": "forest"})], 1,
        report=str(tmp_path / "c.html"),
    )  # fmt: skip

    result, _ = compared(job)

    summary = result["choices"][0]
    assert summary["score"] > 0.9 and summary["region_score"] < 0.7
    assert result["rows"][0]["region_score"] == summary["region_score"]
    assert not any("the score is" in text for text in result["warnings"])
    assert " unseen " in result_text("compare", result)
    page = Path(job.report).read_text(encoding="utf-8")
    assert "Unseen region" in page and f"<td>{summary['region_score']:.3f}</td>" in page
    assert "12 in the east, unseen" in page


# What is warned of


CLASSES = [{"name": name, "code": code} for code, name in enumerate("abc", 1)]


def held_out(near=20, far=20):
    return {"polygons": near, "region": {"name": "the east", "polygons": far}}


def told(near, beyond, **polygons):
    results = [scores(np.array(matrix), CLASSES) for matrix in (near, beyond)]
    return judging.gap_warnings(*results, held_out(**polygons))


GOOD = [[90, 5, 5], [5, 90, 5], [5, 5, 90]]


def test_a_small_difference_is_none():
    assert told(GOOD, [[85, 10, 5], [5, 85, 10], [5, 10, 85]]) == []


def test_classes_that_are_not_on_both_sides_do_not_count():
    assert told(GOOD, [[90, 10, 0], [10, 90, 0], [0, 0, 0]]) == []
    (line,) = told(GOOD, [[60, 20, 20], [20, 60, 20], [0, 0, 0]])
    assert "(over the classes that both have)" in line


def test_a_lost_class_is_named():
    lines = told(GOOD, [[90, 5, 5], [5, 90, 5], [50, 49, 1]])
    assert lines[1] == (
        "in the unseen region (the east) the map hardly finds: c; draw polygons there, too"
    )


def test_few_polygons_make_a_hint():
    (line,) = told(GOOD, GOOD, far=3)
    assert line.startswith("only 3 polygons are held out") and "hint" in line


@pytest.mark.parametrize("split", ["polygons", "none"])
def test_other_splits_have_no_region(tmp_path, split):
    run = Run(dataclasses.replace(job_of(tmp_path), split=split))

    assert run.result["region_score"] is None
    assert run.result["held_out"]["region"] is None
    assert "unseen" not in result_text("train", run.result)
