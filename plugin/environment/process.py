"""Run a command: its output in a log, a callback a line, a cancel that reaches its group."""

from __future__ import annotations

import os
import queue
import shlex
import signal
import subprocess  # nosec B404
import sys
import threading
import time
from pathlib import Path
from typing import IO, Any, Callable, Dict, List, Optional, Sequence

from .child import spawn_options
from .faults import EnvironmentCancelled, EnvironmentError_

LINES_KEPT = 200
GRACE_SECONDS = 1.0
_POLL_SECONDS = 0.1
_QUIET_SECONDS = 2.0


class Runner:
    """Runs commands one after the other, all into one log."""

    def __init__(
        self,
        environ: Dict[str, str],
        folder: Path,
        log: Path,
        is_cancelled: Callable[[], bool],
        held: Sequence[int] = (),
    ) -> None:
        """``held``: file descriptors that the children keep open (the lock), POSIX only."""
        self.environ = environ
        self.folder = folder
        self.log = log
        self.is_cancelled = is_cancelled
        self._held = tuple(held)

    def run(
        self,
        command: Sequence[object],
        on_line: Optional[Callable[[str], None]] = None,
        environ: Optional[Dict[str, str]] = None,
        on_quiet: Optional[Callable[[], None]] = None,
    ) -> Outcome:
        """The command's exit code and last lines. Raises EnvironmentCancelled when stopped.

        ``on_quiet`` is called every other second, also while the command says nothing.
        """
        words = [str(word) for word in command]
        options: Dict[str, Any] = spawn_options()
        if self._held and sys.platform != "win32":
            options["pass_fds"] = self._held
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("a", encoding="utf-8") as log:
            log.write(f"\n$ {' '.join(shlex.quote(word) for word in words)}\n")
            log.flush()
            try:
                child = subprocess.Popen(  # nosec B603 # a list of arguments, no shell
                    words,
                    env={**self.environ, **(environ or {})},
                    cwd=str(self.folder),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    **options,
                )
            except OSError as error:
                raise EnvironmentError_(f"{words[0]} could not be started: {error}") from error
            lines = self._follow(child, log, on_line, on_quiet)
            log.write(f"exit code {child.returncode}\n")
        return Outcome(child.returncode, lines)

    def _follow(
        self,
        child: subprocess.Popen[bytes],
        log: IO[str],
        on_line: Optional[Callable[[str], None]],
        on_quiet: Optional[Callable[[], None]],
    ) -> List[str]:
        # A reading thread and a queue: select() does not work on pipes on Windows.
        arrived: queue.Queue[Optional[str]] = queue.Queue()
        reader = threading.Thread(target=_read, args=(child.stdout, arrived), daemon=True)
        reader.start()
        lines: List[str] = []
        due = time.monotonic() + _QUIET_SECONDS
        try:
            while True:
                if self.is_cancelled():
                    raise EnvironmentCancelled("Stopped.")
                if on_quiet is not None and time.monotonic() >= due:
                    on_quiet()
                    due = time.monotonic() + _QUIET_SECONDS
                try:
                    line = arrived.get(timeout=_POLL_SECONDS)
                except queue.Empty:
                    continue
                if line is None:
                    break
                log.write(line + "\n")
                log.flush()
                lines = [*lines[1 - LINES_KEPT :], line]
                if on_line is not None:
                    on_line(line)
            child.wait()
        finally:
            if child.poll() is None:
                stop(child)
            reader.join(timeout=GRACE_SECONDS)
        return lines


class Outcome:
    """What came of a command."""

    def __init__(self, code: int, lines: List[str]) -> None:
        self.code = code
        self.lines = lines


def stop(child: subprocess.Popen[bytes]) -> None:
    """End the child and what it started: first politely, after a second for good."""
    if sys.platform == "win32":
        _end_tree_on_windows(child)
        return
    for kind in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(child.pid, kind)
        except ProcessLookupError:
            break
        try:
            child.wait(timeout=GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            continue
    child.wait()


def _end_tree_on_windows(child: subprocess.Popen[bytes]) -> None:
    root = os.environ.get("SYSTEMROOT", r"C:\Windows")
    taskkill = str(Path(root) / "System32" / "taskkill.exe")
    try:
        subprocess.run(  # nosec B603 # full path, a list of arguments, no shell
            [taskkill, "/PID", str(child.pid), "/T", "/F"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=10,
            check=False,
            **spawn_options(),
        )
    except (OSError, subprocess.TimeoutExpired):
        child.kill()
    deadline = time.monotonic() + GRACE_SECONDS
    while child.poll() is None and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
    if child.poll() is None:
        child.kill()
    child.wait()


def _read(pipe: Optional[IO[bytes]], arrived: queue.Queue[Optional[str]]) -> None:
    if pipe is not None:
        with pipe:
            for raw in pipe:
                arrived.put(raw.decode("utf-8", "replace").rstrip())
    arrived.put(None)
