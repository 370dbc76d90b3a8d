"""What the system refuses becomes one line that says what, where and what to do."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from tilth.plugin.environment import explain


def fault(number: int, path: Path) -> OSError:
    return OSError(number, os.strerror(number), str(path))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TILTH_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_a_full_disk(home: Path) -> None:
    said = explain.disk(fault(errno.ENOSPC, home / "runs"))
    assert said == (
        f"The disk of {home / 'runs'} is full: make room, or set TILTH_HOME to a folder on another"
        " disk."
    )


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENOTDIR])
def test_a_folder_that_can_not_be_used(home: Path, number: int) -> None:
    said = explain.disk(fault(number, home.parent))
    assert said.startswith(f"{home.parent} can't be used ({os.strerror(number)}): ")
    assert "set TILTH_HOME" in said
    assert "TILTH_HOME" not in explain.disk(fault(number, home.parent / "elsewhere"))


def test_other_faults_are_not_about_the_disk(home: Path) -> None:
    assert explain.disk(ConnectionResetError(errno.ECONNRESET, "reset")) == ""
