"""Absent, half-made, outdated, whole: told apart without starting anything."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from tilth.plugin.environment import paths
from tilth.plugin.environment import state as module
from tilth.plugin.environment.faults import EnvironmentError_
from tilth.plugin.environment.state import (
    RECORD,
    engine_python,
    lock_sha256,
    size_text,
    state,
    write_record,
)


@pytest.fixture
def whole(tmp_path):
    """What create() leaves, as far as state() looks."""
    target = tmp_path / "environment"
    base = tmp_path / "base" / "bin"
    for folder in (target / "bin", base):
        folder.mkdir(parents=True)
    (base / "python3").write_text("")
    (target / "bin" / "python").symlink_to(base / "python3")
    (target / "pyvenv.cfg").write_text(f"home = {base}\nprompt = tilth\n", encoding="utf-8")
    write_record(target, {"lock_sha256": lock_sha256(paths.REQUIREMENTS)})
    return target


def test_absent(tmp_path):
    assert state(tmp_path / "no").name == "absent"
    (tmp_path / "empty").mkdir()
    assert state(tmp_path / "empty").name == "absent"


def test_ready(whole):
    assert state(whole) == ("ready", "")


def test_half_made(whole):
    (whole / RECORD).unlink()
    assert state(whole).name == "broken"
    assert "did not finish" in state(whole).reason


@pytest.mark.parametrize("text", ["", "{", "[]", "\x00"])
def test_a_damaged_record_is_a_half_made_environment(whole, text):
    (whole / RECORD).write_text(text)
    assert state(whole).name == "broken"


def test_another_lock(whole, tmp_path):
    other = tmp_path / "other.lock"
    other.write_text("six==1.17.0\n")
    assert "another version of Tilth" in state(whole, other).reason


def test_line_ends_make_no_other_lock(tmp_path):
    unix, windows = tmp_path / "unix", tmp_path / "windows"
    unix.write_bytes(b"six==1.17.0 \\\n    --hash=x\n")
    windows.write_bytes(unix.read_bytes().replace(b"\n", b"\r\n"))
    assert lock_sha256(unix) == lock_sha256(windows)


def test_the_system_s_python_was_upgraded(whole):
    (whole / "bin" / "python").unlink()
    (whole / "bin" / "python").symlink_to("/nowhere/python3.8")
    assert "is gone" in state(whole).reason


def test_pyvenv_cfg_is_damaged(whole):
    (whole / "pyvenv.cfg").write_bytes(b"\xff\xfe")
    assert state(whole).name == "broken"


def test_tilth_python_comes_first(monkeypatch):
    monkeypatch.setenv("TILTH_PYTHON", sys.executable)
    assert engine_python() == Path(sys.executable)


def test_tilth_python_that_is_not_there_is_said(monkeypatch):
    monkeypatch.setenv("TILTH_PYTHON", "/nowhere/python")
    with pytest.raises(EnvironmentError_, match="TILTH_PYTHON names /nowhere/python"):
        engine_python()


def test_the_managed_environment(monkeypatch, whole):
    assert engine_python() is None
    monkeypatch.setattr(module, "environment_folder", lambda: whole)
    assert engine_python() == whole / "bin" / "python"


def test_the_homes_of_the_platforms(monkeypatch, tmp_path):
    user = Path.home()
    assert paths.home({"TILTH_HOME": str(tmp_path / "é x")}) == tmp_path / "é x"
    assert paths.home({}, "linux") == user / ".local" / "share" / "tilth"
    assert paths.home({"XDG_DATA_HOME": "/data"}, "linux") == Path("/data/tilth")
    assert paths.home({}, "darwin") == user / "Library" / "Application Support" / "tilth"
    assert paths.home({"LOCALAPPDATA": "/L"}, "win32") == Path("/L/tilth")
    assert paths.home({"TILTH_HOME": "  "}, "linux") == user / ".local" / "share" / "tilth"


def test_python_of_the_platforms():
    target = Path("t")
    assert paths.python_of(target, "win32") == Path("t/Scripts/python.exe")
    assert paths.python_of(target, "linux") == Path("t/bin/python")
    assert paths.python_of(target, "darwin") == Path("t/bin/python")


@pytest.mark.parametrize("platform", ["linux", "win32", "darwin"])
@pytest.mark.parametrize("nvidia", [True, False])
def test_the_size_is_said(platform, nvidia):
    assert "GB to download" in size_text(platform, nvidia)
    assert module.gigabytes_needed(platform, nvidia) >= 2
