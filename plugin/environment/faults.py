"""What can go wrong with the engine's environment, as one line that a person can act on."""

from __future__ import annotations


class EnvironmentError_(Exception):  # noqa: N801, N818 - the name is taken
    """The environment can't be made or used. The message says what, where and what to do."""


class EnvironmentCancelled(EnvironmentError_):
    """The person stopped it. Nothing half-made is left behind."""
