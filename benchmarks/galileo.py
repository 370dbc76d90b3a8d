"""Galileo-nano for the benchmarks: its published weights from ../shared, and which images it takes.

Importing this gives the run a folder of weights of its own, unless TILTH_HOME names one.
"""

from __future__ import annotations

import os
import tempfile

# Before the engine looks: weights are added to a folder of this run's own.
os.environ.setdefault("TILTH_HOME", tempfile.mkdtemp(prefix="tilth-bench-"))

import harness  # noqa: F401  makes tilth_engine importable
from scenes import ROOT
from tilth_engine.backbones import catalogue, store
from tilth_engine.backbones.matching import match_bands
from tilth_engine.data.imagery import Image
from tilth_engine.data.usual import usual_bands
from tilth_engine.errors import TilthError
from tilth_engine.events import silent
from tilth_engine.weight_jobs import AddJob
from tilth_engine.weights import add_weights

WEIGHTS = ROOT.parent / "shared" / "data" / "weights" / "galileo_nano" / "encoder.pt"


def add_galileo() -> None:
    """Add the published weights, unless they are there."""
    if not store.present(catalogue.card_of("galileo-nano")):
        add_weights(AddJob("galileo-nano", str(WEIGHTS)), silent())


def fits(image_path: str, backbone: str) -> bool:
    """Whether a backbone takes an image's bands."""
    with Image.open([image_path]) as image:
        try:
            match_bands(catalogue.card_of(backbone), usual_bands(image)[0])
        except TilthError:
            return False
    return True
