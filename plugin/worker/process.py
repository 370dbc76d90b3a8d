"""One engine process: started, spoken to through its pipes, ended with its children.

Nothing here waits on a pipe with select, which Windows has not: a thread reads the lines into a
queue. A worker has a process group of its own, so that its children can be ended with it, and
ends by itself as soon as its standard input closes, also when QGIS is killed.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess  # nosec B404
import sys
import threading
import time
from pathlib import Path
from typing import IO, Any, Dict, List, Mapping, Optional, Sequence

from ..engine import protocol

_BELOW_NORMAL_PRIORITY_CLASS = 0x00004000
_CREATE_NO_WINDOW = 0x08000000
_NOISE_LIMIT = 1000
_LOGS_KEPT = 10
_JOIN_SECONDS = 5.0

LAUNCHER = Path(__file__).resolve().parents[1] / "engine" / "launch.py"


def command(python: Path, launcher: Path = LAUNCHER) -> List[str]:
    """What starts a worker: an isolated, unbuffered Python in UTF-8 mode."""
    return [str(python), "-I", "-u", "-X", "utf8", str(launcher), "worker"]


def popen_options(platform: str = sys.platform) -> Dict[str, Any]:
    """The options of Popen that differ between platforms."""
    if platform == "win32":
        return {"creationflags": _BELOW_NORMAL_PRIORITY_CLASS | _CREATE_NO_WINDOW}
    return {"start_new_session": True}


def new_log(folder: Path) -> Path:
    """The path of a fresh log file; the oldest ones in the folder are removed."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in sorted(folder.glob("worker-*.log"))[: -_LOGS_KEPT + 1]:
        # Another QGIS window may have it open, or have removed it just now.
        with contextlib.suppress(OSError):
            old.unlink()
    stem = f"worker-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
    number = 1
    while True:
        path = folder / f"{stem}-{number}.log"
        try:
            path.open("xb").close()
        except FileExistsError:
            number += 1
            continue
        return path


class WorkerProcess:
    """A running worker. ``messages`` are its events in order, then one None at the end."""

    def __init__(
        self,
        argv: Sequence[str],
        environment: Mapping[str, str],
        log: Path,
        held: Optional[int] = None,
    ) -> None:
        """``held`` is a file descriptor that the process keeps open, POSIX only."""
        self.log = log
        self.messages: queue.Queue[Optional[Dict[str, Any]]] = queue.Queue()
        self.noise = 0
        self._write_lock = threading.Lock()
        with log.open("ab") as errors:
            # A fixed list of arguments, no shell.
            self._process = subprocess.Popen(  # nosec B603
                list(argv),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=dict(environment),
                cwd=str(log.parent),
                pass_fds=() if held is None else (held,),
                **popen_options(),
            )
        self._reader = threading.Thread(
            target=self._read, name=f"tilth-worker-{self._process.pid}", daemon=True
        )
        self._reader.start()

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    @property
    def exit_code(self) -> Optional[int]:
        """Its exit code, None while it runs."""
        return self._process.poll()

    @property
    def noisy(self) -> bool:
        """Whether it wrote more that is no message than a stray library would."""
        return self.noise > _NOISE_LIMIT

    def send(self, message: Dict[str, Any]) -> bool:
        """Send a request; False where nobody listens any more."""
        with self._write_lock:
            pipe = self._process.stdin
            if pipe is None or pipe.closed:
                return False
            try:
                pipe.write(protocol.encode(message))
                pipe.flush()
            except OSError:
                return False
        return True

    def end(self, patience: float = 0.0) -> int:
        """End it and its children, and wait until all is gone; the exit code.

        It may go by itself for ``patience`` seconds after its standard input closed.
        """
        if patience > 0:
            self._close(self._process.stdin)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(patience)
        # Only then the pipe: a request that nobody reads may hold its lock until the kill.
        self.kill()
        self._close(self._process.stdin)
        code = self._process.wait()
        self._reader.join(_JOIN_SECONDS)
        if not self._reader.is_alive():
            self._close(self._process.stdout)
        return code

    def kill(self) -> None:
        """Kill it and its children now."""
        if sys.platform == "win32":
            if self._process.poll() is None:
                kill_tree_on_windows(self.pid)
                self._process.kill()
            return
        # The worker leads a group of its own. The group outlives the leader while children are
        # left, and its number stays taken as long.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def _close(self, pipe: Optional[IO[bytes]]) -> None:
        if pipe is not None:
            # Closing flushes, and nobody may be left to read.
            with self._write_lock, contextlib.suppress(OSError):
                pipe.close()

    def _read(self) -> None:
        """In the reader's thread: lines into messages, noise into the log."""
        pipe = self._process.stdout
        try:
            while pipe is not None:
                line = pipe.readline(protocol.MAX_LINE + 1)
                if not line:
                    break
                self._take(line)
        except (OSError, ValueError):
            self._note(b"the pipe from the engine broke")
        finally:
            self.messages.put(None)

    def _take(self, line: bytes) -> None:
        if not line.strip():
            return
        try:
            message = protocol.decode(line)
        except protocol.ProtocolError:
            self._note(line)
            return
        if isinstance(message.get("event"), str):
            self.messages.put(message)
        else:
            self._note(line)

    def _note(self, line: bytes) -> None:
        """Keep a line that is no message in the log, for the post-mortem."""
        self.noise += 1
        if self.noise <= _NOISE_LIMIT:
            with contextlib.suppress(OSError), self.log.open("ab") as log:
                log.write(b"[standard output] " + line[:2000].rstrip() + b"\n")


def kill_tree_on_windows(pid: int) -> None:
    """End a process and its children on Windows, which has no process groups to kill."""
    tool = Path(os.environ.get("SYSTEMROOT", "C:\\Windows")) / "System32" / "taskkill.exe"
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        # A tool of the system by its full path, and a number.
        subprocess.run(  # nosec B603
            [str(tool), "/F", "/T", "/PID", str(pid)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            creationflags=_CREATE_NO_WINDOW if sys.platform == "win32" else 0,
            timeout=5.0,
            check=False,
        )
