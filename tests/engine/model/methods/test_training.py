"""A whole training with methods that are stored or built in ways of their own, and its map."""

from __future__ import annotations

import pytest
import rasterio
from tilth_engine import adapter_file
from tilth_engine.events import Reporter
from tilth_engine.jobs import PredictJob
from tilth_engine.predict import predict

from ...worlds import Run, learnt_parameters, train_job


@pytest.mark.parametrize(
    ("method", "options", "words"),
    [
        ("pissa", {"targets": ["q", "v"], "rank": 4}, "lora_A"),
        ("vit-adapter", {}, "prior.stem"),
        ("probe", {}, ""),
    ],
)
def test_train_and_map(tmp_path, method, options, words):
    job = train_job(tmp_path, method=method, epochs=1, **options)

    run = Run(job)

    card = run.result["card"]
    kept = adapter_file.read(job.out)
    assert card["method"]["name"] == method
    assert any(words in name for name in kept.adapter) == bool(words)
    training = card["training"]
    decoder = learnt_parameters(kept.decoder)
    assert training["trainable_parameters"] == training["adapter_parameters"] + decoder
    if method == "pissa":
        assert card["method"]["targets"] == ["attn.qkv.q", "attn.qkv.v"]
        assert training["adapter_parameters"] == 8 * 2 * 4 * (192 + 192)
    if method == "probe":
        assert card["decoder"]["name"] == "linear" and not card["decoder"]["image_branch"]

    out = str(tmp_path / "map.tif")
    predict(PredictJob(job.out, job.images, out, device="cpu", threads=1), Reporter(lambda _: None))
    with rasterio.open(out) as file:
        assert set(file.read(1).ravel()) <= {1, 2}


def test_training_goes_on_from_pissa(tmp_path):
    first = train_job(tmp_path, method="pissa", rank=4, epochs=1)
    Run(first)
    again = train_job(
        tmp_path, method="pissa", rank=4, epochs=1, continue_from=first.out, labels=first.labels
    )
    again.out = str(tmp_path / "again.tilth")

    result = Run(again).result

    assert result["card"]["method"]["name"] == "pissa"
    tensors = adapter_file.read(again.out).adapter
    assert all(t.shape[0] == 8 for name, t in tensors.items() if "lora_A" in name)
