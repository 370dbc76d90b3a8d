"""How much memory a job took at its peak."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import torch

_STATUS = Path("/proc/self/status")


def start(device: torch.device) -> None:
    """Begin to measure on a GPU; a process's own peak can't be reset."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_mb(device: torch.device) -> float | None:
    """Megabytes (10^6): a CUDA device's peak since `start`; else this process's since it began.

    None where the system doesn't tell (Windows).
    """
    if device.type == "cuda":
        return round(torch.cuda.max_memory_allocated(device) / 1e6, 1)
    if _STATUS.is_file():
        # Not getrusage, whose peak a child takes over from the process that started it.
        found = re.search(r"VmHWM:\s*(\d+) kB", _STATUS.read_text(encoding="ascii"))
        return round(int(found[1]) * 1024 / 1e6, 1) if found else None
    if sys.platform == "darwin":
        import resource

        return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 1)
    return None
