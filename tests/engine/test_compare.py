"""Comparisons: one split for all, rows that stay, choices that fail."""

from __future__ import annotations

import csv
import dataclasses
import sys
from pathlib import Path

import pytest
from tilth_engine import adapter_file, child, compare, compare_table
from tilth_engine.compare_cli import choice_of
from tilth_engine.compare_job import Choice, CompareJob
from tilth_engine.errors import Cancelled, TilthError
from tilth_engine.events import Reporter
from tilth_engine.wording import result_text

from .worlds import train_job

WORKER = [sys.executable, str(Path(__file__).with_name("driver.py")), "worker"]
FOREST, ALONE = Choice("forest", {"method": "forest"}), Choice("alone", {"method": "alone"})
ABSENT = Choice("weights that are not here", {"backbone": "presto", "method": "frozen"})


def run(job, stop=lambda event: False):
    events, stopped = [], []

    def emit(event):
        events.append(event)
        if stop(event):
            stopped.append(1)

    job.check()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(child, "command", lambda: WORKER)
        return compare.compare(job, Reporter(emit, lambda: bool(stopped))), events


def of_kind(events, kind):
    return [event for event in events if event["event"] == kind]


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A comparison that ran: job, result, events."""
    folder = tmp_path_factory.mktemp("vergleich ä")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TILTH_HOME", str(folder / "home"))
        train = train_job(folder, epochs=1, seed=5)
        report, out = folder / "c.html", folder / "kept"
        job = CompareJob(train, [ALONE, ABSENT, FOREST], 2, str(out), str(report))
        return job, *run(job)


def test_the_table_has_every_choice_with_its_figures(done):
    _, result, events = done

    assert [entry["choice"] for entry in result["choices"]][-1] == ABSENT.name
    forest, alone = (
        next(entry for entry in result["choices"] if entry["choice"] == name)
        for name in ("forest", "alone")
    )
    assert forest["score"] > 0.9
    assert forest["score"] >= alone["score"]
    assert (forest["runs"], alone["runs"]) == (2, 2)
    assert forest["spread"] is not None
    assert forest["adapter_mb"] > 0
    assert alone["parameters"] > 10_000 and forest["parameters"] == 0
    if sys.platform == "linux":
        assert 100 < alone["peak_mb"] < 20_000
    told = of_kind(events, "row")
    assert [(e["row"]["choice"], e["row"]["seed"]) for e in told] == [
        ("alone", 5), ("alone", 6), (ABSENT.name, 5), ("forest", 5), ("forest", 6)
    ]  # fmt: skip
    assert told[-1]["choices"] == result["choices"]
    fractions = [event["fraction"] for event in of_kind(events, "progress")]
    assert fractions == sorted(fractions) and fractions[-1] == 1.0
    assert "not told apart" not in result_text("compare", result)  # two seeds don't say


def test_all_are_scored_on_the_same_polygons(done):
    _, result, _ = done
    rows = [row for row in result["rows"] if not row["error"]]

    assert {row["held_out"]["digest"] for row in rows} == {result["held_out"]["digest"]}
    assert {row["seed"] for row in rows} == {5, 6}
    assert result["held_out"]["polygons"] == 2
    assert result["held_out"]["classes"] == {"water": 1, "wood": 1}
    assert any("only 2 polygons are held out" in text for text in result["warnings"])


def test_what_fails_is_a_row_with_its_reason(done):
    _, result, _ = done
    failed = [row for row in result["rows"] if row["error"]]

    assert [row["choice"] for row in failed] == [ABSENT.name]  # its other seed is not tried
    assert "weights" in failed[0]["error"]
    assert "weights" in result_text("compare", result)


def test_reports_and_adapters_stay_and_nothing_else(done):
    job, result, _ = done

    assert "weights that are not here" in Path(job.report).read_text(encoding="utf-8")
    assert sorted(p.name for p in Path(job.out).iterdir()) == ["alone.tilth", "forest.tilth"]
    best = max(
        (row for row in result["rows"] if row["choice"] == "alone"), key=lambda row: row["score"]
    )
    card = adapter_file.read(str(Path(job.out, "alone.tilth"))).card
    assert card["score"]["macro_f1"] == pytest.approx(best["score"])
    assert card["training"]["seed"] == best["seed"]


def test_a_second_call_trains_only_what_is_missing(done, tmp_path, monkeypatch):
    """Nothing is trained again, also where the last line was cut short; figures as CSV."""
    job, result, _ = done
    report = tmp_path / "c.csv"
    lines = Path(job.report).with_suffix(".rows.jsonl").read_text(encoding="utf-8")
    report.with_suffix(".rows.jsonl").write_text(lines + '{"key": "cut sh', encoding="utf-8")
    monkeypatch.setattr(compare, "Child", None)  # to start one would fail
    again = dataclasses.replace(job, choices=[FOREST, ALONE], report=str(report))

    told = compare.compare(again, Reporter(lambda event: None))

    scores = {entry["choice"]: entry["score"] for entry in result["choices"]}
    assert {entry["choice"]: entry["score"] for entry in told["choices"]} == {
        name: scores[name] for name in ("forest", "alone")
    }
    with report.open(encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    assert [(row["choice"], row["seed"]) for row in table] == [
        ("forest", "5"), ("forest", "6"), ("alone", "5"), ("alone", "6")
    ]  # fmt: skip

    # Where the labels are others, nothing of it counts.
    labels = tmp_path / "labels.gpkg"
    labels.write_bytes(Path(job.train.labels).read_bytes())
    other = dataclasses.replace(job.train, labels=str(labels))
    with pytest.raises(TypeError):
        compare.compare(dataclasses.replace(again, train=other), Reporter(lambda event: None))


def test_what_was_trained_on_other_weights_does_not_count(tmp_path, monkeypatch):
    monkeypatch.setenv("TILTH_HOME", str(tmp_path / "home"))
    folder = tmp_path / "home" / "backbones" / "timm-test_vit.r160_in1k"
    folder.mkdir(parents=True)
    weights = folder / "weights.safetensors"
    choices = [
        {"backbone": "timm:test_vit.r160_in1k"},
        {"backbone": "timm:test_vit"},
        {"backbone": "timm:test_vit", "random_backbone": True},
        {"backbone": "timm:test_vit2"},
        {"backbone": "timm:test_vit", "method": "forest"},
    ]
    job = CompareJob(train_job(tmp_path), [Choice("a", values) for values in choices])

    def keys():
        return [compare._key(job.run_of(choice, 0, "-")) for choice in job.choices]

    absent = keys()
    weights.write_bytes(b"one")
    before = keys()
    assert keys() == before
    weights.write_bytes(b"other")

    assert [now == then for now, then in zip(keys(), before, strict=True)] == [
        False, False, True, True, True
    ]  # fmt: skip
    assert absent[2:] == before[2:] and absent[0] != before[0]


def test_labels_that_no_choice_can_use_are_refused_once_and_at_once(done):
    job, *_ = done
    events = []
    wrong = dataclasses.replace(job.train, class_field="klass")

    with pytest.raises(TilthError, match="no field 'klass'; its fields are class"):
        compare.compare(dataclasses.replace(job, train=wrong), Reporter(events.append))

    assert of_kind(events, "row") == []


def test_cancelled_it_keeps_what_had_finished(done, tmp_path):
    job, _, _ = done
    report = tmp_path / "c.json"
    lines = Path(job.report).with_suffix(".rows.jsonl").read_text(encoding="utf-8")
    report.with_suffix(".rows.jsonl").write_text(lines, encoding="utf-8")
    unwanted = Choice("not wanted", {"method": "alone", "batch": 2})
    job = dataclasses.replace(job, choices=[FOREST, unwanted], seeds=1, report=str(report))
    told = []

    def stop(event):
        told.append(event)
        return event["event"] == "progress" and "not wanted" in event["message"]

    with pytest.raises(Cancelled):
        run(job, stop)

    assert [event["row"]["choice"] for event in of_kind(told, "row")] == ["forest"]
    assert report.with_suffix(".rows.jsonl").read_text(encoding="utf-8") == lines
    # What the run had written so far is gone.
    assert sorted(p.name for p in Path(job.out).iterdir()) == ["alone.tilth", "forest.tilth"]


def test_a_choice_that_the_system_kills_is_a_row(tmp_path, monkeypatch):
    """And where nothing at all could be trained, that is the job's fault."""
    dying = "import os, signal, sys; sys.stdin.readline(); os.kill(os.getpid(), 9)"
    if sys.platform == "win32":
        dying = "import os, sys; sys.stdin.readline(); os._exit(3)"
    monkeypatch.setattr(child, "command", lambda: [sys.executable, "-c", dying])
    told = []

    with pytest.raises(TilthError, match=r"no choice could be trained; alone: .*process"):
        compare.compare(CompareJob(train_job(tmp_path), [ALONE]), Reporter(told.append))

    assert "memory" in of_kind(told, "row")[0]["row"]["error"] or sys.platform == "win32"


