"""The faults that a person can mend.

Standard library only: the plugin shows these messages as they are.
"""

from __future__ import annotations


class TilthError(Exception):
    """Bad input. The message is one line: what is wrong, where, and what to do about it."""


class OutOfMemoryError(TilthError):
    """The device's memory did not hold the work, even after shrinking it."""


class Cancelled(Exception):  # noqa: N818  it is no error
    """The user asked to stop. What was kept on purpose (a checkpoint) stays; nothing else does."""
