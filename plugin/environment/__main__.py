"""``python3 -m plugin.environment``: the environment without QGIS, as ``make setup`` makes it."""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess  # nosec B404
import sys
from pathlib import Path
from typing import List, Optional

from .create import add, create, remove
from .faults import EnvironmentCancelled, EnvironmentError_
from .fetch import fetch
from .paths import FOLDER, environment_folder, python_of
from .state import read_record, size_text, state
from .uv import find_or_fetch, uv_environment


def main(arguments: Optional[List[str]] = None) -> int:
    """Exit code 0, or 2 with one clear line."""
    given = sys.argv[1:] if arguments is None else arguments
    if given[:1] == ["uv"]:
        return _uv(given[1:])
    parser = argparse.ArgumentParser(
        prog="python3 -m plugin.environment",
        description=__doc__,
        epilog="`uv …` runs uv, fetched where it is missing, with the same settings.",
    )
    parser.add_argument("verb", choices=["create", "remove", "state"])
    parser.add_argument("--target", type=Path, default=environment_folder())
    parser.add_argument("--add", type=Path, action="append", default=[], help="further lock files")
    parser.add_argument("--command", action="store_true", help="leave the command tilth in it")
    options = parser.parse_args(given)
    try:
        return _run(options)
    except EnvironmentError_ as error:
        sys.stderr.write(f"{error}\n")
        return 130 if isinstance(error, EnvironmentCancelled) else 2
    except KeyboardInterrupt:
        return 130


def _uv(words: List[str]) -> int:
    try:
        path = find_or_fetch(fetch, _tell).path
    except EnvironmentError_ as error:
        sys.stderr.write(f"{error}\n")
        return 2
    environ = uv_environment(dict(os.environ))
    command = [path, *words]
    return subprocess.run(command, env=environ, check=False).returncode  # nosec B603 # no shell


def _run(options: argparse.Namespace) -> int:
    target = options.target.absolute()
    if options.verb == "state":
        found = state(target)
        sys.stdout.write(f"{found.name} {found.reason}".strip() + "\n")
        return 0 if found.name == "ready" else 1
    elif options.verb == "remove":
        remove(target)
    else:
        if state(target).name != "ready":
            _tell(f"Making {target}: {size_text()}")
        create(target, fetch=fetch, on_progress=_show, is_cancelled=lambda: False)
        for lock in (path.absolute() for path in options.add):
            add(target, lock, fetch=fetch, on_progress=_show)
        if options.command:
            write_command(target)
        record = read_record(target) or {}
        _tell(f"{target} is ready. {record.get('device', '')}")
    return 0


def write_command(target: Path, platform: str = sys.platform) -> Path:
    """The command ``tilth``: this clone's engine in that environment, from any folder."""
    launcher = FOLDER.parent / "engine" / "launch.py"
    python = python_of(target, platform)
    if platform == "win32":
        path = python.with_name("tilth.cmd")
        text = f'@"{python}" -I -X utf8 "{launcher}" %*\r\n'
    else:
        path = python.with_name("tilth")
        words = [shlex.quote(str(word)) for word in (python, "-I", "-X", "utf8", launcher)]
        text = f'#!/bin/sh\nexec {" ".join(words)} "$@"\n'
    if not path.is_file() or path.read_bytes() != text.encode("utf-8"):
        path.write_bytes(text.encode("utf-8"))
        path.chmod(0o755)
    return path


def _show(fraction: float, message: str) -> None:
    _tell(f"[{fraction:4.0%}] {message}")


def _tell(message: str) -> None:
    sys.stderr.write(message + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
