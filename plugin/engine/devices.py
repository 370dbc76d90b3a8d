"""The devices that this machine has, and the one that a job runs on."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import torch

from .attention import quick_attention
from .errors import TilthError


def describe() -> list[dict[str, Any]]:
    """Every device that PyTorch sees here, with the reason where it can't be used."""
    found = [_cuda(index) for index in range(_cuda_count())]
    if torch.backends.mps.is_available():
        found.append(_entry("mps", "Apple GPU", True))
    found += _unsupported()
    found.append(_entry("cpu", f"CPU ({usable_threads()} threads)", True))
    return found


def default() -> str:
    """The first device that can be used; the CPU always can."""
    return next(str(device["id"]) for device in describe() if device["supported"])


def choose(name: str) -> torch.device:
    """The device that a job names ("auto" is the best one). Raises TilthError if it is not here."""
    wanted = default() if name == "auto" else "cuda:0" if name == "cuda" else name
    for device in describe():
        if device["id"] == wanted:
            if not device["supported"]:
                raise TilthError(
                    f"device {wanted}: {device['label']} can't be used: {device['reason']}; "
                    "choose cpu or auto"
                )
            return torch.device(wanted)
    here = ", ".join(str(device["id"]) for device in describe())
    raise TilthError(f"device {wanted}: not on this machine; choose auto or one of {here}")


def usable_threads() -> int:
    """The CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def set_threads(threads: int) -> None:
    """Let PyTorch use this many CPU threads; 0 means all that the process may use."""
    torch.set_num_threads(threads or usable_threads())


@contextlib.contextmanager
def mixed_precision(device: torch.device) -> Iterator[None]:
    """bfloat16 where the device is built for it (see `fast_bfloat16`); float32 elsewhere."""
    lower = torch.autocast(device.type, torch.bfloat16, enabled=fast_bfloat16(device))
    with lower, quick_attention(device):
        yield


def fast_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 is the faster type: CUDA from Ampere on, CPUs that multiply in it.

    These have AMX tiles or AVX512-BF16 (Intel's servers, AMD from Zen 4 on): a product takes half
    the time or less, also a small one.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device)[0] >= 8
    known = torch.cpu.get_capabilities() if device.type == "cpu" else {}
    return any(known.get(name, False) for name in ("amx_bf16", "avx512_bf16"))


def _cuda_count() -> int:
    return torch.cuda.device_count() if torch.version.cuda else 0


def _cuda(index: int) -> dict[str, Any]:
    """One CUDA device, tried with a real operation: a driver may be there and still not work."""
    name = f"cuda:{index}"
    try:
        label = f"{torch.cuda.get_device_name(index)} (CUDA)"
        (torch.ones(8, device=name) * 2).sum().item()
    except (RuntimeError, AssertionError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        return _entry(name, f"CUDA device {index}", False, reason)
    return _entry(name, label, True)


def _unsupported() -> list[dict[str, Any]]:
    """Accelerators that PyTorch can see but that Tilth has not been run on."""
    found = []
    if torch.version.hip and torch.cuda.device_count():
        found.append(_entry("hip", "AMD GPU (ROCm)", False, "Tilth has not been run on ROCm"))
    if hasattr(torch, "xpu") and torch.xpu.is_available():
        found.append(_entry("xpu", "Intel GPU", False, "Tilth has not been run on Intel GPUs"))
    return found


def _entry(name: str, label: str, supported: bool, reason: str = "") -> dict[str, Any]:
    return {"id": name, "label": label, "supported": supported, "reason": reason}
