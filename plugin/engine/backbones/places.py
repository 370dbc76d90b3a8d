"""Where the backbones' weights lie that were brought to this machine; known without PyTorch."""

from __future__ import annotations

from pathlib import Path

from ..home import home

WEIGHTS = "weights.safetensors"


def folder_of(backbone_id: str) -> Path:
    """The folder of a backbone's weights."""
    return home() / "backbones" / _stem(backbone_id)


def files_of(backbone_id: str) -> list[Path]:
    """The weights here that an id may mean: of `timm:NAME` without a tag those of every tag."""
    found = sorted((home() / "backbones").glob(f"*/{WEIGHTS}"))
    return [path for path in found if f"{path.parent.name}.".startswith(f"{_stem(backbone_id)}.")]


def _stem(backbone_id: str) -> str:
    return backbone_id.replace(":", "-").replace("/", "-")
