"""A bar that rises and says something."""

from __future__ import annotations

import pytest
from tilth.plugin.environment import explain
from tilth.plugin.environment.progress import Installation, Stage

OUTPUT = """Resolved 78 packages in 770ms
Downloading torch (526.1MiB)
Downloading numpy (16.1MiB)
Downloading nvidia-cublas (1.2GiB)
Downloading tiny (900.0KiB)
 Downloaded tiny
 Downloaded numpy
 Downloaded torch
 Downloaded nvidia-cublas
Prepared 78 packages in 1m 02s
Installed 78 packages in 182ms
 + torch==2.15.0"""


def test_uv_s_words(progress):
    follow = Installation(Stage(progress, 0.1, 0.9), "PyTorch")
    for line in OUTPUT.splitlines():
        follow.line(line)
    assert progress.rises and progress[-1][0] == pytest.approx(0.9)
    assert "543 of 1743 MB downloaded" in progress.text


def test_everything_from_the_cache(progress):
    follow = Installation(Stage(progress, 0.0, 1.0), "PyTorch")
    for line in ("Resolved 2 packages in 1ms", "Installed 2 packages in 1ms"):
        follow.line(line)
    assert progress.rises and progress[-1] == (1.0, "PyTorch: installed")


def test_one_large_file_moves_the_bar_while_it_arrives(progress, tmp_path):
    follow = Installation(Stage(progress, 0.0, 1.0), "PyTorch", tmp_path)
    follow.look()
    assert progress == []
    follow.line("Downloading torch (100.0MiB)")
    part = tmp_path / ".tmpAb12" / "torch"
    part.mkdir(parents=True)
    (part / "a.so").write_bytes(bytes(50_000_000))
    follow.look()
    assert "30 of 100 MB" in progress.text
    (part / "b.so").write_bytes(bytes(250_000_000))
    follow.look()
    follow.line(" Downloaded torch")
    assert progress.rises and "100 of 100 MB" in progress.text


@pytest.mark.parametrize("line", ["", "×", "Downloading", "Downloading x (??)", " Downloaded y"])
def test_odd_lines_do_no_harm(progress, line):
    Installation(Stage(progress, 0.0, 1.0), "x").line(line)
    assert progress.rises


@pytest.mark.parametrize(
    "line, words",
    [
        ("error: failed to write: No space left on device (os error 28)", "disk is full"),
        ("  cause: invalid peer certificate: UnknownIssuer", "certificate is not trusted"),
        ("  cause: dns error", "can't be reached"),
        ("error: Request failed after 3 retries in 8.6s\n  cause: Failed to fetch", "network"),
        ("  Hash mismatch for `torch==2.15.0`", "changes files"),
        ("error: HTTP status client error (407 Proxy Authentication Required)", "proxy refused"),
        ("error: No interpreter found for Python >=3.10", "no Python 3.10"),
        ("  × No solution found\n  ╰ torch has no wheels with a matching", "no build for"),
        ("error: something quite new", "something quite new"),
        ("", "uv said nothing"),
    ],
)
def test_why_uv_failed(line, words):
    text = explain.uv_failed("Installing failed", line.splitlines())
    assert words in text and "environment.log" in text and "\n" not in text


@pytest.mark.parametrize(
    "reason",
    [
        "OSError: [WinError 126] The specified module could not be found. Error loading c10.dll",
        "OSError: [WinError 1114] A dynamic link library (DLL) initialization routine failed",
        "ImportError: DLL load failed while importing _C",
    ],
)
def test_windows_without_its_runtime(reason):
    text = explain.imports({"torch": reason}, "win32")
    assert "Visual C++ runtime" in text and "https://" in text
    assert "Visual C++" not in explain.imports({"torch": reason}, "linux")


def test_a_check_that_was_killed(tmp_path):
    assert "out of memory" in explain.broken(-9, tmp_path)
    assert "out of memory" not in explain.broken(1, tmp_path)
