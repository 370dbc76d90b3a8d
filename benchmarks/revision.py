"""The commit that figures belong to."""

from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Results grow while a benchmark runs; they are no other code.
CODE = ("--", ".", ":(exclude)benchmarks/results")


def commit() -> str:
    """The commit's abbreviated hash, with "-dirty" where the code differs from it; or "unknown"."""
    name = _git("rev-parse", "--short=10", "HEAD")
    if not name:
        return "unknown"
    return f"{name}-dirty" if _git("status", "--porcelain", *CODE) else name


def _git(*command: str) -> str:
    """What git says; "" where it says nothing or is not there."""
    try:
        done = subprocess.run(
            ["git", *command], cwd=ROOT, capture_output=True, text=True, check=False
        )
    except OSError:
        return ""
    return done.stdout.strip()
