"""Published checkpoints: files of tensors, read without running any code that is in them."""

from __future__ import annotations

import argparse
import re
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ..errors import TilthError

# Where published checkpoints keep the network's tensors among other things, by preference.
INNER = ("state_dict", "model_state_dict", "model", "teacher", "module", "encoder")
# What people download by mistake, by its first bytes.
LOOKS = (
    (b"version https://git-lfs", "a Git LFS pointer, not the file that it points to"),
    (b"<", "a web page"),
    (b"{", "a JSON file"),
    (b"II*\x00", "a TIFF image"),
    (b"MM\x00*", "a TIFF image"),
    (b"\x1f\x8b", "a gzip archive; unpack it first"),
    (b"\x89PNG", "a PNG picture"),
    (b"\x89HDF", "an HDF5 file"),
)


@dataclass
class Checkpoint:
    """A file's tensors, and what else it has (an optimiser's state, settings), for people."""

    tensors: dict[str, Tensor]
    others: list[str]


def read(path: Path, most_bytes: int) -> Checkpoint:
    """The tensors of a safetensors file or of one by torch.save, mapped from the file if possible.

    Raises TilthError for a file larger than `most_bytes`, one that is truncated or something else,
    and a pickle that needs code to be run.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(32)
    except OSError as error:
        raise TilthError(f"{path}: the file can't be read ({error.strerror or error})") from error
    if size > most_bytes:
        raise TilthError(
            f"{path}: {size / 1e6:,.0f} MB is far more than these weights are (at most "
            f"{most_bytes / 1e6:,.0f} MB); it must be another file"
        )
    if _is_safetensors(start, size):
        return Checkpoint(_safetensors(path), [])
    if start.startswith((b"PK\x03\x04", b"\x80")):
        return _unwrapped(path, _torch(path, start))
    look = next((what for sign, what in LOOKS if start.lstrip().startswith(sign)), "")
    what = "an empty file" if not size else look or "neither"
    raise TilthError(
        f"{path}: expected weights (safetensors, or a file by torch.save); this is {what}"
    )


def _is_safetensors(start: bytes, size: int) -> bool:
    """The length of a JSON header, then that header."""
    if len(start) < 9 or start[8:9] != b"{":
        return False
    # A truncated file has a header that is longer than itself.
    return struct.unpack("<Q", start[:8])[0] < max(size, 100_000_000)


def _safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise TilthError(_damaged(path, error)) from error


def _torch(path: Path, start: bytes) -> Any:
    """What torch.save wrote, by torch's reader that makes nothing but tensors and plain values."""
    if _is_zip(start):
        _check_not_packed(path)
    # Old research code keeps its command line in the file: a bag of plain values, no code.
    with torch.serialization.safe_globals([argparse.Namespace]):
        try:
            return torch.load(path, map_location="cpu", weights_only=True, mmap=_is_zip(start))
        except MemoryError:
            raise
        except Exception as error:  # a file from elsewhere can break its reader in many ways
            code = re.search(r"GLOBAL ([\w.]+)", str(error))
            if code is None or type(error).__name__ != "UnpicklingError":
                raise TilthError(_damaged(path, error)) from error
            raise TilthError(
                f"{path}: reading it would run code ({code[1]}), which Tilth doesn't do with "
                "files from elsewhere; get the weights as safetensors, or as a plain state dict"
            ) from error


def _is_zip(start: bytes) -> bool:
    """Files of before PyTorch 1.6 are no archives and can't be mapped."""
    return start.startswith(b"PK")


def _check_not_packed(path: Path) -> None:
    """Raise TilthError where something in an archive is compressed: torch.save never does that, its
    reader takes the packed bytes for weights, and a small file may hold endless text."""
    try:
        with zipfile.ZipFile(path) as archive:
            kinds = {entry.compress_type for entry in archive.infolist()}
    except MemoryError:
        raise
    except Exception as error:
        raise TilthError(_damaged(path, error)) from error
    if kinds - {zipfile.ZIP_STORED}:
        raise TilthError(
            f"{path}: it has been packed again since torch.save wrote it; get the file as it was "
            "published"
        )


def _unwrapped(path: Path, loaded: Any) -> Checkpoint:
    """The tensors of the network among what a checkpoint has."""
    others: list[str] = []
    if isinstance(loaded, Mapping) and not _has_tensors(loaded):
        inner = next((name for name in INNER if _has_tensors(loaded.get(name))), None)
        if inner is not None:
            others = [str(name) for name in loaded if name != inner]
            loaded = loaded[inner]
    if not _has_tensors(loaded):
        raise TilthError(f"{path}: expected a file of named tensors; this has none")
    tensors = {str(name): value for name, value in loaded.items() if isinstance(value, Tensor)}
    others += [str(name) for name in loaded if str(name) not in tensors]
    # DistributedDataParallel puts this before every name.
    if all(name.startswith("module.") for name in tensors):
        tensors = {name[len("module.") :]: value for name, value in tensors.items()}
    return Checkpoint(tensors, others)


def _has_tensors(values: Any) -> bool:
    return isinstance(values, Mapping) and any(isinstance(v, Tensor) for v in values.values())


def _damaged(path: Path, error: Exception) -> str:
    reason = " ".join(str(error).split())[:160]
    return f"{path}: the file is truncated or damaged ({reason}); get it again"
