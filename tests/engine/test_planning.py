"""What is said before a training starts: what will run, on what, and for how long."""

from __future__ import annotations

import pytest
import shapely
from tilth_engine import devices
from tilth_engine.backbones import catalogue
from tilth_engine.backbones.inputs import Inputs
from tilth_engine.continuing import _same_backbone
from tilth_engine.describe import describe
from tilth_engine.errors import TilthError
from tilth_engine.events import Reporter
from tilth_engine.jobs import DescribeJob, PlanJob
from tilth_engine.model.decoders.factory import DecoderSettings
from tilth_engine.model.methods.method import Method
from tilth_engine.planning import duration, plan
from tilth_engine.prepare import chip_size
from tilth_engine.train import train

from .worlds import scene, train_job, write_adapter, write_image


def planned(folder, **changes):
    return plan(PlanJob(train_job(folder, **changes)), Reporter(lambda event: None))


def adapter_of_the_same_kind(folder, **changes):
    """An adapter that a job as it is planned here can go on from."""
    method = Method("lora", targets=tuple(catalogue.card_of("embedded").lora_targets))
    decoder = DecoderSettings("slim", tokens=True)
    settings = {"method": method.to_dict(), "decoder": decoder.to_dict(), **changes}
    return write_adapter(folder / "a.tilth", **settings)


def test_a_plan(tmp_path):
    before = set(tmp_path.iterdir())

    result = planned(tmp_path)

    assert "a LoRA adapter" in result["text"]
    assert "2 classes, 8 polygons (1152 pixels; 2 polygons held out" in result["text"]
    assert result["brief"].startswith("2 classes, 8 polygons (2 polygons held out to score), about")
    assert [entry["name"] for entry in result["classes"]] == ["water", "wood"]
    assert result["device"]["id"] == "cpu"
    assert result["image"]["width"] == 96
    assert result["image"]["scale"] == "reflectance x 10000"
    assert result["image"]["resolution_m"] == 10
    assert [band["wavelength_nm"] for band in result["image"]["bands"]] == [485, 560, 660, 840]
    assert result["warnings"] == []
    assert 0 < result["seconds"] < 600
    assert {path.name for path in set(tmp_path.iterdir()) - before} == {"scene.tif", "labels.gpkg"}


def test_a_plan_to_go_on_has_the_earlier_zoom(tmp_path):
    """Another one than the labels would give, and timed with its chips."""
    inputs = Inputs((485.0, 560.0, 660.0, 840.0), resolution_m=10.0, zoom=1.5).to_dict()
    earlier = adapter_of_the_same_kind(tmp_path, inputs=inputs)

    assert planned(tmp_path)["zoom"] != 1.5
    assert planned(tmp_path, continue_from=earlier)["zoom"] == 1.5


@pytest.mark.parametrize(
    "changes",
    [
        {"method": "frozen"},
        {"rank": 4},
        {"decoder": "linear"},
        {"backbone": "presto", "random_backbone": True},
        {"bands": [1, 2, 3]},
        {"zoom": 3.0},
    ],
)
def test_a_plan_refuses_to_go_on_where_the_training_would(tmp_path, changes):
    earlier = adapter_of_the_same_kind(tmp_path)
    assert planned(tmp_path, continue_from=earlier)["zoom"]

    with pytest.raises(
        TilthError, match=r"a\.tilth: training can go on from it only with the same"
    ):
        planned(tmp_path, continue_from=earlier, **changes)


def test_weights_that_are_not_here_yet_may_be_the_same(tmp_path, monkeypatch):
    monkeypatch.setenv("TILTH_HOME", str(tmp_path))
    job = train_job(tmp_path, backbone="prithvi-2-tiny-tl")
    entry = {"id": job.backbone, "sha256": "a" * 64, "random": False}
    assert _same_backbone(job, {"backbone": entry})
    assert not _same_backbone(job, {"backbone": {**entry, "id": "embedded"}})


@pytest.mark.parametrize(
    ("method", "words", "parameters"),
    [
        ("lora", "a LoRA adapter on", 16 * 8 * (4 * 192 + 2 * 192 + 2 * 5 * 192)),
        ("pissa", "a PiSSA adapter on", 16 * 8 * (4 * 192 + 2 * 192 + 2 * 5 * 192)),
        ("ia3", "an (IA)3 adapter on", 8 * (3 + 4) * 192),
        ("vpt", "prompts on", 8 * 100 * 192),
        ("probe", "a linear probe on", 0),
        ("full", "all weights on", 3793992),
    ],
)
def test_the_numbers_that_a_method_trains_are_told(tmp_path, method, words, parameters):
    result = planned(tmp_path, epochs=None, minutes=1, method=method)

    assert words in result["text"]
    assert result["trainable_parameters"]["backbone"] == parameters
    if parameters:
        assert f"({parameters / 1e6:.3g} M parameters, decoder 0." in result["text"]
    else:
        # One transposed convolution from 192 channels to 4 x 4 pixels of two classes.
        assert result["trainable_parameters"]["decoder"] == 192 * 2 * 16 + 2


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"method": "pissa", "backbone": "unet-random"}, "method pissa: .*made of convolutions"),
        ({"method": "olora", "backbone": "decur-resnet50"}, "method olora: .*made of convolutions"),
        ({"method": "pissa", "rank": 200}, "method pissa: its rank is more than the 192 channels"),
    ],
)
def test_what_a_training_refuses_a_plan_refuses(tmp_path, changes, words):
    with pytest.raises(TilthError, match=words):
        planned(tmp_path, epochs=None, minutes=1, **changes)


