"""The shared file: a ``.tilth`` adapter, written, read and verified.

A zip of exactly these entries, stored or deflated (docs/adapter-format.md):

- ``card.json``: what the adapter is, and the size and sha256 of the other entries;
- ``adapter_model.safetensors`` and ``adapter_config.json``: the method's tensors; for LoRA in
  peft's own layout, so that peft alone can load them onto the plain backbone;
- ``decoder.safetensors``: the decoder's tensors.

An adapter is a stranger's file. Nothing in it is executed or unpickled, no entry becomes a path,
and sizes are checked before anything is read; ``adapter_config.json`` is written for peft but
never read back.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from .card import brief, check_card
from .data.files import atomic_path, file_faults
from .errors import TilthError

FORMAT = 1
CARD, CONFIG = "card.json", "adapter_config.json"
ADAPTER, DECODER = "adapter_model.safetensors", "decoder.safetensors"
# A card has to fit into one line of the worker's protocol, with room to spare: as it is in the
# file, and as it is sent on.
MAX_CARD = 2 * 1024 * 1024
MAX_TENSORS = 8 * 1024**3
# Weights hardly shrink: an entry that grows more than this is a bomb.
MAX_GROWTH = 20
# What rounding to half precision may change in a tensor, as a share of its length; 2^-11 is usual.
HALF_LOSS = 2.0**-10
_DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.int16)
# What zipfile raises for one damaged file or another.
_FAULTS = (
    zipfile.BadZipFile, zlib.error, struct.error, OSError, EOFError, ValueError, RuntimeError,
    OverflowError,
)  # fmt: skip


@dataclass
class Adapter:
    """What an adapter file holds: its card, and the tensors of method and decoder."""

    card: dict[str, Any]
    adapter: dict[str, Tensor]
    decoder: dict[str, Tensor]


def in_half(tensor: Tensor) -> Tensor:
    """A tensor as it is stored: in half precision, unless its values are too large or too small."""
    if not tensor.is_floating_point():
        return tensor
    half = tensor.half()
    close = torch.isfinite(half).all() and (
        (half.float() - tensor).norm() <= HALF_LOSS * tensor.norm()
    )
    return half if bool(close) else tensor


def write(path: str, adapter: Adapter, peft_config: dict[str, Any]) -> None:
    """Write the adapter, whole or not at all.

    Raises TilthError when the place can't be written, and for weights that no reader would take.
    """
    for tensor in (*adapter.adapter.values(), *adapter.decoder.values()):
        if not torch.isfinite(tensor).all():
            raise TilthError(
                f"{path}: the training came to weights that are no numbers, so nothing is written; "
                "train again with another method or seed"
            )
    parts = {
        ADAPTER: save({name: in_half(tensor) for name, tensor in adapter.adapter.items()}),
        DECODER: save({name: in_half(tensor) for name, tensor in adapter.decoder.items()}),
        CONFIG: json.dumps(peft_config, indent=1, sort_keys=True, default=str).encode(),
    }
    card = {
        **adapter.card,
        "format": FORMAT,
        "warnings": brief(adapter.card.get("warnings", [])),
        "files": {
            name: {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            for name, data in parts.items()
        },
    }
    parts[CARD] = json.dumps(card, indent=1, ensure_ascii=False).encode()
    with atomic_path(path) as beside, file_faults(path), zipfile.ZipFile(beside, "w") as archive:
        for name in (CARD, CONFIG, ADAPTER, DECODER):
            archive.writestr(zipfile.ZipInfo(name), parts[name], zipfile.ZIP_DEFLATED)


def read_card(path: str) -> dict[str, Any]:
    """The card alone, checked. Raises TilthError where the file is missing or no adapter."""
    with _opened(path) as archive:
        return _card(archive, path)


def read(path: str) -> Adapter:
    """The whole adapter, verified. Raises TilthError where anything is not as the card says."""
    with _opened(path) as archive:
        card = _card(archive, path)
        tensors = [_tensors(archive, name, card, path) for name in (ADAPTER, DECODER)]
        _part(archive, CONFIG, card, path)
    return Adapter(card, *tensors)


@contextlib.contextmanager
def _opened(path: str) -> Iterator[zipfile.ZipFile]:
    """The zip, with whatever is wrong with it as a TilthError."""
    if not Path(path).is_file():
        raise TilthError(f"{path}: there is no such adapter file; pick another")
    try:
        file = _Modest(path)
    except OSError as error:
        raise TilthError(f"{path}: it can't be read ({error.strerror}); pick another") from error
    with file:
        try:
            archive = zipfile.ZipFile(file)
        except _FAULTS as error:
            raise damaged(path, "it is no zip file") from error
        with archive:
            names = [entry.filename for entry in archive.infolist()]
            if sorted(names) != sorted((CARD, CONFIG, ADAPTER, DECODER)):
                raise damaged(path, "it holds other entries than an adapter does")
            yield archive


class _Modest(io.FileIO):
    """A file that refuses to be read in one huge gulp, as a forged table of contents asks for."""

    def read(self, size: int | None = -1, /) -> bytes:
        """At most a few megabytes; the ValueError is one of zipfile's faults here."""
        if size is None or size < 0:
            size = Path(self.name).stat().st_size - self.tell()
        if size > 4 * 1024 * 1024:
            raise ValueError(f"{size} bytes at once")
        return super().read(max(size, 0)) or b""


