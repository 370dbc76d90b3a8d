"""Files of tensors as people get them: good ones, wrong ones, and ones that want to run code."""

from __future__ import annotations

import argparse
import io
import json
import os
import struct
import zipfile

import pytest
import torch
from safetensors.torch import save
from tilth_engine.backbones import checkpoint
from tilth_engine.errors import TilthError

from ..tiny_models import saved

WEIGHTS = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.zeros(2)}
MOST = 10**6


class Evil:
    """Makes a folder when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("evil",)


def read(folder, data, most=MOST):
    path = folder / "weights.bin"
    path.write_bytes(data)
    return checkpoint.read(path, most)


def refused(folder, data, pattern, most=MOST):
    with pytest.raises(TilthError, match=pattern) as caught:
        read(folder, data, most)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("data", "others"),
    [
        (save(WEIGHTS), []),
        (saved(WEIGHTS), []),
        (saved(WEIGHTS, _use_new_zipfile_serialization=False), []),
        (saved({"state_dict": WEIGHTS, "epoch": 3, "optimizer": {}}), ["epoch", "optimizer"]),
        (saved({"model": WEIGHTS, "args": argparse.Namespace(lr=0.1)}), ["args"]),
        (saved({"student": WEIGHTS, "teacher": WEIGHTS}), ["student"]),
        (saved({**WEIGHTS, "version": 2}), ["version"]),
        (saved({f"module.{name}": value for name, value in WEIGHTS.items()}), []),
    ],
)
def test_the_tensors_are_found_wherever_they_are(tmp_path, data, others):
    found = read(tmp_path, data)
    assert set(found.tensors) == set(WEIGHTS)
    assert torch.equal(found.tensors["a.weight"], WEIGHTS["a.weight"])
    assert found.others == others


@pytest.mark.parametrize(
    ("data", "pattern"),
    [
        (b"", "empty file"),
        (b"<!DOCTYPE html><html>Sign in", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1", "Git LFS pointer"),
        (b"II*\x00" + bytes(60), "TIFF"),
        (b'{"error": "not found"}', "JSON"),
        (b"hello", "neither"),
        (saved([1, 2]), "has none"),
        (saved({"epoch": 3}), "has none"),
        (saved(WEIGHTS)[:-200], "truncated or damaged"),
        (saved(WEIGHTS, _use_new_zipfile_serialization=False)[:-10], "truncated or damaged"),
        (save(WEIGHTS)[:-4], "truncated or damaged"),
        (save(WEIGHTS)[:30], "truncated or damaged"),
        (struct.pack("<Q", 2) + json.dumps({}).encode() + b"x" * 30, "truncated or damaged"),
    ],
)
def test_what_is_no_checkpoint_is_named(tmp_path, data, pattern):
    refused(tmp_path, data, pattern)


def test_a_file_that_was_packed_again_is_no_weights(tmp_path):
    """Its packed bytes would be read as weights, and its text be unpacked whatever its size."""
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(saved(WEIGHTS))) as source, zipfile.ZipFile(packed, "w") as out:
        for entry in source.infolist():
            out.writestr(entry.filename, source.read(entry), zipfile.ZIP_DEFLATED)

    refused(tmp_path, packed.getvalue(), "packed again")


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_pickle_never_runs(tmp_path, monkeypatch, zipped):
    monkeypatch.chdir(tmp_path)
    data = saved({"a": WEIGHTS, "b": Evil()}, _use_new_zipfile_serialization=zipped)
    refused(tmp_path, data, r"would run code \(.*mkdir\).*safetensors")
    assert not (tmp_path / "evil").exists()


def test_a_file_far_too_large_is_refused_unread(tmp_path):
    refused(tmp_path, saved(WEIGHTS), "far more than these weights are", most=1000)