def test_minutes_are_believed_and_the_shorter_bound_counts(tmp_path):
    assert planned(tmp_path, epochs=None, minutes=2)["seconds"] == 120
    assert planned(tmp_path, epochs=None)["seconds"] == 180
    assert planned(tmp_path, epochs=10_000, minutes=0.5)["seconds"] == 30


def test_what_is_assumed_of_the_bands_is_said(tmp_path):
    image = write_image(tmp_path / "plain.tif", scene(), names=("", "", "", ""))

    result = planned(tmp_path, images=[image])

    assert any("does not say which bands" in text for text in result["warnings"])
    assert result["image"]["bands"][3]["wavelength_nm"] == 842


def test_the_match_and_the_units_are_told(tmp_path):
    result = planned(
        tmp_path, minutes=1, epochs=None, backbone="prithvi-2-tiny-tl", random_backbone=True
    )

    match = result["matching"]
    assert match["summary"] == "4 of the image's 4 used; the model knows 6"
    assert [row["band"] for row in match["table"]] == ["Blue", "Green", "Red", "NIR"]
    assert [row["model_band"] for row in match["table"]] == match["choices"][:4]
    assert len(match["choices"]) == 6
    assert any("left out of the model" in line for line in match["lines"])
    assert (result["normalisation"], result["zoom"]) == ("card", 4)
    assert result["warnings"] == []


def test_a_plan_needs_no_weights_and_says_that_they_are_wanted(tmp_path, monkeypatch):
    monkeypatch.setenv("TILTH_HOME", str(tmp_path / "home"))
    wanted = {"epochs": 1, "backbone": "prithvi-2-tiny-tl", "method": "frozen", "zoom": 1}

    result = planned(tmp_path, **wanted)

    wanted_lines = [text for text in result["warnings"] if "not on this machine" in text]
    assert len(wanted_lines) == 1
    assert "tilth backbones fetch prithvi-2-tiny-tl" in wanted_lines[0]
    assert "tilth backbones add prithvi-2-tiny-tl --file FILE" in wanted_lines[0]
    with pytest.raises(TilthError, match=r"prithvi-2-tiny-tl.*not on this machine"):
        train(train_job(tmp_path, **wanted), Reporter(lambda event: None))


def test_no_backbone_is_said(tmp_path):
    result = planned(tmp_path, backbone="none", method="frozen", epochs=None, minutes=1)

    assert "no backbone" in result["text"]
    assert result["matching"]["summary"] == ""


def test_no_split_no_score_is_said(tmp_path):
    assert "no score" in planned(tmp_path, split="none")["text"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.1, "1 s"),
        (40, "40 s"),
        (89, "89 s"),
        (180, "3 min"),
        (4800, "80 min"),
        (6000, "1 h 40 min"),
    ],
)
def test_times_for_people(seconds, text):
    assert duration(seconds) == text


def test_a_device_that_is_not_here_is_told_with_those_that_are():
    with pytest.raises(TilthError, match=r"cuda:77.*cpu"):
        devices.choose("cuda:77")
    assert str(devices.choose("cpu")) == "cpu"
    assert str(devices.choose("auto")) == devices.default()


def test_a_gpu_that_fails_is_named_with_the_reason_and_the_cpu_serves(monkeypatch):
    """As a card that the PyTorch build has no kernels for."""

    def fail(*size, device):
        raise RuntimeError("no kernel image is available\nfor this device")

    monkeypatch.setattr(devices, "_cuda_count", lambda: 1)
    monkeypatch.setattr(devices.torch.cuda, "get_device_name", lambda index: "Old card")
    monkeypatch.setattr(devices.torch, "ones", fail)

    found = {device["id"]: device for device in devices.describe()}

    assert not found["cuda:0"]["supported"]
    assert found["cuda:0"]["reason"] == "no kernel image is available"
    assert devices.default() == "cpu"
    with pytest.raises(TilthError, match="can't be used"):
        devices.choose("cuda")


def test_the_engine_describes_itself():
    result = describe(DescribeJob())

    assert result["default_device"] in [device["id"] for device in result["devices"]]
    assert result["backbones"][0]["id"] == "embedded"


def test_the_chip_follows_the_polygons():
    class Polygon:
        background = False

        def __init__(self, side):
            self.pixel_geometry = shapely.box(0, 0, side, side / 2)

    class Labels:
        def __init__(self, *sides):
            self.polygons = [Polygon(side) for side in sides]

    assert chip_size(Labels()) == 64
    assert chip_size(Labels(3, 5, 900)) == 64
    assert chip_size(Labels(40, 45, 48)) == 96
    assert chip_size(Labels(500, 600)) == 128

    merged = Labels(0)
    merged.polygons[0].pixel_geometry = shapely.MultiPolygon(
        [shapely.box(left, left, left + 5, left + 5) for left in range(0, 900, 100)]
    )
    assert chip_size(merged) == 64
