"""The command ``tilth``: what it prints where, and its exit status."""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import rasterio
from tilth_engine import cli
from tilth_engine.errors import Cancelled
from tilth_engine.jobs import from_json, to_json
from tilth_engine.method_list import BASELINES
from tilth_engine.prepare import DEFAULT_MINUTES
from tilth_engine.version import VERSION

from .worlds import quick, train_job

ROOT = Path(__file__).resolve().parents[2]
LAUNCH = ROOT / "plugin" / "engine" / "launch.py"


@pytest.fixture
def tilth(capfd):
    """Runs the command in this process: (status, standard output, standard error)."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def run(*arguments):
        capfd.readouterr()
        with quick():
            try:
                status = cli.main([str(argument) for argument in arguments])
            except SystemExit as leaving:
                status = leaving.code
        return (status, *capfd.readouterr())

    yield run
    for number, handler in handlers.items():
        signal.signal(number, handler)


def arguments_of(job, *more):
    return [
        "train", "--image", job.images[0], "--labels", job.labels, "--class-field", "class",
        "--out", job.out, "--threads", "1", "--device", "cpu", "--method", "frozen", *more,
    ]  # fmt: skip


def events(text):
    return [json.loads(line) for line in text.splitlines()]


def test_the_main_job(tilth, tmp_path):
    """Train, map, evaluate, inspect: each with what people see."""
    job = train_job(tmp_path)
    report, map_, figures = tmp_path / "r.html", tmp_path / "m.tif", tmp_path / "s.json"

    status, out, err = tilth(*arguments_of(job, "--epochs", "2", "--report", report))
    assert status == 0
    assert f"{job.out}: trained 2 epochs" in out
    assert "macro-F1" in out
    assert [line for line in err.splitlines() if line.startswith("epoch")][1].startswith("epoch 2")
    assert report.is_file()

    status, out, err = tilth(
        "predict", "--image", job.images[0], "--adapter", job.out, "--out", map_, "--confidence",
        tmp_path / "c.tif", "--threads", "1", "--extent", 500_000, 4_999_500, 500_960, 5_000_000,
    )  # fmt: skip
    assert status == 0
    assert "4800 pixels classified" in out
    with rasterio.open(map_) as file:
        assert file.shape == (50, 96)

    status, out, err = tilth(
        "evaluate", "--map", map_, "--reference", job.labels, "--class-field", "class",
        "--out", figures,
    )  # fmt: skip
    assert status == 0
    assert "wood" in out
    assert json.loads(figures.read_text())["macro_f1"] > 0.9

    status, out, err = tilth("inspect", job.out)
    assert status == 0
    assert "adapter: sound" in out
    assert "Blue, Green, Red, NIR" in out
    assert "classes 1 water, 2 wood" in out


def test_a_forest_is_told_as_it_is(tilth, tmp_path):
    job = train_job(tmp_path)
    status, _, err = tilth(*arguments_of(job, "--method", "forest"))
    assert status == 0 and Path(job.out).is_file()
    assert "epoch 1" in err and "loss" not in err.split("held-out")[0]


@pytest.mark.parametrize("method", ["forest", "alone", "unet"])
def test_a_backbone_that_the_method_does_not_look_at_is_refused(tilth, tmp_path, method):
    job = train_job(tmp_path)
    asked = arguments_of(job, "--method", method, "--backbone", "embedded", "--dry-run")
    status, _, err = tilth(*asked)
    assert status == 2
    assert f"--backbone: the method {method} does not look at it; leave it out" in err
    # The dock's jobs have one all the same, and one that the method comes to is no contradiction.
    replace(job, method=method, backbone="embedded").check()
    own = BASELINES[method].backbone
    assert tilth(*arguments_of(job, "--method", method, "--backbone", own, "--dry-run"))[0] == 0


@pytest.mark.parametrize(
    ("method", "asked", "told"),
    [
        ("forest", "--random-backbone", "--random-backbone"),
        ("forest", "--backbone presto --decoder unet", "--backbone, --decoder"),
        ("forest-neighbourhood", "--rank 8 --batch 4 --match B2,,+,B8", "--rank, --match, --batch"),
        ("alone", "--decoder unet --no-image-branch", "--decoder, --no-image-branch"),
        ("alone", "--zoom 2 --time-location --checkpointing", "--zoom, --time-location"),
        ("alone", "--decoder-channels 64 --precision nf4", "--decoder-channels, --precision"),
        ("unet", "--decoder slim", "--decoder"),
        ("unet", "--prompts 7 --targets q,v --dropout 0.1", "--prompts, --dropout, --targets"),
        ("probe", "--decoder unet", "--decoder"),
        ("frozen", "--alpha 8", "--alpha"),
        ("full", "--precision int8", "--precision"),
        ("lora", "--prompts 7", "--prompts"),
    ],
)
def test_an_option_that_the_method_does_not_look_at_is_refused(
    tilth, tmp_path, method, asked, told
):
    job = train_job(tmp_path)
    status, _, err = tilth(*arguments_of(job, "--method", method, *asked.split(), "--dry-run"))
    assert status == 2
    (line,) = err.splitlines()
    called, _, rest = line.removeprefix("tilth: ").partition(": ")
    assert set(told.split(", ")) <= set(called.split(", "))
    assert rest.startswith(f"the method {method} does not look at ")


@pytest.mark.parametrize(
    "line",
    [
        "unet --backbone unet-random --random-backbone --decoder unet --no-image-branch --zoom 2",
        "unet --decoder-channels 64 --batch 4 --checkpointing",
        "alone --decoder slim --batch 4 --precision auto --normalisation image",
        "forest --epochs 3 --minutes 1 --split blocks --date 2024-06-15",
        "vpt --prompts 7 --dropout 0.2",
    ],
)
def test_what_the_method_comes_to_or_looks_at_is_no_contradiction(line):
    options = cli._parser().parse_args([*GOOD.split(), "--method", *line.split()])
    options.make(options).check()


def test_a_job_of_the_docks_may_say_more_than_its_method_heeds(tmp_path):
    """What stands there for a baseline was not asked for: its backbone, the match of its bands."""
    job = replace(train_job(tmp_path), method="forest", backbone="presto", matching=["B2", "B3"])
    assert from_json(to_json(job)) == job


def test_json_lines_and_nothing_else(tilth, tmp_path):
    job = train_job(tmp_path)

    status, out, err = tilth(*arguments_of(job, "--epochs", "1", "--json"))

    assert status == 0
    told = events(out)
    assert told[-1]["event"] == "result"
    assert told[-1]["result"]["adapter"] == job.out
    assert {event["event"] for event in told} >= {"progress", "metrics", "result"}
    assert err == ""

    status, out, err = tilth("inspect", tmp_path / "nothing.tilth", "--json")
    assert status == 2
    assert [(event["event"], event["kind"]) for event in events(out)] == [("error", "input")]
    assert err == ""


@pytest.mark.parametrize("name", ["inspect", "evaluate", "predict"])
def test_every_verb_speaks_json(tilth, trained, tmp_path, name):
    job = trained.job
    map_ = tmp_path / "m.tif"
    predict = ["predict", "--image", job.images[0], "--adapter", job.out, "--out", map_]
    predict += ["--threads", "1"]
    if name == "evaluate":
        tilth(*predict)
    arguments = {
        "inspect": ["inspect", job.out],
        "predict": predict,
        "evaluate": [
            "evaluate",
            "--map",
            map_,
            "--reference",
            job.labels,
            "--class-field",
            "class",
        ],
    }

    status, out, _ = tilth(*arguments[name], "--json")

    assert status == 0
    result = events(out)[-1]["result"]
    assert result[{"inspect": "verified", "predict": "map", "evaluate": "confusion"}[name]]


def test_dry_run_only_says_what_would_run(tilth, tmp_path):
    job = train_job(tmp_path)
    before = set(tmp_path.iterdir())

    status, out, _ = tilth(*arguments_of(job, "--dry-run", "--epochs", "3"))

    assert status == 0
    assert "2 classes, 8 polygons" in out
    assert "about" in out
    assert set(tmp_path.iterdir()) == before


def test_a_dry_run_shows_what_the_bands_are_to_the_backbone(tilth, tmp_path):
    job = train_job(tmp_path)
    model = ["--backbone", "prithvi-2-tiny-tl", "--random-backbone", "--zoom", "1"]

    status, out, _ = tilth(*arguments_of(job, "--dry-run", "--minutes", "1", *model))

    assert status == 0
    assert "4 of the image's 4 used; the model knows 6" in out
    assert "Red (660 nm) = " in out
    assert "left out of the model" in out
    assert "reflectance x 10000, standardised by the backbone's card" in out


def test_every_choice_reaches_the_job():
    line = (
        "train --image a.tif --image b.tif --stack --labels l --class-field c --out o "
        "--backbone prithvi-2-tiny-tl --method lora --rank 8 --alpha 4 --dropout 0.1 "
        "--targets q,v,fc1 --decoder linear --no-image-branch --normalisation card "
        "--match B02,,+,B8A --date 2024-05-01 --date 2024-08-01 --time-location --zoom 2.5 "
        "--batch 3 --precision bfloat16 --checkpointing"
    )
    options = cli._parser().parse_args(line.split())
    job = options.make(options)

    job.check()
    assert (job.images, job.stack, job.method) == (["a.tif", "b.tif"], True, "lora")
    assert (job.rank, job.alpha, job.dropout, job.targets) == (8, 4, 0.1, ["q", "v", "fc1"])
    assert (job.decoder, job.image_branch) == ("linear", False)
    assert (job.normalisation, job.matching) == ("card", ["B02", "", "+", "B8A"])
    assert (job.dates, job.time_location) == (["2024-05-01", "2024-08-01"], True)
    assert (job.zoom, job.batch, job.precision, job.checkpointing) == (2.5, 3, "bfloat16", True)


def test_no_backbone_means_the_decoder_alone():
    line = "train --image a.tif --labels l --class-field c --out o --backbone"
    for backbone, method in (("none", "frozen"), ("embedded", "lora")):
        options = cli._parser().parse_args([*line.split(), backbone])
        assert options.make(options).method == method


def test_backbones(tilth, monkeypatch, tmp_path):
    monkeypatch.setenv("TILTH_HOME", str(tmp_path / "home"))
    status, out, _ = tilth("backbones")
    assert status == 0
    lines = out.splitlines()
    ready, wanting = (
        lines.index("Ready to use"),
        lines.index("Weights to get: tilth backbones fetch ID"),
    )
    assert lines[0].startswith("BACKBONE")
    assert lines[ready + 1].startswith("embedded ")
    assert next(n for n, line in enumerate(lines) if line.startswith("presto ")) > wanting
    assert max(map(len, lines)) <= 100
    assert tilth("backbones", "list")[1] == out

    status, out, _ = tilth("backbones", "show", "galileo-tiny")
    assert status == 0
    assert out.startswith("Galileo tiny (galileo-tiny)\n")
    assert "tilth backbones fetch galileo-tiny" in out

    status, out, _ = tilth("backbones", "show", "embedded", "--json")
    (event,) = events(out)
    assert event["result"]["id"] == "embedded"
    assert Path(event["result"]["folder"], "weights.safetensors").is_file()

    status, _, err = tilth("backbones", "show", "imaginary")
    assert status == 2
    assert "embedded" in err
    assert len(err.splitlines()) == 1


def test_without_a_class_field_the_option_and_the_fields_are_named(tilth, tmp_path):
    job = train_job(tmp_path)
    for verb in ("train", "compare"):
        line = [verb, "--image", job.images[0], "--labels", job.labels, "--out", job.out]
        status, _, err = tilth(*line)
        assert status == 2
        assert err == (
            f"tilth: {job.labels}: name the field that has the class (--class-field); its fields "
            "are class\n"
        )


def test_a_wrong_entry_is_called_by_its_option(tilth, tmp_path):
    job = train_job(tmp_path)
    model = ["--backbone", "prithvi-2-tiny-tl", "--random-backbone"]

    status, out, err = tilth(*arguments_of(job, *model, "--match", "B2,B3"))
    assert (status, out) == (2, "")
    assert err.startswith("tilth: --match: 2 entries for 4 bands")

    status, out, _ = tilth(*arguments_of(job, *model, "--match", "B2,B3", "--json"))
    assert events(out)[-1]["message"].startswith("matching: ")  # as the job's entry is called


GOOD = "train --image a --labels l --class-field c --out o"
MAP = "predict --image a --adapter b --out c"


@pytest.mark.parametrize(
    "line",
    [
        "",
        "dance",
        "train",
        "train --image a.tif --out",
        "train --image a --labels l --out o",
        f"{GOOD} --epochs x",
        f"{GOOD} --epochs 0",
        f"{GOOD} --minutes nan",
        f"{GOOD} --seed -1",
        f"{GOOD} --threads -2",
        f"{GOOD} --device tpu",
        f"{GOOD} --method magic",
        f"{GOOD} --backbone none --method lora",
        f"{GOOD} --zoom 99",
        f"{GOOD} --zoom nan",
        f"{GOOD} --normalisation magic",
        f"{GOOD} --label-raster r.tif",
        f"{MAP} --extent 1 2 3",
        f"{MAP} --extent 3 0 1 9",
        f"{MAP} --extent 0 0 1 inf",
        f"{MAP} --image another",
        f"{MAP} --confidence c",
        "evaluate --map /no.tif --reference /no.gpkg",
        "inspect /no.tilth --device cpu",
        "backbones steal",
        "backbones fetch",
        "backbones fetch embedded",
        "backbones fetch imaginary",
        "backbones fetch dinov3-sat-large",
        "backbones add presto",
        "backbones add presto --file /no.pt",
        "backbones fetch presto --file /no.pt",
        "backbones remove embedded",
    ],
)
def test_wrong_arguments_are_one_line_and_status_2(tilth, line):
    status, out, err = tilth(*line.split())

    assert status == 2
    assert out == ""
    assert len(err.strip().splitlines()) == 1
    assert err.startswith("tilth")


def test_help_and_version(tilth):
    for arguments in (["--help"], ["train", "--help"], ["predict", "--help"]):
        status, out, _ = tilth(*arguments)
        assert status == 0
        assert "usage: tilth" in out
    assert tilth("--version")[1].strip() == f"tilth {VERSION}"


def test_help_tells_how_long_a_training_takes(tilth):
    text = " ".join(tilth("train", "--help")[1].split())

    cpu, gpu = (f"{DEFAULT_MINUTES[kind]:g}" for kind in ("cpu", "cuda"))
    assert f"at most (default: {cpu} on a CPU, {gpu} on a GPU; with --epochs no limit)" in text
    assert DEFAULT_MINUTES["mps"] == DEFAULT_MINUTES["cuda"]
    assert "at most (default: as many as the minutes allow)" in text


def test_the_design_names_every_option_and_choice_of_the_command():
    page = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    told = dict.fromkeys(("train", "predict", "evaluate", "compare", "inspect", "backbones"), "")
    for entry in page.split("```\ntilth ")[1].split("```")[0].split("\ntilth "):
        told[entry.split()[0]] = told.get(entry.split()[0], "") + entry
    told["compare"] += told["train"]
    verbs = next(a for a in cli._parser()._actions if isinstance(a, argparse._SubParsersAction))
    missing = []
    for verb, parser in verbs.choices.items():
        for action in parser._actions:
            for option in action.option_strings:
                usual = option in ("-h", "--help", "--json", "--device", "--threads", "--seed")
                if not usual and not re.search(rf"{option}(?![\w-])", told[verb]):
                    missing.append((verb, option))
            few = action.choices is not None and action.dest != "method"
            missing += [(verb, word) for word in action.choices or () if few
                        if not re.search(rf"\b{word}\b", told[verb])]  # fmt: skip
    assert missing == []


def test_a_fault_of_ours_is_status_1_and_leaves_a_log(tilth, monkeypatch, trained):
    def fail(self, job, reporter):
        raise ZeroDivisionError("two\nlines")

    monkeypatch.setattr(cli.Runner, "run", fail)

    status, _, err = tilth("inspect", trained.job.out)

    assert status == 1
    first, second = err.strip().splitlines()
    assert first == "tilth: internal error: ZeroDivisionError: two lines"
    log = Path(second.removeprefix("tilth: the details are in "))
    assert "Traceback" in log.read_text()
    log.unlink()


@pytest.mark.parametrize("error", [Cancelled, KeyboardInterrupt])
def test_cancelled_is_status_130(tilth, monkeypatch, trained, error):
    def stop(self, job, reporter):
        raise error

    monkeypatch.setattr(cli.Runner, "run", stop)

    assert tilth("inspect", trained.job.out) == (130, "", "tilth: cancelled\n")


def test_full_memory_is_told(tilth, monkeypatch, trained):
    def full(self, job, reporter):
        raise MemoryError

    monkeypatch.setattr(cli.Runner, "run", full)

    status, _, err = tilth("inspect", trained.job.out)

    assert status == 2
    assert "memory is full" in err


def test_a_process_of_its_own(trained, tmp_path):
    """By launch.py, isolated, from a folder with a blank and through a pipe."""
    copy = tmp_path / "a folder ü" / "engine"
    copy.parent.mkdir()
    copy.symlink_to(LAUNCH.parent, target_is_directory=True)
    command = [sys.executable, "-I", "-X", "utf8", str(copy / "launch.py"), "inspect"]

    good = subprocess.run([*command, trained.job.out], capture_output=True, text=True)
    bad = subprocess.run([*command, str(tmp_path / "ü.tilth")], capture_output=True, text=True)

    assert good.returncode == 0
    assert "Wasser & Wald: sound" in good.stdout
    assert (bad.returncode, bad.stdout) == (2, "")
    assert len(bad.stderr.splitlines()) == 1


def test_a_console_of_another_encoding_is_no_fault():
    """Windows gives a pipe its own code page; JSON lines are UTF-8 all the same."""
    code = (
        "import runpy, sys; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], None, '__main__')"
    )
    command = [sys.executable, "-c", code, str(LAUNCH), *f"{GOOD} --device grün --json".split()]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}

    shown = subprocess.run(command, capture_output=True, env=environment)

    assert shown.returncode == 2
    assert "grün" in json.loads(shown.stdout.decode("utf-8"))["message"]
