"""Training for real, on a world so small that seconds are enough."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from rasterio.transform import Affine
from tilth_engine import adapter_file
from tilth_engine import train as train_module
from tilth_engine.calibration import usual_temperature
from tilth_engine.errors import Cancelled, TilthError
from tilth_engine.events import Reporter, silent
from tilth_engine.jobs import PredictJob
from tilth_engine.predict import predict
from tilth_engine.train import train
from tilth_engine.training.loop import Loop
from tilth_engine.training.samples import Chip
from tilth_engine.training.trust import by_polygons

from .worlds import (
    BANDS,
    Run,
    learnt_parameters,
    scene,
    square,
    train_job,
    two_classes,
    write_image,
    write_polygons,
)

# A network of timm that costs little.
TIMM = {"backbone": "timm:test_vit", "random_backbone": True}
DRIVER = Path(__file__).with_name("driver.py")


def tensors(path):
    adapter = adapter_file.read(str(path))
    return {**adapter.adapter, **adapter.decoder}


def same(first, second):
    one, two = tensors(first), tensors(second)
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def alike(first, second, image, folder):
    """Of one shape, and their maps equal on nearly all pixels: two processes may round differently,
    of which Adam, half precision and a discriminant of nearly equal tokens make more."""
    one, two = tensors(first), tensors(second)
    maps = []
    for number, adapter in enumerate((first, second)):
        out = str(folder / f"{number}.tif")
        predict(PredictJob(adapter=adapter, images=[image], out=out), silent())
        with rasterio.open(out) as file:
            maps.append(file.read(1))
    shapes = [{name: value.shape for name, value in part.items()} for part in (one, two)]
    return shapes[0] == shapes[1] and (maps[0] == maps[1]).mean() > 0.98


def kinds(run, kind):
    return [event for event in run.events if event["event"] == kind]


def short(folder, **options):
    return Run(train_job(folder, **{"epochs": 1, "method": "frozen", **options}))


# What a training gives


def test_it_learns_what_is_plain_to_see(trained):
    assert trained.result["score"]["macro_f1"] > 0.9
    assert trained.result["score"]["overall_accuracy"] > 0.9
    assert trained.result["epochs"] == 3
    held_out = sum(row["support"] for row in trained.result["score"]["per_class"])
    assert held_out == 2 * 144


def test_held_out_polygons_are_learnt_once_the_score_is_known(monkeypatch, tmp_path):
    for name in ("with", "without"):
        (tmp_path / name).mkdir()
    with_them = short(tmp_path / "with")
    monkeypatch.setattr(Loop, "learn_all", lambda self, aim, step: None)
    without = short(tmp_path / "without")
    one, two = (tensors(run.result["adapter"]) for run in (with_them, without))
    changed = {name for name in one if not torch.equal(one[name], two[name])}
    assert changed and all(name.startswith(("spectral", "distilled")) for name in changed)
    assert with_them.result["score"] == without.result["score"]


def test_events_tell_the_course(trained):
    shares = [event["fraction"] for event in kinds(trained, "progress")]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    metrics = kinds(trained, "metrics")
    assert [event["epoch"] for event in metrics] == [1, 2, 3]
    for event in metrics:
        assert event["epochs"] == 3
        assert set(event["values"]) == {
            "train_loss",
            "validation_loss",
            "validation_score",
            "learning_rate",
        }
        assert all(np.isfinite(value) for value in event["values"].values())


def test_the_card_says_what_was_done(trained):
    card = adapter_file.read_card(trained.job.out)

    assert trained.result["card"].items() <= card.items()
    assert card["name"] == "Wasser & Wald"
    assert [band["name"] for band in card["bands"]] == list(BANDS)
    assert card["bands"][3]["wavelength_nm"] == 840
    assert card["resolution_m"] == 10
    assert [entry["pixels"] for entry in card["classes"]] == [576, 576]
    assert all(entry["validated"] for entry in card["classes"])
    assert card["training"]["polygons"] == 8
    assert 0.1 < card["temperature"] < 10
    weights = learnt_parameters(tensors(trained.job.out))
    assert card["training"]["trainable_parameters"] == weights
    share = float(tensors(trained.job.out)["trust"])
    assert card["training"]["network_share"] == share
    told = [event["message"] for event in kinds(trained, "notice")]
    assert any("random forests" in text for text in told) == (share == 0)


def test_nothing_but_adapter_and_report_is_left(trained):
    names = {path.name for path in Path(trained.job.out).parent.iterdir()}

    assert names == {"scene.tif", "labels.gpkg", "adapter.tilth", "report.html"}
    assert "Wasser &amp; Wald" in Path(trained.job.report).read_text(encoding="utf-8")


def test_the_same_seed_gives_the_same_weights(tmp_path):
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        (tmp_path / name).mkdir()
        short(tmp_path / name, seed=seed)

    assert same(tmp_path / "a/adapter.tilth", tmp_path / "b/adapter.tilth")
    assert not same(tmp_path / "a/adapter.tilth", tmp_path / "c/adapter.tilth")


# Killed, cancelled, resumed


def killed(job):
    """Run the job in a process of its own and kill it without warning after its first epoch."""
    arguments = ["--image", job.images[0], "--labels", job.labels, "--class-field", "class"]
    arguments += [
        "--out",
        job.out,
        "--epochs",
        str(job.epochs),
        "--threads",
        "1",
        "--device",
        "cpu",
    ]
    process = subprocess.Popen([sys.executable, str(DRIVER), "train", *arguments, "--json"])
    state = Path(f"{job.out}.training") / "checkpoint.json"
    end = time.monotonic() + 120
    while not state.exists() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert state.exists(), "it ended before its first checkpoint"
    return state


@pytest.fixture
def interrupted(trained, tmp_path):
    """The job of ``trained`` in another place, killed after an epoch or two."""
    job = dataclasses.replace(trained.job, out=str(tmp_path / "a.tilth"), report="", resume=True)
    state = killed(job)
    assert not Path(job.out).exists()
    return job, state


def test_a_killed_run_goes_on_to_the_same_end(trained, interrupted, tmp_path, tmp_path_factory):
    job, state = interrupted
    done = json.loads(state.read_text())["progress"]["epoch"]
    # The plugin writes the labels to another file each time.
    moved = dataclasses.replace(job, labels=two_classes(tmp_path / "moved.gpkg"))

    again = Run(moved)

    notices = [event["message"] for event in kinds(again, "notice")]
    assert f"Going on after epoch {done}" in notices
    assert [event["epoch"] for event in kinds(again, "metrics")] == [1, 2, 3]
    maps = tmp_path_factory.mktemp("maps")
    assert alike(job.out, trained.job.out, trained.job.images[0], maps)
    assert {path.name for path in tmp_path.iterdir()} == {"a.tilth", "moved.gpkg"}


def test_cancel_leaves_nothing_behind(tmp_path):
    job = train_job(tmp_path, epochs=3, method="frozen")
    before = set(tmp_path.iterdir())

    with pytest.raises(Cancelled):
        Run(job, stop=lambda event: event["event"] == "metrics")

    assert set(tmp_path.iterdir()) == before


def test_without_a_checkpoint_it_starts_anew_and_says_so(tmp_path):
    run = short(tmp_path, resume=True)

    assert any("from the beginning" in text for text in run.result["warnings"])


def test_a_checkpoint_of_other_labels_is_not_used(tmp_path):
    job = train_job(tmp_path, epochs=2, method="frozen")

    with pytest.raises(KeyboardInterrupt):
        Run(job, stop=lambda e: e["event"] == "metrics" and e["epoch"] == 2 and interrupt())
    assert Path(f"{job.out}.training").is_dir()
    shapes = [square(column, row) for column in (10, 60) for row in (4, 30)]
    write_polygons(Path(job.labels), shapes, ["wood", "wood", "water", "water"])

    again = Run(dataclasses.replace(job, resume=True))

    assert any("from the beginning" in text for text in again.result["warnings"])


def test_a_checkpoint_is_not_gone_on_from_with_another_image(tmp_path):
    job = train_job(tmp_path, epochs=3, method="frozen")
    with pytest.raises(KeyboardInterrupt):
        Run(job, stop=lambda e: e["event"] == "metrics" and e["epoch"] == 2 and interrupt())
    write_image(Path(job.images[0]), scene(seed=1))

    again = Run(dataclasses.replace(job, resume=True))

    assert any("from the beginning" in text for text in again.result["warnings"])


def interrupt():
    raise KeyboardInterrupt


def test_a_fault_leaves_the_checkpoint(tmp_path):
    job = train_job(tmp_path, epochs=3, method="frozen")

    def fault(event):
        if event["event"] == "metrics" and event["epoch"] == 2:
            raise RuntimeError("a fault of ours")

    with pytest.raises(RuntimeError):
        Run(job, stop=fault)

    again = Run(dataclasses.replace(job, resume=True))
    assert not any("from the beginning" in text for text in again.result["warnings"])


def test_a_disk_that_is_full_leaves_the_last_whole_checkpoint(tmp_path, monkeypatch):
    job = train_job(tmp_path, epochs=3, method="frozen")
    save = train_module.checkpoint.save

    def full(folder, loop, identity):
        if loop.progress.epoch == 2:
            raise TilthError(f"{folder}: no space is left on the disk")
        save(folder, loop, identity)

    monkeypatch.setattr(train_module.checkpoint, "save", full)
    with pytest.raises(TilthError, match="no space"):
        Run(job)
    monkeypatch.undo()

    again = Run(dataclasses.replace(job, resume=True))
    assert not any("from the beginning" in text for text in again.result["warnings"])


# Outputs that can't be written


def refused_early(job, word):
    """Refused in one line before any time is spent on training."""
    seen = []
    with pytest.raises(TilthError, match=word) as caught:
        Run(job, stop=lambda event: seen.append(event["event"]))
    assert "metrics" not in seen
    assert "\n" not in str(caught.value)


def test_outputs_that_cannot_be_written_are_refused_before_training(tmp_path):
    job = train_job(tmp_path)
    missing = str(tmp_path / "no" / "a.tilth")
    before = set(tmp_path.iterdir())

    refused_early(dataclasses.replace(job, out=missing), "does not exist")
    refused_early(dataclasses.replace(job, out=str(tmp_path)), "folder")
    refused_early(dataclasses.replace(job, report=missing), "does not exist")
    refused_early(dataclasses.replace(job, out=job.images[0]), "input")
    refused_early(dataclasses.replace(job, report=job.out), "choose another")
    refused_early(dataclasses.replace(job, out=job.labels), "input")
    assert set(tmp_path.iterdir()) == before


# Kinds of labels


def test_a_class_with_one_polygon_is_trained_and_reported_as_not_validated(tmp_path):
    shapes = [square(column, row) for column in (10, 60) for row in (4, 30)] + [square(40, 60)]
    labels = write_polygons(tmp_path / "l.gpkg", shapes, [7, 7, 9, 9, 300])

    run = short(tmp_path, labels=labels)

    entries = {entry["code"]: entry for entry in run.result["card"]["classes"]}
    assert set(entries) == {7, 9, 300}
    assert [entries[code]["validated"] for code in (7, 9, 300)] == [True, True, False]
    assert any("not validated" in text for text in run.result["warnings"])
    assert run.result["warnings"] == run.result["card"]["warnings"]


def test_labelled_areas_make_a_background(tmp_path):
    shapes = [square(60, row) for row in (4, 30, 60)]
    labels = write_polygons(tmp_path / "l.gpkg", shapes, [5, 5, 5])
    around = [square(50, row - 3, 30) for row in (4, 30, 60)]
    area = write_polygons(tmp_path / "area.gpkg", around)

    run = short(tmp_path, labels=labels, labelled_area=area, split="blocks")

    assert [entry["code"] for entry in run.result["card"]["classes"]] == [5, 6]
    assert run.result["card"]["classes"][1]["name"] == "background"
    assert run.result["card"]["classes"][1]["pixels"] > 1000


def test_a_label_raster(tmp_path):
    codes = np.zeros((1, 96, 96), np.int16)
    for row in (4, 40, 70):
        codes[0, row : row + 10, 10:22], codes[0, row : row + 10, 60:72] = 2, 11
    codes[0, 90:] = -1
    raster = write_image(tmp_path / "codes.tif", codes, names=("class",))

    run = short(tmp_path, label_raster=raster, class_field="")

    entries = run.result["card"]["classes"]
    assert [(entry["code"], entry["pixels"]) for entry in entries] == [(2, 360), (11, 360)]
    assert run.result["score"]


def test_a_class_of_a_label_raster_without_a_measured_pixel(tmp_path):
    values = scene().astype(np.float32)
    values[:, 80:] = np.nan
    codes = np.zeros((1, 96, 96), np.int16)
    for row in (4, 40, 60):
        codes[0, row : row + 10, 10:22], codes[0, row : row + 10, 60:72] = 2, 5
    codes[0, 85:92, 10:30] = 9

    run = short(
        tmp_path,
        images=[write_image(tmp_path / "gaps.tif", values)],
        label_raster=write_image(tmp_path / "codes.tif", codes, names=("class",)),
        class_field="",
    )

    assert [entry["code"] for entry in run.result["card"]["classes"]] == [2, 5]
    assert any("no labelled pixel" in text for text in run.result["warnings"])


def test_without_a_split_there_is_no_score(tmp_path):
    run = short(tmp_path, split="none", report=str(tmp_path / "r.html"))

    assert run.result["score"] is None
    assert kinds(run, "metrics")[0]["values"]["validation_score"] is None
    expected = usual_temperature(4, 1 - by_polygons(4))
    assert run.result["card"]["temperature"] == pytest.approx(expected, abs=1e-3)


def test_with_ten_polygons_a_class_a_map_is_surer(tmp_path):
    rows, columns = range(2, 92, 9), (10, 60)
    shapes = [square(column, row, 5) for column in columns for row in rows]
    labels = write_polygons(tmp_path / "ten.gpkg", shapes, ["water"] * 10 + ["wood"] * 10)

    run = short(tmp_path, labels=labels, split="none", method="alone")

    expected = usual_temperature(10, 1 - by_polygons(10))
    assert expected < 0.9
    assert run.result["card"]["temperature"] == pytest.approx(expected, abs=1e-3)


# Kinds of images


def test_several_scenes(tmp_path):
    east = scene(seed=1)[[2, 1, 0, 3]]
    images = [
        write_image(tmp_path / "west.tif", scene()),
        write_image(
            tmp_path / "east.tif",
            east,
            names=("Red", "Green", "Blue", "NIR"),
            transform=Affine(10, 0, 502_000, 0, -10, 5_000_000),
        ),
    ]
    shapes = [square(c, r) for c in (10, 60, 210, 260) for r in (4, 40)]
    labels = write_polygons(tmp_path / "l.gpkg", shapes, ["water", "water", "wood", "wood"] * 2)

    run = short(tmp_path, images=images, labels=labels, epochs=2)

    assert run.result["card"]["training"]["polygons"] == 8
    assert run.result["score"]["macro_f1"] > 0.9


def test_a_stack_with_gaps(tmp_path):
    values = scene().astype(np.float32)
    values[:, :, 20:30] = np.nan
    values[1, 5, 5] = np.nan
    files = [
        write_image(tmp_path / f"{name}.tif", values[i : i + 1], names=[name], nodata=-1)
        for i, name in enumerate(BANDS)
    ]

    run = short(tmp_path, images=files, stack=True)

    water = run.result["card"]["classes"][0]
    assert water["pixels"] == 576 - 4 * 12 * 4
    assert any("no data" in text for text in run.result["warnings"])
    assert np.isfinite(run.result["score"]["macro_f1"])


def test_no_gap_reaches_the_weights(tmp_path):
    values = np.full((4, 96, 96), np.nan, np.float32)
    labelled = np.s_[:, 2:30, 10:80]
    values[labelled] = scene()[labelled]
    image = write_image(tmp_path / "i.tif", values)

    run = short(tmp_path, images=[image], method="lora")

    assert all(bool(torch.isfinite(tensor).all()) for tensor in tensors(run.job.out).values())


# Ways to train


def test_all_of_the_backbone(tmp_path):
    run = short(tmp_path, method="full", decoder="linear")

    stored = adapter_file.read(run.job.out).adapter
    assert "blocks.0.attn.qkv.weight" in stored


def test_time_bounds_the_run(tmp_path):
    run = short(tmp_path, epochs=None, minutes=0.02)

    assert 1 <= run.result["epochs"] < 20
    assert run.result["seconds"] < 20


def test_it_goes_on_from_an_adapter(trained, tmp_path):
    job = dataclasses.replace(
        trained.job,
        out=str(tmp_path / "b.tilth"),
        report="",
        epochs=1,
        continue_from=trained.job.out,
    )

    run = Run(job)

    assert any("may have learnt the held-out" in text for text in run.result["warnings"])
    first = kinds(run, "metrics")[0]["values"]
    assert first["train_loss"] < kinds(trained, "metrics")[0]["values"]["train_loss"] * 0.85
    for changes in (
        {"method": "frozen"},
        {"decoder": "linear"},
        {"random_backbone": True},
        {"bands": [1, 2, 3]},
        {"bands": [4, 3, 2, 1]},
    ):
        refused_early(dataclasses.replace(job, **changes), "only with the same")
    damaged = tmp_path / "damaged.tilth"
    damaged.write_bytes(Path(trained.job.out).read_bytes()[:-100])
    refused_early(dataclasses.replace(job, continue_from=str(damaged)), "damaged|not a sound")


def test_going_on_reads_an_image_in_the_earlier_ones_units(trained, tmp_path, monkeypatch):
    """An image twice as bright is that to the network, too: its map will be made so."""
    seen = []
    read = train_module.labelled_samples

    def watched(ready, reporter):
        seen.extend(entry.to_dict() for entry in ready.normalisations)
        return read(ready, reporter)

    monkeypatch.setattr(train_module, "labelled_samples", watched)
    image = write_image(tmp_path / "bright.tif", scene() * 2)

    run = Run(
        dataclasses.replace(
            trained.job,
            images=[image],
            labels=two_classes(tmp_path / "labels.gpkg"),
            out=str(tmp_path / "b.tilth"),
            report="",
            epochs=1,
            continue_from=trained.job.out,
        )
    )

    earlier = trained.result["card"]["normalisation"]
    assert [entry["mean"] for entry in seen] == [earlier["mean"]]
    assert run.result["card"]["normalisation"]["mean"] == earlier["mean"]


def test_going_on_tells_the_network_the_earlier_units(tmp_path):
    changes = {"backbone": "prithvi-2-tiny-tl", "random_backbone": True, "epochs": 1}
    first = short(tmp_path, normalisation="card", **changes)
    assert not first.result["card"]["inputs"]["own_statistics"]

    more = {"normalisation": "image", "out": str(tmp_path / "b.tilth")}
    run = Run(dataclasses.replace(first.job, continue_from=first.job.out, **more))

    assert run.result["card"]["normalisation"]["scale"]["by_card"]
    assert not run.result["card"]["inputs"]["own_statistics"]


def test_going_on_with_larger_polygons_keeps_what_the_network_has_learnt_from(tmp_path):
    """Chips and zoom follow the polygons, and the decoder is made for their zoom."""
    changes = {"decoder": "fcn", "decoder_channels": 8, "bands": [1, 2, 3], **TIMM}
    first = short(tmp_path, method="lora", **changes)
    assert (first.result["card"]["chip"], first.result["card"]["inputs"]["zoom"]) == (64, 2.875)
    shapes = [square(column, row, 40) for column in (2, 50) for row in (2, 50)]
    labels = write_polygons(tmp_path / "large.gpkg", shapes, ["water"] * 2 + ["wood"] * 2)
    out = str(tmp_path / "b.tilth")
    job = dataclasses.replace(first.job, labels=labels, out=out, continue_from=first.job.out)

    card = Run(job).result["card"]

    assert (card["chip"], card["inputs"]["zoom"]) == (64, 2.875)
    for other in ({"zoom": 1.0}, {"seed": 5}, {"matching": ["blue", "green", ""]}):
        refused_early(dataclasses.replace(job, **other), "only with the same")


def test_epochs_are_judged_on_rare_classes_too():
    chips = [Chip(np.zeros((1, 8, 8)), np.full((8, 8), 1, np.uint8)) for _ in range(400)]
    chips[137].classes[0, 0], chips[301].classes[0, 0] = 2, 3

    for seed in range(3):
        picked = train_module._thinned(chips, seed)
        assert len(picked) == train_module.EPOCH_CHIPS == len({id(chip) for chip in picked})
        assert {2, 3} <= {int(value) for chip in picked for value in np.unique(chip.classes)}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"targets": ["kernel"]}, "kernel"),
        ({"continue_from": "/nothing.tilth"}, "no such adapter file"),
        ({"out": "/nowhere/a.tilth"}, "does not exist"),
    ],
)
def test_what_can_be_told_from_names_is_refused_before_pixels_are_read(tmp_path, changes, message):
    told = []
    job = dataclasses.replace(train_job(tmp_path), **changes)

    with pytest.raises(TilthError, match=message):
        train(job, Reporter(told.append))

    assert not [event for event in told if "labelled parts" in event.get("message", "")]


@pytest.mark.skipif(not hasattr(signal, "SIGINT") or os.name == "nt", reason="POSIX signals")
def test_the_first_interrupt_ends_it_cleanly(tmp_path):
    job = train_job(tmp_path, epochs=500, method="frozen")
    before = set(tmp_path.iterdir())
    command = [
        sys.executable,
        str(DRIVER),
        "train",
        "--image",
        job.images[0],
        "--labels",
        job.labels,
    ]
    command += ["--class-field", "class", "--out", job.out, "--epochs", "500", "--threads", "1"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        if line.startswith("epoch"):
            break

    process.send_signal(signal.SIGINT)
    rest = process.stderr.read()

    assert process.wait() == 130
    assert rest.splitlines()[-1] == "tilth: cancelled"
    assert "Traceback" not in rest
    assert set(tmp_path.iterdir()) == before
