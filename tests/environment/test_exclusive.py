"""Two QGIS windows and one environment."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest
from tilth.plugin.environment.exclusive import exclusive
from tilth.plugin.environment.faults import EnvironmentCancelled

ROOT = Path(__file__).resolve().parents[2]
HOLD = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from plugin.environment.exclusive import exclusive
with exclusive(Path(sys.argv[2]), lambda: False, print):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def other(tmp_path):
    """Another process that holds the lock."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(ROOT), str(tmp_path / "lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout.readline().strip() == b"held"
    yield process
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()


def test_alone_nobody_waits(tmp_path):
    said = []
    with exclusive(tmp_path / "new folder" / "lock", lambda: False, said.append):
        pass
    with exclusive(tmp_path / "new folder" / "lock", lambda: False, said.append):
        pass
    assert said == []


def test_the_second_waits_and_says_for_whom(tmp_path, other):
    said = []

    def tell(text: str) -> None:
        said.append(text)
        threading.Timer(0.3, other.stdin.close).start()

    with exclusive(tmp_path / "lock", lambda: False, tell):
        assert other.wait(timeout=5) == 0
    assert len(said) == 1 and f"process {other.pid}" in said[0]


def test_waiting_can_be_cancelled(tmp_path, other):
    with pytest.raises(EnvironmentCancelled), exclusive(tmp_path / "lock", lambda: True, print):
        raise AssertionError("two had the lock")


def test_a_killed_holder_leaves_no_stale_lock(tmp_path, other):
    other.kill()
    other.wait()
    said = []
    with exclusive(tmp_path / "lock", lambda: False, said.append):
        assert said == []


def test_two_threads_of_one_process_exclude_each_other(tmp_path):
    with exclusive(tmp_path / "lock", lambda: False, print):
        asked = []
        with (
            pytest.raises(EnvironmentCancelled),
            exclusive(tmp_path / "lock", lambda: True, asked.append),
        ):
            raise AssertionError("two had the lock")
