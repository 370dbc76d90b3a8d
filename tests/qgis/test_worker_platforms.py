"""What differs between platforms; the Windows branches have not run on Windows yet."""

from __future__ import annotations

from pathlib import Path, PureWindowsPath

import pytest
from tilth.plugin.worker import faults, process


def test_the_command_isolates_the_interpreter():
    command = process.command(Path("/opt/a b/python"), Path("/opt/ä/launch.py"))
    assert command == [
        "/opt/a b/python", "-I", "-u", "-X", "utf8", "/opt/ä/launch.py", "worker",
    ]  # fmt: skip


def test_the_launcher_is_there():
    assert process.LAUNCHER.name == "launch.py" and process.LAUNCHER.is_file()


def test_windows_gets_no_console_window_and_a_low_priority():
    flags = process.popen_options("win32")["creationflags"]
    assert flags & 0x08000000 and flags & 0x00004000
    assert "start_new_session" not in process.popen_options("win32")


@pytest.mark.parametrize("platform", ["linux", "darwin"])
def test_elsewhere_the_worker_gets_a_session(platform):
    assert process.popen_options(platform) == {"start_new_session": True}


def test_windows_trees_are_killed_by_the_systems_own_tool(monkeypatch):
    called = []
    monkeypatch.setenv("SYSTEMROOT", "D:\\Windows")
    monkeypatch.setattr(process, "Path", PureWindowsPath)
    monkeypatch.setattr(
        process.subprocess, "run", lambda command, **options: called.append((command, options))
    )
    process.kill_tree_on_windows(77)
    command, options = called[0]
    assert command == ["D:\\Windows\\System32\\taskkill.exe", "/F", "/T", "/PID", "77"]
    assert options["timeout"] <= 5 and "shell" not in options


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (-9, "killed, most likely out of memory"),
        (137, "killed, most likely out of memory"),
        (-11, "segmentation fault"),
        (-7, "full disk"),
        (3221225477, "access violation"),
        (-1073741819, "access violation"),
        (3221225781, "Visual C++ runtime"),
        (0, "ended by itself"),
    ],
)
def test_exit_codes_in_words(code, words):
    text = faults.exit_text(code)
    assert words in text and f"exit code {code}" in text


@pytest.mark.parametrize("code", [1, 2, 127, 200, -64, 3])
def test_an_unknown_exit_code_is_only_named(code):
    assert faults.exit_text(code) == f"exit code {code}"


def test_the_last_line_of_a_long_log(tmp_path):
    log = tmp_path / "log"
    assert faults.last_line(log) == ""
    log.write_bytes(b"\xff" * 100_000 + b"\nlast words.\n  \n")
    assert faults.last_line(log) == "last words"
