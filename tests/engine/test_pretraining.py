"""Pre-training: the generator, the objective, and a run of a few steps from end to end."""

from __future__ import annotations

import hashlib
import importlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
import torch
from rasterio.features import rasterize
from tilth_engine.backbones.card import Card

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "resources" / "sample"


@pytest.fixture(scope="module")
def scripts():
    """Imports a module of the folder pretraining, whose scripts stand beside each other."""
    before = set(sys.modules)
    sys.path.insert(0, str(ROOT / "pretraining"))
    yield importlib.import_module
    sys.path.remove(str(ROOT / "pretraining"))
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(ROOT / "pretraining")):
            del sys.modules[name]


def _at(scripts: Any, nm: float) -> int:
    return int(np.abs(scripts("spectra").GRID - nm).argmin())


def test_scenes_follow_their_seed(scripts):
    scenes, sensors = scripts("scenes"), scripts("sensors")
    one, same, other = (
        scenes.make_scene(np.random.default_rng(seed), sensors.SENSORS[6], 64) for seed in (3, 3, 4)
    )
    assert np.array_equal(one.image, same.image)
    assert np.array_equal(one.classes, same.classes)
    assert not np.array_equal(one.image, other.image)


def test_every_sensor_sees_finite_reflectance_and_known_classes(scripts):
    scenes, sensors, covers = scripts("scenes"), scripts("sensors"), scripts("covers")
    for number, sensor in enumerate(sensors.SENSORS):
        scene = scenes.make_scene(np.random.default_rng(number), sensor, 48)
        assert scene.image.shape == (len(sensor.bands), 48, 48)
        assert np.isfinite(scene.image).all()
        assert -0.1 < scene.image.mean() < 1.2
        assert scene.image.std() > 0.003
        assert scene.classes.max() < len(covers.CLASSES)
        assert list(scene.wavelengths) == pytest.approx([band[0] for band in sensor.bands])


def test_further_bands_and_radar_come_last(scripts):
    scenes, sensors = scripts("scenes"), scripts("sensors")
    scene = scenes.make_scene(
        np.random.default_rng(0), sensors.SENSORS[0], 32, ((1600.0, 20.0),), with_radar=True
    )
    assert scene.image.shape[0] == 6
    assert scene.wavelengths[3] == 1600
    assert np.isnan(scene.wavelengths[4:]).all()
    assert scene.image[4].mean() > scene.image[5].mean()  # co-polarised is the stronger


def test_spectra_have_the_features_that_sensors_rely_on(scripts):
    spectra = scripts("spectra")
    for seed in range(5):
        library = spectra.draw_library(np.random.default_rng(seed))

        def reflectance(name: str, nm: float, library: Any = library) -> float:
            return float(library[spectra.INDEX[name], _at(scripts, nm)])

        for plant in ("broadleaf", "conifer", "grass_green", "cereal"):
            assert reflectance(plant, 860) > 3 * reflectance(plant, 665)
            assert reflectance(plant, 550) > reflectance(plant, 665)
            assert reflectance(plant, 1650) > 1.5 * reflectance(plant, 1940)
        assert reflectance("broadleaf", 860) > reflectance("conifer", 860)
        assert reflectance("water_clear", 1650) < 0.01 < reflectance("water_clear", 490)
        assert reflectance("snow", 560) > 4 * reflectance("snow", 1650)
        assert reflectance("soil_brown", 1650) > reflectance("soil_brown", 490)
        assert reflectance("roof_red", 665) > 2 * reflectance("roof_red", 490)


def test_responses_average_what_lies_within_a_band(scripts):
    sensors, spectra = scripts("sensors"), scripts("spectra")
    weights = sensors.responses(((560, 36), (1600, 90)))
    assert weights.sum(0) == pytest.approx(1)
    assert spectra.GRID[weights.argmax(0)] == pytest.approx([560, 1600])


def test_cells_and_strips_partition_the_plane(scripts):
    fields = scripts("fields")
    rng = np.random.default_rng(0)
    u, v = fields.rotated(64, 0.4, 12.0, (5.0, 5.0))
    found, distance, border = fields.cells(rng, u, v)
    assert 12 < len(np.unique(found)) < 80
    assert distance.min() >= 0 and border.min() >= 0
    found, border = fields.strips(rng, u, v)
    assert 5 < len(np.unique(found)) < 80
    assert border.min() >= -1e-5


def test_fractal_noise_is_standardised_and_smoother_when_asked(scripts):
    fields = scripts("fields")
    rough, smooth = (fields.fractal(np.random.default_rng(0), 64, r) for r in (0.5, 2.5))
    assert smooth.mean() == pytest.approx(0, abs=1e-4)
    assert smooth.std() == pytest.approx(1, abs=1e-3)
    assert np.abs(np.diff(smooth)).mean() < 0.5 * np.abs(np.diff(rough)).mean()


@pytest.fixture
def small(scripts, monkeypatch):
    """Few and small crops in each batch."""
    monkeypatch.setattr(scripts("pool"), "SHAPES", ((4, 32), (2, 48)))


@pytest.fixture(scope="module")
def pool(scripts):
    return scripts("pool").make_pool(seed=0, groups=3, scenes=2, size=64, workers=1)


