"""Jobs about backbones' weights: fetch, add, remove.

Read by both halves of Tilth, as jobs.py is. Standard library only, Python 3.9 syntax.
"""

from __future__ import annotations

from dataclasses import dataclass

from .errors import TilthError


@dataclass
class FetchJob:
    """Fetch a backbone's published weights from the hub.

    ``accept_licence`` says that the user accepts a licence that binds. ``proxy`` is an address such
    as ``http://host:8080``; where it is empty, the environment's serve.
    """

    kind = "fetch"

    backbone: str
    accept_licence: bool = False
    proxy: str = ""

    def check(self) -> None:
        """Raise TilthError where the job contradicts itself."""
        _check_named(self.backbone)


@dataclass
class AddJob:
    """Store a backbone's weights from a file that was got otherwise."""

    kind = "add"

    backbone: str
    file: str

    def check(self) -> None:
        """Raise TilthError where the job contradicts itself."""
        _check_named(self.backbone)
        if not self.file:
            raise TilthError("file: nothing given; pick the file of weights")


@dataclass
class RemoveJob:
    """Remove a backbone's weights from this machine."""

    kind = "remove"

    backbone: str

    def check(self) -> None:
        """Raise TilthError where the job contradicts itself."""
        _check_named(self.backbone)


def _check_named(backbone: str) -> None:
    if not backbone:
        raise TilthError("backbone: nothing given; tilth backbones lists those that there are")
