"""Commands: their log, their lines, and a cancel that reaches what they started."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tilth.plugin.environment import process
from tilth.plugin.environment.faults import EnvironmentCancelled, EnvironmentError_
from tilth.plugin.environment.process import Runner

TREE = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import signal, time; "
    "signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"])
print(child.pid, flush=True)
time.sleep(60)
"""


@pytest.fixture
def runner(tmp_path):
    return Runner(dict(os.environ), tmp_path, tmp_path / "logs" / "é.log", lambda: False)


def alive(pid: int) -> bool:
    """Still running (a zombie that nobody waits for is not)."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_lines_code_and_log(runner):
    said = []
    script = "import sys; print('ünter'); print('fehl', file=sys.stderr); sys.exit(3)"
    outcome = runner.run([sys.executable, "-X", "utf8", "-u", "-c", script], said.append)
    assert (outcome.code, outcome.lines) == (3, ["ünter", "fehl"]) and said == outcome.lines
    log = runner.log.read_text(encoding="utf-8")
    assert "ünter" in log and "exit code 3" in log and sys.executable in log


def test_a_child_that_waits_for_input_gets_none(runner):
    assert runner.run([sys.executable, "-c", "print(repr(input()))"]).code == 1


def test_bytes_that_are_no_text(runner):
    script = "import sys; sys.stdout.buffer.write(b'\\xff\\xfe\\n')"
    assert runner.run([sys.executable, "-c", script]).code == 0


def test_only_the_last_lines_are_kept(runner):
    outcome = runner.run([sys.executable, "-c", "for i in range(1000): print(i)"])
    assert len(outcome.lines) == process.LINES_KEPT and outcome.lines[-1] == "999"


def test_a_program_that_is_not_there(runner):
    with pytest.raises(EnvironmentError_, match="could not be started"):
        runner.run(["/nowhere/uv", "--version"])


def test_quiet_times_are_told(runner, monkeypatch):
    monkeypatch.setattr(process, "_QUIET_SECONDS", 0.1)
    looks = []
    runner.run(
        [sys.executable, "-c", "import time; time.sleep(1)"], on_quiet=lambda: looks.append(1)
    )
    assert len(looks) >= 3


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks into /proc")
def test_cancel_ends_the_whole_tree_within_three_seconds(runner):
    seen = []
    runner.is_cancelled = lambda: "deaf" in seen
    with pytest.raises(EnvironmentCancelled):
        runner.run([sys.executable, "-u", "-c", TREE], seen.append)
    started = time.monotonic()
    grandchild = int(next(line for line in seen if line.isdigit()))
    while alive(grandchild) and time.monotonic() - started < 20:
        time.sleep(0.05)
    assert not alive(grandchild)


def test_windows_ends_the_tree_with_taskkill(monkeypatch):
    calls = []

    class Child:
        pid = 42
        returncode = None

        def poll(self):
            return 1 if calls else None

        def wait(self, timeout=None):
            return 1

        def kill(self):
            calls.append("kill")

    monkeypatch.setattr(process.subprocess, "run", lambda words, **k: calls.append(words))
    process._end_tree_on_windows(Child())
    assert Path(calls[0][0].replace("\\", "/")).name == "taskkill.exe"
    assert calls[0][1:] == ["/PID", "42", "/T", "/F"]


def test_an_exception_in_the_listener_leaves_no_process(runner):
    pids = []

    def listener(line: str) -> None:
        pids.append(int(line))
        raise RuntimeError("the window is gone")

    with pytest.raises(RuntimeError):
        script = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
        runner.run([sys.executable, "-c", script], listener)
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX alone can hand a descriptor on")
def test_the_lock_outlives_a_killed_parent_while_its_child_works(tmp_path):
    """QGIS killed in the middle of an installation: uv works on, so the next one must wait."""
    import fcntl

    lock = tmp_path / "lock"
    script = f"""
import os, sys, fcntl
sys.path.insert(0, {str(Path(__file__).resolve().parents[2])!r})
from plugin.environment.process import Runner
from pathlib import Path
descriptor = os.open({str(lock)!r}, os.O_RDWR | os.O_CREAT)
fcntl.flock(descriptor, fcntl.LOCK_EX)
folder = Path({str(tmp_path)!r})
runner = Runner(dict(os.environ), folder, folder / "log", lambda: False, [descriptor])
runner.run([sys.executable, "-u", "-c", "import time; print('on'); time.sleep(1.5)"], print)
"""
    parent = subprocess.Popen(
        [sys.executable, "-u", "-c", script], stdout=subprocess.PIPE, cwd=str(tmp_path)
    )
    assert parent.stdout.readline().strip() == b"on"
    parent.kill()
    parent.wait()
    parent.stdout.close()
    with lock.open("r+b") as file:
        with pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(0.1)
        else:
            raise AssertionError("the lock was never given back")
