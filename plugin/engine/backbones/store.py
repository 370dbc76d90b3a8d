"""Where backbones' weights lie on this machine, and how they are read and written.

`TILTH_HOME/backbones/ID` has `weights.safetensors` (the network's own names) and `record.json`:
where the weights came from, what of the published file was not used, and the sha256 of both. The
embedded backbone's weights come with Tilth, and its card is their record.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import struct
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ..errors import TilthError
from ..home import home
from .card import Card
from .places import WEIGHTS, folder_of

EMBEDDED = Path(__file__).parent / "embedded"
RECORD = "record.json"
BLOCK = 8 << 20
# https://huggingface.co/docs/safetensors: the format's names of the kinds of number.
KINDS = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}

# What has been hashed in this process: a file's path, time of change and size, and its sha256.
_hashed: dict[tuple[str, int, int], str] = {}


def folder(card: Card) -> Path:
    """The folder of a backbone's weights."""
    return EMBEDDED if card.architecture == "embedded" else folder_of(card.id)


def present(card: Card) -> bool:
    """Whether the weights are on this machine."""
    return (folder(card) / WEIGHTS).is_file()


def stored(prefix: str) -> list[str]:
    """Ids of the backbones with weights on this machine that begin with ``prefix``, in order."""
    records = sorted((home() / "backbones").glob(f"*/{RECORD}"))
    names = [_noted(path).get("backbone") for path in records]
    return [name for name in names if isinstance(name, str) and name.startswith(prefix)]


def needed(card: Card) -> bool:
    """Whether the backbone needs weights that have to be fetched or added."""
    own = card.architecture in ("", "embedded")
    return not own and not card.options.get("random")


def require(card: Card) -> None:
    """Raise TilthError where weights are needed that are not on this machine."""
    if needed(card) and not present(card):
        raise TilthError(f"backbone {card.id!r}: its weights are not on this machine; {_get(card)}")


def record(card: Card) -> dict[str, Any]:
    """What is known of the stored weights; empty where there are none, or no readable record."""
    return _noted(folder(card) / RECORD)


def identity(card: Card) -> str:
    """The sha256 that names the weights used on this machine, the same on every other one.

    It is that of the published file that they were made from; the card's where there are none.
    """
    source = record(card).get("source") if needed(card) else None
    known = source.get("sha256") if isinstance(source, dict) else None
    return str(known or card.sha256)


def read(card: Card) -> dict[str, Tensor]:
    """A backbone's tensors, float32, in its network's names.

    Raises TilthError where they are missing, or other than they were when they were stored.
    """
    path = folder(card) / WEIGHTS
    embedded = card.architecture == "embedded"
    remedy = "install Tilth anew" if embedded else _get(card)
    require(card)
    wanted = card.sha256 if embedded else str(record(card).get("stored", {}).get("sha256"))
    try:
        found = sha256_of(path)
        if found != wanted:
            raise TilthError(
                f"{path}: the weights of backbone {card.id!r} are damaged (sha256 {found}, "
                f"expected {wanted}); {remedy}"
            )
        return {
            name: tensor.float() if tensor.is_floating_point() else tensor
            for name, tensor in load_file(path).items()
        }
    except OSError as error:
        raise TilthError(
            f"{path}: the weights of backbone {card.id!r} can't be read ({error}); {remedy}"
        ) from error
    except SafetensorError as error:
        raise TilthError(
            f"{path}: the weights of backbone {card.id!r} are damaged ({error}); {remedy}"
        ) from error


def sha256_of(path: Path, step: Callable[[float], None] = lambda share: None) -> str:
    """A file's sha256, once a process as long as the file doesn't change. Raises OSError.

    `step` is told the share that is done, and may raise to stop.
    """
    state = path.stat()
    key = (str(path.resolve()), state.st_mtime_ns, state.st_size)
    if key not in _hashed:
        digest, done = hashlib.sha256(), 0
        with path.open("rb") as file:
            while block := file.read(BLOCK):
                digest.update(block)
                done += len(block)
                step(done / max(state.st_size, 1))
        _hashed[key] = digest.hexdigest()
    return _hashed[key]


