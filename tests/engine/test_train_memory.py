"""Whole trainings on devices with little memory, and what they leave on disk."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import load
from tilth_engine import adapter_file
from tilth_engine.errors import OutOfMemoryError, TilthError
from tilth_engine.model.frozen import FrozenLinear
from tilth_engine.model.segmenter import Segmenter
from tilth_engine.predict import load_model

from .worlds import Run, train_job


def small(monkeypatch, most):
    """From now on the device holds so many chips in training."""
    plain = Segmenter.surroundings

    def surroundings(self, image):
        if len(image) > most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return plain(self, image)

    monkeypatch.setattr(Segmenter, "surroundings", surroundings)


def raw(path):
    """The tensors as they lie in the file."""
    with zipfile.ZipFile(path) as archive:
        return {
            **load(archive.read(adapter_file.ADAPTER)),
            **load(archive.read(adapter_file.DECODER)),
        }


def test_a_training_that_does_not_fit_goes_on_in_parts_and_says_so(tmp_path, monkeypatch):
    small(monkeypatch, 1)
    run = Run(train_job(tmp_path, epochs=1, method="frozen"))

    told = [e["message"] for e in run.events if e["event"] == "notice"]
    assert [text for text in told if "takes 1 of the 4 chips" in text]
    assert [text for text in run.result["card"]["warnings"] if "takes 1 of the 4 chips" in text]
    assert run.result["card"]["training"]["settings"]["batch"] == 4


def test_a_training_that_fits_in_no_way_says_what_to_do(tmp_path, monkeypatch):
    small(monkeypatch, 0)
    with pytest.raises(OutOfMemoryError, match=r"^device cpu: .*; choose checkpointing, .*CPU"):
        Run(train_job(tmp_path, epochs=1, method="frozen"))
    assert not (tmp_path / "adapter.tilth").exists()


def test_what_is_stored_is_half_as_large_and_is_what_was_scored(trained):
    tensors = raw(trained.job.out)
    read = adapter_file.read(trained.job.out)

    assert {tensor.dtype for tensor in tensors.values()} == {torch.float16}
    for name, tensor in {**read.adapter, **read.decoder}.items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, tensors[name].float())


def test_values_that_half_precision_does_not_hold_stay_whole():
    usual = torch.randn(100)
    for odd in (torch.tensor([1.0, 1e6]), torch.tensor([3e-8, 1e-9]), torch.zeros(2) + 1e-6):
        assert adapter_file.in_half(odd).dtype == torch.float32
    assert adapter_file.in_half(usual).dtype == torch.float16
    assert adapter_file.in_half(torch.zeros(3)).dtype == torch.float16


def test_four_bits_are_for_training_alone(tmp_path):
    job = train_job(tmp_path, epochs=1, method="pissa", precision="nf4", checkpointing=True)
    run = Run(job)
    model = load_model(job.out, torch.device("cpu"))

    assert not run.result["warnings"]
    assert run.result["card"]["training"]["precision"] == "nf4"
    assert run.result["score"]["macro_f1"] > 0.5
    assert not [m for m in model.segmenter.modules() if isinstance(m, FrozenLinear)]


def test_a_precision_that_nothing_can_have_is_told(tmp_path):
    job = train_job(tmp_path, epochs=1, backbone="none", method="frozen", precision="int8")
    assert "precision int8: there are no frozen weights" in Run(job).result["warnings"][0]


def test_the_batch_is_the_jobs_or_tilths(tmp_path):
    for batch in (-1, 100_000):
        with pytest.raises(TilthError, match="batch"):
            train_job(tmp_path, batch=batch).check()
    with pytest.raises(TilthError, match="image_branch"):
        train_job(tmp_path, image_branch=False).check()
    assert not Path(train_job(tmp_path).out).exists()


def test_the_jobs_decoder_comes_with_or_without_the_image(tmp_path):
    job = train_job(tmp_path, epochs=1, method="frozen", decoder="linear", image_branch=False)
    card = Run(job).result["card"]
    decoder = adapter_file.read(job.out).decoder

    assert (card["decoder"]["name"], card["decoder"]["image_branch"]) == ("linear", False)
    assert not [name for name in decoder if "spectral" in name]