def rows_of(**scores):
    return [
        {
            "choice": name, "seed": seed, "score": score, "error": "", "minutes": 1.0,
            "peak_mb": None, "adapter_mb": 1.0, "parameters": 1, "adapter": "", "held_out": None,
        }
        for name, values in scores.items()
        for seed, score in enumerate(values)
    ]  # fmt: skip


def test_what_is_told_apart_from_the_best():
    """By pairs: a constant loss shows, however much the seeds differ."""
    table = compare_table.summaries(
        rows_of(
            worse=(0.70, 0.80, 0.91), noisy=(0.83, 0.79, 0.90), best=(0.75, 0.86, 0.96), one=(0.5,)
        )
    )

    assert [entry["choice"] for entry in table] == ["best", "noisy", "worse", "one"]
    assert [entry["like_best"] for entry in table] == [True, True, False, None]
    assert table[2]["difference"] == pytest.approx([0.0533, 0.0390, 0.0677], abs=2e-4)
    assert table[0]["spread"] == pytest.approx(0.1050, abs=1e-4)


def test_choices_as_they_are_written():
    assert choice_of("forest").values == {"method": "forest"}
    text = "timm:vit_small:lora, rank=8,targets=q+v,dropout=0.1,image_branch=no"
    assert choice_of(text).values == {
        "backbone": "timm:vit_small", "method": "lora", "rank": 8, "targets": ["q", "v"],
        "dropout": 0.1, "image_branch": False,
    }  # fmt: skip
    for text, word in (
        ("lora,rank", "rank"),
        ("lora,rank=x", "number"),
        ("lora,seed=1", "seed"),
        ("lora,rank=3,rank=4", "rank is there twice"),
        ("lora,method=dora", "method is there twice"),
    ):
        with pytest.raises(TilthError, match=word):
            choice_of(text)