def damaged(path: str, why: str) -> TilthError:
    """The error for a file that can't be trusted."""
    return TilthError(f"{path}: not a sound Tilth adapter: {why}; get the file again")


def _card(archive: zipfile.ZipFile, path: str) -> dict[str, Any]:
    data = _bytes(archive, CARD, MAX_CARD, path)
    try:
        card = json.loads(data.decode("utf-8"), parse_constant=_no_number)
        # No half characters ("\\ud800") either.
        sent = json.dumps(card, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise damaged(path, "its card is not JSON") from error
    # Numbers may grow when they are written anew: 1e15 is one followed by 15 zeros then.
    if len(sent) > MAX_CARD:
        raise damaged(path, "its card is too long")
    if isinstance(card, dict) and isinstance(card.get("format"), int) and card["format"] > FORMAT:
        raise TilthError(
            f"{path}: made by a newer Tilth (format {card['format']}, this one reads {FORMAT}); "
            "update Tilth"
        )
    problem = check_card(card, (CONFIG, ADAPTER, DECODER))
    if problem:
        raise damaged(path, f"its card {problem}")
    return dict(card)


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no number")


def _tensors(
    archive: zipfile.ZipFile, name: str, card: dict[str, Any], path: str
) -> dict[str, Tensor]:
    data = _part(archive, name, card, path)
    try:
        tensors = dict(load(data))
    except (SafetensorError, *_FAULTS, KeyError, TypeError) as error:
        raise damaged(path, f"{name} is no safetensors file") from error
    for tensor in tensors.values():
        if tensor.dtype not in _DTYPES or not bool(torch.isfinite(tensor).all()):
            raise damaged(path, f"{name} holds weights that are no numbers")
    return {key: tensor.float() for key, tensor in tensors.items()}


def _part(archive: zipfile.ZipFile, name: str, card: dict[str, Any], path: str) -> bytes:
    stated = card["files"][name]
    data = _bytes(archive, name, MAX_TENSORS, path, stated["size"])
    if hashlib.sha256(data).hexdigest() != stated["sha256"]:
        raise damaged(path, f"{name} is not what the card says (sha256 differs)")
    return data


def _bytes(
    archive: zipfile.ZipFile, name: str, limit: int, path: str, size: int | None = None
) -> bytes:
    """An entry's bytes. The zip's own statement of its size is not believed while unpacking."""
    entry = archive.getinfo(name)
    if size is None:
        size = entry.file_size
    if size != entry.file_size or not 0 <= size <= limit:
        raise damaged(path, f"the size of {name} makes no sense")
    if entry.flag_bits & 0x1:
        raise damaged(path, f"{name} is encrypted")
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise damaged(path, f"{name} is packed in another way than an adapter is")
    if stat.S_ISLNK(entry.external_attr >> 16):
        raise damaged(path, f"{name} is a link")
    if size > MAX_CARD and size > MAX_GROWTH * max(entry.compress_size, 1):
        raise damaged(path, f"{name} unpacks to far more than it should")
    data = io.BytesIO()
    try:
        with archive.open(entry) as source:
            while chunk := source.read(1 << 20):
                data.write(chunk)
                if data.tell() > size:
                    raise damaged(path, f"{name} unpacks to more than it says")
    except _FAULTS as error:
        raise damaged(path, f"{name} can't be unpacked") from error
    if data.tell() != size:
        raise damaged(path, f"{name} is cut short")
    return data.getvalue()