def write(
    card: Card,
    tensors: Mapping[str, Tensor],
    origin: Mapping[str, Any],
    step: Callable[[float], None] = lambda share: None,
) -> dict[str, Any]:
    """Store tensors and their record, both whole or not at all; returns the record.

    `origin` is all that the record shall say but the stored file itself. `step` is told the share
    that is done, and may raise to stop. Raises ValueError for a value that is no number, OSError
    where the disk refuses.
    """
    target = folder(card)
    target.mkdir(parents=True, exist_ok=True)
    with _beside(target / WEIGHTS) as weights, _beside(target / RECORD) as note:
        digest = _write_tensors(weights, tensors, step)
        stored = {"sha256": digest, "size": weights.stat().st_size}
        found = {**origin, "stored": stored}
        note.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        # Should the machine stop between the two, the old record gives the new weights away.
        os.replace(weights, target / WEIGHTS)  # noqa: PTH105  one call on every system
        os.replace(note, target / RECORD)  # noqa: PTH105
    return found


def remove(card: Card) -> int:
    """Remove a backbone's weights, and a download that was begun; returns the bytes that it frees.

    Raises TilthError where there are none, or they are part of Tilth.
    """
    if card.architecture == "embedded":
        raise TilthError(f"backbone {card.id!r}: it is part of Tilth and can't be removed")
    path = folder(card)
    if not path.is_dir():
        raise TilthError(f"backbone {card.id!r}: there is nothing to remove ({path})")
    with exclusive(card):
        freed = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
        shutil.rmtree(path)
    return freed


@contextlib.contextmanager
def exclusive(card: Card) -> Iterator[None]:
    """Only one process at a time changes a backbone's weights. Raises TilthError for others."""
    path = home() / "locks" / f"backbone-{folder_of(card.id).name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise TilthError(
            f"backbone {card.id!r}: another Tilth is fetching it just now; wait until it is done"
        ) from None
    try:
        yield
    finally:
        lock.release()


def _noted(path: Path) -> dict[str, Any]:
    """What a record says; empty where it can't be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _get(card: Card) -> str:
    """What to do about missing weights."""
    if card.repository:
        return (
            f"download them on the Train page, or with: tilth backbones fetch {card.id} "
            f"(from a file that you have: tilth backbones add {card.id} --file FILE)"
        )
    return f"get the file from {card.source}, then: tilth backbones add {card.id} --file FILE"


def _write_tensors(path: Path, tensors: Mapping[str, Tensor], step: Callable[[float], None]) -> str:
    """Write a safetensors file and return its sha256.

    The library writes a file of gigabytes in one call, which nobody could stop; and it would have
    to be read again for the hash.
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    place = 0
    for name, tensor in tensors.items():
        size = tensor.numel() * tensor.element_size()
        header[name] = {
            "dtype": KINDS[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [place, place + size],
        }
        place += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    digest, done = hashlib.sha256(), 0
    with path.open("wb") as file:
        for part in _parts(struct.pack("<Q", len(text)) + text, tensors):
            file.write(part)
            digest.update(part)
            done += len(part)
            step(min(done / max(place, 1), 1.0))
    return digest.hexdigest()


def _parts(head: bytes, tensors: Mapping[str, Tensor]) -> Iterator[Any]:
    """A file's bytes, at most `BLOCK` at a time."""
    yield head
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise ValueError(f"{name!r} has values that are no numbers")
        # Flat before it is seen as bytes: a number alone has no dimension to view.
        data = tensor.detach().contiguous().flatten().view(torch.uint8).numpy().data
        for start in range(0, len(data), BLOCK):
            yield data[start : start + BLOCK]


@contextlib.contextmanager
def _beside(target: Path) -> Iterator[Path]:
    """A path to write beside `target`; what is left of it when the block ends goes."""
    handle, name = tempfile.mkstemp(prefix=".", suffix=".part", dir=target.parent)
    os.close(handle)
    try:
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)