@pytest.mark.parametrize(
    ("text", "entry"),
    [
        ("presto:forest", "backbone"),
        ("alone,decoder=unet", "decoder"),
        ("alone,zoom=2", "zoom"),
        ("forest,batch=4", "batch"),
        ("alone,precision=nf4", "precision"),
        ("full,precision=int8", "precision"),
        ("probe,decoder=unet", "decoder"),
        ("frozen,rank=8", "rank"),
        ("lora,prompts=8", "prompts"),
        ("ia3,alpha=8", "alpha"),
    ],
)
def test_no_choice_is_called_what_it_is_not(text, entry):
    with pytest.raises(TilthError, match=f"heeds no {entry}"):
        choice_of(text)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"choices": []}, "choices"),
        ({"choices": [Choice("a b"), Choice("A-b")]}, "twice"),
        ({"choices": [Choice("a", {"method": "magic"})]}, "choice 'a': method"),
        ({"choices": [Choice("a", {"rank": "8"})]}, "rank"),
        ({"choices": [Choice("a", {"images": []})]}, "images"),
        ({"seeds": 0}, "seeds"),
        ({"seeds": 21}, "seeds"),
        ({"report": "r.pdf"}, "report"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path, changes, word):
    job = CompareJob(train_job(tmp_path), [ALONE])

    with pytest.raises(TilthError, match=word):
        dataclasses.replace(job, **changes).check()
    for name, value in (("split", "none"), ("continue_from", "a.tilth"), ("resume", True)):
        train = dataclasses.replace(job.train, **{name: value})
        with pytest.raises(TilthError, match=name):
            dataclasses.replace(job, train=train).check()
