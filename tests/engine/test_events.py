"""Reporting and the results in words: the small parts around a job."""

from __future__ import annotations

import pytest
from tilth_engine.errors import Cancelled
from tilth_engine.events import Reporter
from tilth_engine.wording import result_text


def test_progress_is_thinned_bounded_and_its_end_always_told():
    told = []
    reporter = Reporter(told.append)

    for step in range(1000):
        reporter.progress(step / 1000, "working", 1.0)
    reporter.progress(7.0, "done")

    assert len(told) < 50
    assert told[0]["fraction"] == 0.0
    assert told[-1] == {
        "event": "progress",
        "fraction": 1.0,
        "message": "done",
        "seconds_left": None,
    }


def test_every_progress_asks_whether_to_stop():
    stop = []
    reporter = Reporter(lambda event: None, lambda: bool(stop))
    reporter.progress(0.1, "a")
    stop.append(True)

    with pytest.raises(Cancelled):
        reporter.progress(0.1, "a")


def test_a_warning_is_told_once_and_kept():
    told = []
    reporter = Reporter(told.append)
    for text in ("a", "b", "a"):
        reporter.warn(text)

    assert reporter.warnings == ["a", "b"]
    assert [event["message"] for event in told] == ["a", "b"]


def test_results_without_figures_are_worded_too():
    score = {
        "overall_accuracy": None,
        "mean_iou": None,
        "macro_f1": None,
        "per_class": [
            {
                "name": "x" * 80,
                "code": 1,
                "iou": None,
                "f1": None,
                "users_accuracy": None,
                "producers_accuracy": 0.5,
                "support": 0,
            }
        ],
    }

    text = result_text("evaluate", score)

    assert "macro-F1 -" in text
    assert max(map(len, text.splitlines())) < 80
