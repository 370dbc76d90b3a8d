"""Which build of PyTorch suits this machine.

PyPI's build on Linux needs a driver for CUDA 13, which dropped Pascal and Volta; PyPI's build for
Windows has no CUDA at all. PyTorch's own index has the others.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path
from typing import List, NamedTuple, Optional, Tuple

from .child import output_of

PYTORCH_INDEX = "https://download.pytorch.org/whl"
CUDA13_DRIVER, CUDA12_DRIVER, BLACKWELL_DRIVER = (580,), (525, 60), (570,)
CUDA13_CAPABILITY, OLDEST_CAPABILITY, BLACKWELL = (7, 5), (5, 0), (10, 0)


class Gpu(NamedTuple):
    """An NVIDIA card as nvidia-smi describes it."""

    name: str
    capability: Tuple[int, ...]
    driver: Tuple[int, ...]


class Build(NamedTuple):
    """One build of PyTorch: ``backend`` on PyTorch's index, or '' for the lock file's, on PyPI."""

    backend: str
    text: str


PYPI_CUDA = Build("", "PyTorch for CUDA 13")
PYPI_CPU = Build("", "PyTorch for the processor")
PYPI_MAC = Build("", "PyTorch for Apple processors")
CPU = Build("cpu", "PyTorch for the processor")


class Choice(NamedTuple):
    """Builds to try, best first, and why the GPU is not used where it is not."""

    builds: List[Build]
    reason: str


def choose(platform: str, machine: str, gpus: List[Gpu]) -> Choice:
    """A pure function of the platform ('linux', 'win32', 'darwin') and the cards found."""
    if platform == "darwin":
        return Choice([PYPI_MAC], "")
    windows = platform == "win32"
    # On Linux PyPI's build also works without a card or with an old driver, on the processor.
    without_cuda = [PYPI_CPU] if windows else [CPU, PYPI_CPU]
    if not gpus:
        return Choice(without_cuda, "no NVIDIA graphics card with a working driver was found")
    best = max(gpus, key=lambda gpu: gpu.capability)
    if best.capability < OLDEST_CAPABILITY:
        return Choice(without_cuda, f"{best.name} is too old for PyTorch")
    needed = BLACKWELL_DRIVER if best.capability >= BLACKWELL else CUDA12_DRIVER
    if best.driver < needed:
        return Choice(
            without_cuda,
            f"{best.name} needs NVIDIA's driver {needed[0]} or newer "
            f"(installed: {'.'.join(map(str, best.driver))})",
        )
    if best.driver >= CUDA13_DRIVER and best.capability >= CUDA13_CAPABILITY:
        if not windows:
            return Choice([PYPI_CUDA], "")
        chosen = Build("cu130", "PyTorch for CUDA 13")
    elif best.capability >= BLACKWELL:
        chosen = Build("cu128", "PyTorch for CUDA 12.8")
    else:
        chosen = Build("cu126", "PyTorch for CUDA 12.6")
    if not windows and machine.lower() in ("aarch64", "arm64"):
        return Choice([PYPI_CUDA], "")  # PyTorch's index has CUDA 12 for x86 alone
    return Choice([chosen, PYPI_CPU], "")


def find_gpus() -> List[Gpu]:
    """NVIDIA's cards; empty where there is none or the driver does not work."""
    program = _nvidia_smi()
    if program is None:
        return []
    query = "--query-gpu=name,compute_cap,driver_version"
    return parse_gpus(output_of([program, query, "--format=csv,noheader"], timeout=20))


def parse_gpus(text: str) -> List[Gpu]:
    """nvidia-smi's lines: ``NVIDIA H200, 9.0, 580.65.06``."""
    gpus = []
    for line in text.splitlines():
        match = re.match(r"\s*(.+?),\s*(\d+(?:\.\d+)*),\s*(\d+(?:\.\d+)*)\s*$", line)
        if match:
            gpus.append(Gpu(match.group(1), _numbers(match.group(2)), _numbers(match.group(3))))
    return gpus


def has_nvidia() -> bool:
    """Whether a card is likely, without starting a process (for the GUI thread)."""
    return Path("/proc/driver/nvidia/version").exists() or (
        sys.platform == "win32" and _nvidia_smi() is not None
    )


def _nvidia_smi() -> Optional[str]:
    found = shutil.which("nvidia-smi")
    if found is None and sys.platform == "win32":
        usual = Path(os.environ.get("SYSTEMROOT", r"C:\Windows")) / "System32" / "nvidia-smi.exe"
        return str(usual) if usual.is_file() else None
    return found


def _numbers(text: str) -> Tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))
