"""Reading lock files, as ``uv pip compile --generate-hashes`` writes them."""

from __future__ import annotations

from typing import List, Tuple

# What comes from PyTorch's index when the build is not PyPI's.
TORCH_FAMILY = ("torch", "torchvision", "triton", "nvidia-", "cuda-")


def split_lock(text: str) -> Tuple[str, List[str]]:
    """A lock file without PyTorch's packages, and these as ranges up to the locked version.

    PyTorch's index lags behind PyPI for some builds, so the locked version is only the upper end.
    """
    kept: List[str] = []
    family: List[str] = []
    for entry in _entries(text):
        name, version = entry.split(";")[0].split("\\")[0].strip().split("==")
        if not name.startswith(TORCH_FAMILY):
            kept.append(entry)
        elif name in ("torch", "torchvision"):
            marker = entry.split("\\")[0].partition(";")[2].strip()
            family.append(f"{name}<={version.strip()}" + (f" ; {marker}" if marker else ""))
    return "\n".join(kept) + "\n", family


def package_names(text: str) -> List[str]:
    """What the lock file installs."""
    return sorted({entry.split("==")[0] for entry in _entries(text)})


def without_hashes(text: str) -> str:
    """The same pins as constraints."""
    return "".join(entry.split("\\")[0].strip() + "\n" for entry in _entries(text))


def _entries(text: str) -> List[str]:
    """The requirements of a lock file, each with its continuation lines."""
    entries: List[str] = []
    for line in text.splitlines():
        if line[:1].isalnum():
            entries.append(line)
        elif line.strip() and not line.startswith("#") and entries:
            entries[-1] += "\n" + line
    return entries
