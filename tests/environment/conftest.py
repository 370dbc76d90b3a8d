"""Every test has a home of its own, and none of the tester's settings."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Callable, List, Tuple

import pytest


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "Tilth's hömé"
    for name in list(os.environ):
        if name.startswith(("UV_", "PIP_", "TILTH_")) and name != "UV_CACHE_DIR":
            monkeypatch.delenv(name)
    monkeypatch.setenv("TILTH_HOME", str(folder))
    return folder


@pytest.fixture
def progress() -> Progress:
    return Progress()


class Progress(List[Tuple[float, str]]):
    """Keeps what it is told."""

    def __call__(self, fraction: float, message: str) -> None:
        self.append((fraction, message))

    @property
    def text(self) -> str:
        return "\n".join(message for _, message in self)

    @property
    def rises(self) -> bool:
        fractions = [fraction for fraction, _ in self]
        return fractions == sorted(fractions)


FAKE_UV = r"""
import json, os, pathlib, sys, time
here = pathlib.Path(__file__).parent
with open(here / "calls.jsonl", "a", encoding="utf-8") as calls:
    calls.write(json.dumps({"words": sys.argv[1:], "environ": dict(os.environ)}) + "\n")
plan = json.loads((here / "plan.json").read_text(encoding="utf-8"))
words = sys.argv[1:]
if words[0] == "--version":
    print("uv " + plan.get("version", "0.13.8") + " (made up)")
elif words[0] == "cache":
    print(here / "cache")
elif words[0] == "venv":
    target = pathlib.Path(words[-1])
    (target / "bin").mkdir(parents=True)
    (target / "bin" / "python").symlink_to(sys.executable)
    home = pathlib.Path(sys.executable).parent
    (target / "pyvenv.cfg").write_text(f"home = {home}\nprompt = tilth\n")
elif words[:2] == ["pip", "install"]:
    print("Resolved 2 packages in 1ms", file=sys.stderr, flush=True)
    print("Downloading torch (500.0MiB)", file=sys.stderr, flush=True)
    time.sleep(plan.get("seconds", 0))
    if "--torch-backend" in words and plan.get("no_backend"):
        sys.exit("error: no torch there")
    if plan.get("error"):
        sys.exit(plan["error"])
    for line in (" Downloaded torch", "Prepared 2 packages in 1s", "Installed 2 packages in 1ms"):
        print(line, file=sys.stderr)
"""


class FakeUv:
    """A uv on the path that writes down how it was called and does what its plan says."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        (folder / "uv.py").write_text(FAKE_UV, encoding="utf-8")
        program = folder / "uv"
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{folder}/uv.py" "$@"\n')
        program.chmod(0o755)
        self.plan()

    def plan(self, **what: object) -> None:
        import json

        (self.folder / "plan.json").write_text(json.dumps(what), encoding="utf-8")

    @property
    def calls(self) -> List[dict]:
        import json

        file = self.folder / "calls.jsonl"
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        return [json.loads(line) for line in lines]

    def words(self, verb: str) -> List[List[str]]:
        return [call["words"] for call in self.calls if call["words"][0] == verb]


@pytest.fixture
def fake_uv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeUv:
    fake = FakeUv(tmp_path / "with uv")
    monkeypatch.setenv("PATH", f"{fake.folder}{os.pathsep}{os.environ['PATH']}")
    return fake


@pytest.fixture
def no_fetch() -> Callable[[str, Path], None]:
    def fetch(url: str, path: Path) -> None:
        raise OSError(f"no network in this test: {url}")

    return fetch