def test_batches_ask_for_bands_with_wavelengths_only(scripts, pool, small):
    source = scripts("pool").batches(np.random.default_rng(0), pool)
    beyond = 0
    for _, batch in zip(range(12), source, strict=False):
        assert batch.image.shape[1] == len(batch.wavelengths)
        assert batch.target.shape[1] == len(batch.target_wavelengths) >= 1
        assert not np.isnan(batch.target_wavelengths).any()
        assert batch.image.shape[2:] == batch.target.shape[2:] == batch.classes.shape[1:]
        beyond += len(set(batch.target_wavelengths) - set(batch.wavelengths))
    assert beyond > 0


def test_targets_are_the_image_where_a_band_is_both(scripts, pool, small):
    for _, batch in zip(range(8), scripts("pool").batches(np.random.default_rng(1), pool)):
        for number, nm in enumerate(batch.target_wavelengths):
            for shown in np.flatnonzero(batch.wavelengths == nm):
                assert np.array_equal(batch.target[:, number], batch.image[:, shown])


def test_the_objective_tells_hidden_from_seen_and_reaches_the_backbone(scripts, pool, small):
    objective_module = scripts("objective")
    torch.manual_seed(0)
    objective = objective_module.Objective(
        scripts("export").new_backbone(0), objective_module.Weights()
    )
    batch = next(scripts("pool").batches(np.random.default_rng(0), pool))
    losses = objective(batch, 0.25, (3, 5))
    losses["total"].backward()
    assert all(torch.isfinite(value) for value in losses.values())
    assert losses["classes"].item() == pytest.approx(np.log(15), abs=1.0)
    assert objective.backbone.blocks[0].attn.qkv.weight.grad.abs().sum() > 0
    assert objective.backbone.lift.weight.weight.grad.abs().sum() > 0
    everything = objective(batch, 1.0, (0, 0))
    assert everything["hidden"].item() == 0


def test_a_run_writes_weights_that_fit_their_card(scripts, tmp_path, small):
    pretrain = scripts("pretrain")
    arguments = ["--steps", "2", "--groups", "1", "--scenes", "2", "--size", "64"]
    arguments += ["--workers", "1", "--threads", "1", "--no-bfloat16"]
    for name in ("a", "b"):
        folder = tmp_path / name
        log = ["--log", str(tmp_path / "log.jsonl")]
        assert pretrain.main([*arguments, "--out", str(folder), *log]) == 0
    data = (tmp_path / "a" / "weights.safetensors").read_bytes()
    card = Card.from_dict(json.loads((tmp_path / "a" / "card.json").read_text()))
    assert hashlib.sha256(data).hexdigest() == card.sha256
    assert data == (tmp_path / "b" / "weights.safetensors").read_bytes()


def test_the_committed_log_is_of_a_run_that_learnt(scripts):
    lines = [
        json.loads(line) for line in (ROOT / "pretraining" / "log.jsonl").read_text().splitlines()
    ]
    steps = [line["step"] for line in lines]
    assert steps == sorted(steps)
    first, last = lines[:10], lines[-10:]
    for name in ("seen", "classes"):
        assert np.mean([line[name] for line in last]) < 0.85 * np.mean(
            [line[name] for line in first]
        )


def test_the_sample_scene_is_what_its_script_makes(scripts):
    sample = scripts("sample_scene")
    image, codes = sample.make()
    with rasterio.open(SAMPLE / "image.tif") as source:
        # Another numpy may round the odd pixel differently.
        assert (np.abs(source.read().astype(int) - image) <= 4).mean() > 0.999
        assert source.crs.to_string() == sample.CRS
        assert source.descriptions == tuple(sample.BANDS)
        assert source.tags(3)["wavelength_nm"] == "665"
        assert source.tags(3, ns="IMAGERY")["CENTRAL_WAVELENGTH_UM"] == "0.6650"
    with rasterio.open(SAMPLE / "truth.tif") as source:
        assert (source.read(1) == codes).mean() > 0.999
    assert set(np.unique(codes)) == set(range(1, len(sample.LEGEND) + 1))
    assert sum(path.stat().st_size for path in SAMPLE.iterdir()) < 3_000_000


def test_the_sample_polygons_lie_in_their_class(scripts):
    sample = scripts("sample_scene")
    with rasterio.open(SAMPLE / "truth.tif") as source:
        codes, transform = source.read(1), source.transform
    _, _, shapes, (classes,) = pyogrio.raw.read(SAMPLE / "polygons.gpkg", layer="polygons")
    polygons = shapely.from_wkb(shapes)
    assert shapely.is_valid(polygons).all()
    for code, name in enumerate(sample.LEGEND, start=1):
        own = polygons[classes == name]
        assert 5 <= len(own) <= 8
        inside = rasterize(list(own), codes.shape, transform=transform) == 1
        assert inside.sum() > 50
        assert (codes[inside] == code).mean() > 0.97


def test_the_sample_is_written_alike_twice(scripts, tmp_path):
    sample = scripts("sample_scene")
    for name in ("a", "b"):
        sample.write(tmp_path / name)
    for path in sorted((tmp_path / "a").iterdir()):
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name
