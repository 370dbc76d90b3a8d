"""A stack of dates from end to end: training a small Presto, and a map of another year."""

from __future__ import annotations

import dataclasses
import shutil

import numpy as np
import pytest
import rasterio
from tilth_engine import prepare
from tilth_engine.backbones import catalogue
from tilth_engine.errors import TilthError
from tilth_engine.events import silent
from tilth_engine.jobs import PredictJob
from tilth_engine.predict import predict
from tilth_engine.train import train

from . import tiny_models
from .worlds import train_job, two_classes, write_image

BANDS = ("B4 red (664.6 nm)", "B8 nir (832.8 nm)")
# Red and near infrared, reflectance x 10000: the west is green until it is harvested, the east is
# bare all the year, so that the last date alone tells nothing.
BARE, GREEN = (1800, 2200), (400, 3800)
WEST, EAST = (GREEN, GREEN, BARE), (BARE, BARE, BARE)
DAYS = ("0420", "0615", "0901")


@pytest.fixture
def small_presto(monkeypatch, tmp_path):
    card = dataclasses.replace(
        catalogue.card_of("presto"), options={"dim": 32, "depth": 1, "heads": 2}
    )
    tiny_models.install(monkeypatch, tmp_path / "cards", card)
    whole = prepare._settings

    def fewer(*arguments):
        """A head on random features has much to learn in few steps."""
        return dataclasses.replace(whole(*arguments), steps=6, batch=1, decoder_rate=3e-2)

    monkeypatch.setattr(prepare, "_settings", fewer)


def series(folder, year: int, seed: int) -> list[str]:
    """Three files of one year; their names have the dates."""
    rng = np.random.default_rng(seed)
    paths = []
    for day, west, east in zip(DAYS, WEST, EAST, strict=True):
        values = np.empty((2, 64, 64))
        values[:, :, :32] = np.array(west)[:, None, None]
        values[:, :, 32:] = np.array(east)[:, None, None]
        values += rng.normal(0, 60, values.shape)
        path = folder / f"S2_{year}{day}.tif"
        paths.append(write_image(path, values.clip(1).astype(np.uint16), names=BANDS))
    return paths


def right(path: str) -> float:
    """The share of pixels whose class is that of their half."""
    with rasterio.open(path) as dataset:
        codes = dataset.read(1)
    truth = np.repeat([[1] * 32 + [2] * 32], 64, 0)
    return float((codes == truth).mean())


def test_a_series_is_mapped_whatever_the_order_of_its_files(tmp_path, small_presto):
    paths = series(tmp_path, 2022, 0)
    job = train_job(
        tmp_path,
        images=[paths[1], paths[2], paths[0]],
        stack=True,
        labels=two_classes(tmp_path / "labels.gpkg", width=64),
        backbone="presto",
        random_backbone=True,
        method="frozen",
        decoder="linear",
        image_branch=False,
        normalisation="card",
        split="none",
        epochs=5,
    )
    job.check()
    card = train(job, silent())["card"]
    inputs = card["inputs"]
    assert inputs["frames"] == [0, 0, 1, 1, 2, 2]
    assert inputs["dates"] == ["2022-04-20", "2022-06-15", "2022-09-01"]
    assert not inputs["own_statistics"]
    other = series(tmp_path, 2023, 1)
    shares = []
    for number, files in enumerate((other, [other[2], other[0], other[1]])):
        out = str(tmp_path / f"map{number}.tif")
        predict(PredictJob(job.out, files, out, stack=True, device="cpu", threads=1), silent())
        shares.append(right(out))
    assert shares[0] == shares[1] > 0.95
    plain = [
        shutil.copy(path, str(tmp_path / f"{number}.tif")) for number, path in enumerate(other)
    ]
    undated = PredictJob(job.out, plain, out, stack=True, device="cpu", threads=1)
    # Their months are those of the training, instead of July three times.
    assert ["dates are not known" in text for text in predict(undated, silent())["warnings"]] == [
        True
    ]
    assert right(out) == shares[0]
    short = PredictJob(job.out, other[:2], str(tmp_path / "short.tif"), stack=True, device="cpu")
    with pytest.raises(TilthError, match="B4"):
        predict(short, silent())
