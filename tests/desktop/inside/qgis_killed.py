"""Trains for long, and tells which worker does it, so that the test can kill QGIS."""

from __future__ import annotations

import os
import sys
from typing import Iterator

sys.path.insert(0, os.environ["TILTH_TEST_INSIDE"])

from common import choose, load_sample, report, run, train_epochs, write_report
from in_qgis import Wait, show_dock, start_plugin


def steps() -> Iterator[Wait]:
    dock = show_dock(start_plugin())
    choose(dock, *load_sample())
    yield lambda: dock.session.description
    train_epochs(dock, 1000)
    yield lambda: "epoch" in dock.train.progressLabel.text() or not dock.train.bar.busy
    report["pid"] = os.getpid()
    report["workers"] = dock.session.pool.pids
    write_report()
    yield 60_000


run(steps, 200)
