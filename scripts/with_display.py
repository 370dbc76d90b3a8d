"""Run a command with an X server of its own: ``with_display.py COMMAND …``.

xvfb-run would need xauth and guesses display numbers; here Xvfb itself picks a free one.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from typing import Dict, Iterator, List, Mapping

SCREEN = "1600x1000x24"


def for_qgis(environ: Mapping[str, str]) -> Dict[str, str]:
    """Without another Python's traces: the one inside QGIS takes its home from the path's python3,
    and a pyenv or conda that comes first there leaves it without its modules."""
    kept = {k: v for k, v in environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV"))}
    return {**kept, "PATH": f"/usr/bin:/bin:{environ.get('PATH', '')}"}


@contextmanager
def display() -> Iterator[Dict[str, str]]:
    """An environment with DISPLAY set to a new Xvfb, which ends with the block."""
    program = shutil.which("Xvfb")
    if program is None:
        raise SystemExit("Xvfb is missing: run `make qgis`")
    reading, writing = os.pipe()
    server = subprocess.Popen(
        [
            program,
            "-displayfd",
            str(writing),
            "-screen",
            "0",
            SCREEN,
            "-nolisten",
            "tcp",
            "-noreset",
        ],
        pass_fds=[writing],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(writing)
    try:
        with os.fdopen(reading) as pipe:
            number = pipe.readline().strip()
        if not number:
            raise SystemExit("Xvfb did not start")
        with tempfile.TemporaryDirectory(prefix="tilth-runtime-") as runtime:
            environ = {**for_qgis(os.environ), "DISPLAY": f":{number}", "QT_QPA_PLATFORM": "xcb"}
            environ.setdefault("XDG_RUNTIME_DIR", runtime)
            yield environ
    finally:
        server.terminate()
        server.wait()


def main(command: List[str]) -> int:
    """The command's exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with display() as environ:
        return subprocess.run(command, env=environ, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
