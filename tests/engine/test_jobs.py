"""Jobs as JSON, checked on the way in."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest
from tilth_engine import jobs
from tilth_engine.errors import TilthError
from tilth_engine.jobs import (
    AddJob,
    Choice,
    ClassStyle,
    CompareJob,
    DescribeJob,
    EvaluateJob,
    Extent,
    FetchJob,
    InspectJob,
    PlanJob,
    PredictJob,
    RemoveJob,
    TrainJob,
)

TRAIN = TrainJob(["ä b.tif"], "a.tilth", "l.gpkg|layername=L", "class")
FULL = TrainJob(
    ["a.tif", "b.tif"],
    "a.tilth",
    "l.gpkg",
    "class",
    stack=True,
    labelled_area="area.gpkg",
    method="full",
    decoder="linear",
    epochs=3,
    minutes=1.5,
    bands=[3, 1],
    split="blocks",
    continue_from="b.tilth",
    styles=[ClassStyle("1", "Wald", "#112233")],
    name="Fälle",
    report="r.html",
    work_folder="w",
    resume=True,
    random_backbone=True,
    device="cuda:1",
    threads=2,
    seed=7,
)
PREDICT = PredictJob("a.tilth", ["a.tif"], "m.tif", extent=Extent(1, 2, 3, 4, "EPSG:4326"))


@pytest.mark.parametrize(
    "job",
    [
        TRAIN,
        FULL,
        TrainJob(["a.tif"], "a.tilth", label_raster="l.tif"),
        PlanJob(FULL),
        CompareJob(TRAIN, [Choice("forest", {"method": "forest"}), Choice("b")], 2, "o", "r.csv"),
        PREDICT,
        PredictJob("a.tilth", ["a", "b"], "m.tif", stack=True, mask="m.gpkg"),
        EvaluateJob("m.tif", "r.gpkg", "class", "o.json"),
        InspectJob("a.tilth"),
        DescribeJob(),
        FetchJob("timm:resnet18", True, "http://host:8080"),
        AddJob("presto", "ä b.pt"),
        RemoveJob("presto"),
    ],
)
def test_a_job_comes_back_as_it_was(job):
    again = jobs.from_json(json.loads(json.dumps(jobs.to_json(job))))

    assert again == job
    assert type(again) is type(job)


def test_every_kind_is_tried_above():
    kinds = {
        "train",
        "plan",
        "compare",
        "predict",
        "evaluate",
        "inspect",
        "describe",
        "fetch",
        "add",
        "remove",
    }
    assert set(jobs.JOBS) == kinds


def changed(job, **values):
    return {**jobs.to_json(job), **values}


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (None, "object"),
        ([], "object"),
        ({}, "kind"),
        ({"kind": "steal"}, "steal"),
        ({"kind": ["train"]}, "kind"),
        ({"kind": "inspect"}, "adapter"),
        ({"kind": "inspect", "adapter": "a", "evil": 1}, "evil"),
        ({"kind": "inspect", "adapter": 5}, "adapter"),
        ({"kind": "inspect", "adapter": ""}, "adapter"),
        ({"kind": "inspect", "adapter": None}, "adapter"),
        ({"kind": "fetch", "backbone": ""}, "backbone"),
        ({"kind": "add", "backbone": "presto", "file": ""}, "file"),
        ({"kind": "plan", "train": None}, "train"),
        ({"kind": "plan", "train": []}, "train"),
        ({"kind": "plan", "train": [changed(TRAIN)]}, "train"),
        ({"kind": "plan", "train": {}}, "images"),
        (changed(TRAIN, images="a.tif"), "images"),
        (changed(TRAIN, images=[1]), "images"),
        (changed(TRAIN, images=[]), "images"),
        (changed(TRAIN, out=""), "out"),
        (changed(TRAIN, labels=""), "labels"),
        (changed(TRAIN, label_raster="l.tif"), "labels"),
        (changed(TRAIN, class_field=""), "class_field"),
        (changed(TRAIN, bands=[True]), "bands"),
        (changed(TRAIN, bands=[0]), "bands"),
        (changed(TRAIN, bands=[1.5]), "bands"),
        (changed(TRAIN, epochs=True), "epochs"),
        (changed(TRAIN, epochs=0), "epochs"),
        (changed(TRAIN, epochs="3"), "epochs"),
        (changed(TRAIN, minutes=0), "minutes"),
        (changed(TRAIN, minutes=float("nan")), "minutes"),
        (changed(TRAIN, minutes=float("inf")), "minutes"),
        (changed(TRAIN, method="magic"), "magic"),
        (changed(TRAIN, decoder="magic"), "magic"),
        (changed(TRAIN, split="magic"), "magic"),
        (changed(TRAIN, device="cuda:"), "device"),
        (changed(TRAIN, device="cuda:²"), "device"),
        (changed(TRAIN, threads=-1), "threads"),
        (changed(TRAIN, threads=10**9), "threads"),
        (changed(TRAIN, seed=-1), "seed"),
        (changed(TRAIN, seed=2**64), "seed"),
        (changed(TRAIN, styles={"value": "1", "name": "a", "colour": "b"}), "styles"),
        (changed(TRAIN, styles=[{"value": "1"}]), "styles"),
        (changed(TRAIN, styles=["a"]), "styles"),
        (changed(TRAIN, styles=None), "styles"),
        (changed(PREDICT, extent=[1, 2, 3, 4]), "extent"),
        (changed(PREDICT, extent=[]), "extent"),
        (changed(PREDICT, extent={"xmin": 1}), "extent"),
        (changed(PREDICT, extent={"xmin": 1, "ymin": 2, "xmax": 1, "ymax": 4}), "extent"),
        (changed(PREDICT, extent={"xmin": 1, "ymin": 2, "xmax": float("nan"), "ymax": 4}), "ext"),
        (changed(PREDICT, extent={"xmin": 1, "ymin": 2, "xmax": float("inf"), "ymax": 4}), "ext"),
        (changed(PREDICT, images=["a", "b"]), "images"),
    ],
)
def test_a_wrong_job_is_refused_in_one_line_that_names_the_entry(data, word):
    with pytest.raises(TilthError, match=word) as caught:
        jobs.from_json(data)

    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["jobs.py", "weight_jobs.py", "protocol.py", "errors.py", "launch.py"]
)
def test_the_shared_modules_are_python_3_9(name):
    text = (Path(jobs.__file__).parent / name).read_text(encoding="utf-8")

    tree = ast.parse(text, feature_version=(3, 9))

    # Annotations are text (never evaluated), but ``X | Y`` outside of them would fail on 3.9.
    assert "from __future__ import annotations" in text
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Match)]
