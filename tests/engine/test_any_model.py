"""Training and mapping with a model of fixed bands, and with none at all, on whatever image."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import rasterio
import torch
from tilth_engine.adapter_file import read
from tilth_engine.errors import TilthError
from tilth_engine.events import Reporter
from tilth_engine.jobs import PredictJob
from tilth_engine.predict import Models, load_model, predict

from .worlds import Run, scene, train_job, two_classes, write_adapter, write_image

NAMES = ("B2", "B3", "B4", "B8A", "B8", "B11", "B12")
DATED = "S2_20240615.tif"


def seven_bands(path, order=range(7), units=lambda v: v):
    values = np.concatenate([scene(), scene()[:1], scene()[1:3]])[list(order)]
    return write_image(path, units(values), names=[NAMES[index] for index in order])


@pytest.fixture(scope="module")
def prithvi(tmp_path_factory):
    """An adapter of Prithvi's network with random weights, told date and place."""
    folder = tmp_path_factory.mktemp("prithvi")
    job = train_job(
        folder,
        images=[seven_bands(folder / DATED)],
        backbone="prithvi-2-tiny-tl",
        random_backbone=True,
        time_location=True,
        zoom=1,
        epochs=2,
    )
    return Run(job)


def mapped(adapter, image, folder, models=None, **options):
    job = PredictJob(adapter, [image], str(folder / "map.tif"), device="cpu", threads=1, **options)
    job.check()
    result = predict(job, Reporter(lambda event: None), models)
    with rasterio.open(job.out) as file:
        return file.read(1), result["warnings"]


def test_a_random_backbone_of_any_size_does_not_fill_the_memory(prithvi, monkeypatch):
    monkeypatch.setattr("tilth_engine.predict.LARGEST_RANDOM", 10**6)

    with pytest.raises(TilthError, match=r"billion random weights, which would fill the memory"):
        load_model(prithvi.job.out, torch.device("cpu"))


def test_the_card_tells_the_match(prithvi):
    card = prithvi.result["card"]

    assert card["matching"]["summary"] == "6 of the image's 7 used; the model knows 6"
    assert "B8 (833 nm) is not used by the model" in card["matching"]["lines"]
    assert card["matching"]["table"][4] == {
        "band": "B8", "wavelength_nm": 832.8, "model_band": "",
    }  # fmt: skip
    assert card["inputs"]["left_out"] == [4]
    assert card["inputs"]["dates"] == ["2024-06-15"]
    assert card["inputs"]["time_location"]


@pytest.mark.parametrize("units", [lambda v: v, lambda v: v + 1000], ids=["x10000", "offset"])
def test_other_orders_and_units_give_the_same_map(prithvi, tmp_path, units):
    expected, _ = mapped(prithvi.job.out, prithvi.job.images[0], tmp_path)
    image = seven_bands(tmp_path / DATED, [3, 6, 0, 5, 4, 2, 1], units)

    got, warnings = mapped(prithvi.job.out, image, tmp_path)

    assert (got == expected).mean() > 0.99
    assert set(np.unique(expected)) == {1, 2}
    assert warnings == []


def test_the_model_is_told_the_new_images_date_and_place(prithvi, tmp_path):
    models = Models()
    image = seven_bands(tmp_path / "S2_20230105.tif")
    mapped(prithvi.job.out, image, tmp_path, models)
    first = models.get(prithvi.job.out, torch.device("cpu"), models._key[-1])

    assert first.segmenter.backbone.inputs.dates == ("2023-01-05",)
    plain = seven_bands(tmp_path / "plain.tif")
    _, warnings = mapped(prithvi.job.out, plain, tmp_path, models)
    assert ["date is not known" in text for text in warnings] == [True]
    assert mapped(prithvi.job.out, plain, tmp_path, models, dates=["2023-01-05"])[1] == []


def test_weights_that_are_not_here_are_named_with_the_way_to_get_them(prithvi, tmp_path):
    card = {**prithvi.result["card"]}
    card["backbone"] = {**card["backbone"], "random": False}
    from tilth_engine import adapter_file

    adapter = read(prithvi.job.out)
    adapter.card = {key: value for key, value in card.items() if key not in ("format", "files")}
    path = tmp_path / "b.tilth"
    adapter_file.write(str(path), adapter, {})

    with pytest.raises(TilthError, match="prithvi-2-tiny-tl") as told:
        mapped(str(path), prithvi.job.images[0], tmp_path)
    assert "sound" not in str(told.value)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    return Run(train_job(folder, backbone="none", method="frozen"))


def test_the_decoder_alone(alone, tmp_path):
    adapter = read(alone.job.out)

    assert adapter.adapter == {}
    assert adapter.card["backbone"]["id"] == "none"
    got, warnings = mapped(alone.job.out, alone.job.images[0], tmp_path)
    assert (got == np.where(np.arange(96) < 48, 1, 2)).mean() > 0.97
    assert warnings == []


def test_the_decoder_alone_goes_on(alone, tmp_path):
    job = dataclasses.replace(
        alone.job, continue_from=alone.job.out, out=str(tmp_path / "more.tilth"), epochs=1
    )
    assert Run(job).result["epochs"] == 1
    with pytest.raises(TilthError, match="only with the same backbone"):
        Run(dataclasses.replace(job, backbone="embedded"))


def test_a_strangers_zoom_is_refused(tmp_path):
    from .worlds import card

    inputs = {**card()["inputs"], "zoom": 60.0}
    path = write_adapter(tmp_path / "a.tilth", inputs=inputs)
    with pytest.raises(TilthError, match="zoom"):
        read(path)


def test_a_series_of_dates_is_mapped_by_as_many(tmp_path):
    labels = two_classes(tmp_path / "labels.gpkg")
    days = [
        write_image(tmp_path / f"S2_{day}.tif", scene(seed=number))
        for number, day in enumerate(("20240501", "20240801"))
    ]
    job = train_job(
        tmp_path,
        images=days,
        stack=True,
        labels=labels,
        backbone="prithvi-2-tiny-tl",
        random_backbone=True,
        method="frozen",
        zoom=1,
        epochs=1,
    )
    assert Run(job).result["card"]["inputs"]["frames"] == [0] * 4 + [1] * 4
    options = {"stack": True, "device": "cpu", "threads": 1}
    reporter = Reporter(lambda event: None)

    result = predict(PredictJob(job.out, days, str(tmp_path / "m.tif"), **options), reporter)
    assert result["pixels"] == 96 * 96
    with pytest.raises(TilthError, match=r"lacks"):
        predict(PredictJob(job.out, days[:1], str(tmp_path / "n.tif"), **options), reporter)
