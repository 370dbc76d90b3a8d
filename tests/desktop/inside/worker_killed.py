"""The worker is killed in the middle of a training; QGIS lives on, and the training is resumed."""

from __future__ import annotations

import os
import signal
import sys
from typing import Iterator

sys.path.insert(0, os.environ["TILTH_TEST_INSIDE"])

from common import bar_text, choose, load_sample, picture, report, run, train_epochs
from in_qgis import Wait, show_dock, start_plugin

EPOCHS = 3


def steps() -> Iterator[Wait]:
    dock = show_dock(start_plugin())
    choose(dock, *load_sample())
    page = dock.train
    yield lambda: dock.session.description
    train_epochs(dock, EPOCHS)
    yield lambda: len(page.chart.points()[0]) >= 2 or not page.bar.busy
    for pid in dock.session.pool.pids:
        os.kill(pid, signal.SIGKILL)
    yield lambda: not page.bar.busy
    yield 300
    report["page_said"] = page.notice.text()
    report["bar_said"] = bar_text()
    report["button"] = page.notice.button.text() if page.notice.button.isVisible() else ""
    picture(dock, "worker-killed")
    seen = []
    page.notice.button.click()
    page.task.noticed.connect(lambda _level, text: seen.append(text))
    yield lambda: not page.bar.busy
    report["noticed"] = seen
    report["epochs_drawn"] = [epoch for epoch, _ in page.chart.points()[0]]
    report["result"] = page.result
    report["failed"] = page.notice.text()
    runs = dock.library.folder.parent / "runs"
    report["runs_left"] = [path.name for path in runs.iterdir()]


run(steps, 200)
