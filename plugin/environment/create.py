"""Make the engine's environment: one way for the dock's button, ``make setup`` and CI."""

from __future__ import annotations

import json
import os
import platform as platform_
import sys
import tempfile
import time
from pathlib import Path
from typing import Callable, Dict, List, Optional, Sequence

from . import explain
from .checks import check_path_length, check_room, delete, refuse_others
from .child import child_environment, output_of
from .exclusive import exclusive, is_in_use
from .faults import EnvironmentCancelled, EnvironmentError_
from .paths import (
    FOLDER,
    REQUIREMENTS,
    environment_folder,
    home,
    lock_file,
    log_file,
    python_of,
    use_file,
)
from .process import Runner
from .progress import Installation, Progress, Stage
from .requirements import package_names, split_lock, without_hashes
from .state import RECORD, gigabytes_needed, lock_sha256, read_record, state, write_record
from .torch_build import PYTORCH_INDEX, Build, Choice, choose, find_gpus
from .uv import Fetch, Uv, find_or_fetch, platform_key, uv_environment

PYTHONS = ">=3.10,<3.15"
GIGABYTES_TO_UPDATE = 2.0
MODULES = (
    "numpy", "torch", "torchvision", "timm", "peft", "safetensors",
    "rasterio", "pyogrio", "shapely", "sklearn",
)  # fmt: skip


def create(
    target: Path,
    *,
    fetch: Fetch,
    on_progress: Progress,
    is_cancelled: Callable[[], bool],
    proxy: str = "",
    lock: Path = REQUIREMENTS,
    modules: Sequence[str] = MODULES,
) -> None:
    """Make, update or finish the environment at ``target``; at once when it is ready.

    Blocking: for a task's thread. ``fetch(url, path)`` downloads and raises OSError; ``proxy`` is
    QGIS's own, for uv. Raises EnvironmentError_ with one clear line, EnvironmentCancelled when
    stopped; a new environment that did not get finished is removed.
    """
    target = target.absolute()
    with exclusive(lock_file(target), is_cancelled, lambda text: on_progress(0.0, text)) as held:
        if state(target, lock).name == "ready":
            on_progress(1.0, "The environment is ready")
            return
        maker = _Maker(target, fetch, on_progress, is_cancelled, proxy, lock, modules, held)
        maker.make()


def add(target: Path, lock: Path, *, fetch: Fetch, on_progress: Progress) -> None:
    """Install a further lock file into a ready environment (the developers' tools)."""
    record = read_record(target)
    if record is None:
        raise EnvironmentError_(f"{target} is no finished environment: make it first.")
    added = record.setdefault("added", {})
    if added.get(lock.name) != lock_sha256(lock):
        maker = _Maker(target, fetch, on_progress, lambda: False, "", lock, (), None)
        maker.install_lock(maker.find_uv(), lock, f"Installing {lock.stem}", 0.0, 1.0)
        added[lock.name] = lock_sha256(lock)
        write_record(target, record)


def remove(target: Path) -> None:
    """Remove the environment, and with the managed one what was fetched to make it.

    Its files are shared with uv's cache, so the disk gets room only when they go there too. That
    is done where uv came with Tilth; someone who has uv otherwise may need them.
    """
    target = target.absolute()
    with exclusive(lock_file(target), lambda: False, lambda text: None):
        if is_in_use(use_file(target)):
            raise EnvironmentError_(
                f"{target} is used by Tilth in another QGIS window: close that, then try again."
            )
        record = read_record(target) or {}
        if target.exists():
            refuse_others(target)
            delete(target)
        if record.get("uv", {}).get("fetched") and not os.environ.get("UV_CACHE_DIR"):
            names = package_names(REQUIREMENTS.read_text(encoding="utf-8"))
            output_of([record["uv"]["path"], "cache", "clean", *names], timeout=120)
        if target == environment_folder():
            for folder in (home() / "uv", home() / "python"):
                if folder.exists():
                    delete(folder)


class _Maker:
    """The steps of one making, which share their settings."""

    def __init__(
        self,
        target: Path,
        fetch: Fetch,
        on_progress: Progress,
        is_cancelled: Callable[[], bool],
        proxy: str,
        lock: Path,
        modules: Sequence[str],
        held: Optional[int],
    ) -> None:
        self.target, self.lock, self.modules = target, lock, modules
        self.fetch, self.on_progress = fetch, on_progress
        self.environ = uv_environment(dict(os.environ), proxy)
        home().mkdir(parents=True, exist_ok=True)
        # In our own folder: uv would read the settings of a project around the current one.
        self.runner = Runner(
            self.environ, home(), log_file(), is_cancelled, () if held is None else (held,)
        )

    def make(self) -> None:
        started = time.monotonic()
        refuse_others(self.target)
        platform_key()  # says so where PyTorch can't run
        fresh = read_record(self.target) is None or not python_of(self.target).is_file()
        check_room(self.target, gigabytes_needed() if fresh else GIGABYTES_TO_UPDATE)
        check_path_length(self.target)
        try:
            uv = self.find_uv()
            self._check_cancelled()
            if fresh:
                self._make_venv(uv)
            else:
                (self.target / RECORD).unlink()
            self.on_progress(0.05, "Looking at the graphics card")
            choice = choose(sys.platform, platform_.machine(), find_gpus())
            build = self._install(uv, choice)
            found = self.verify()
        except BaseException:
            if fresh and self.target.exists():
                delete(self.target)
            raise
        note = device_note(choice, build, found)
        write_record(
            self.target,
            {
                "format": 1,
                "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                "seconds": round(time.monotonic() - started, 1),
                "lock_sha256": lock_sha256(self.lock),
                "uv": uv._asdict(),
                "build": build._asdict(),
                "device": note,
                "log": str(log_file()),
                **found,
            },
        )
        self.on_progress(1.0, f"The environment is ready. {note}")

    def find_uv(self) -> Uv:
        return find_or_fetch(self.fetch, lambda text: self.on_progress(0.01, text))

    def install_lock(self, uv: Uv, lock: Path, what: str, start: float, end: float) -> None:
        """Exactly what the lock file says, each file checked against its hash, nothing compiled."""
        self._uv_install(uv, ["--require-hashes", "--no-deps", "-r", lock], what, start, end)

    def verify(self) -> Dict[str, object]:
        """Import everything in the new interpreter; the last word on whether it works."""
        self.on_progress(0.92, "Checking that everything works")
        environ = child_environment(os.environ)
        probe = FOLDER / "probe.py"
        command = [python_of(self.target), "-I", "-X", "utf8", probe, *self.modules]
        outcome = self.runner.run(command, environ=environ)
        try:
            found: Dict[str, object] = json.loads(outcome.lines[-1])
        except (IndexError, ValueError):
            raise EnvironmentError_(explain.broken(outcome.code, self.target)) from None
        failed = found.pop("failed")
        if isinstance(failed, dict) and failed:
            raise EnvironmentError_(explain.imports(failed))
        return found

    def _make_venv(self, uv: Uv) -> None:
        self.on_progress(0.03, "Looking for a Python")
        if self.target.exists():
            delete(self.target)
        command = [uv.path, "venv", "--no-project", "--python", PYTHONS]
        command += ["--python-preference", "system", "--prompt", "tilth", str(self.target)]
        outcome = self.runner.run(command)
        if outcome.code != 0:
            raise EnvironmentError_(explain.uv_failed("No Python could be set up", outcome.lines))

    def _install(self, uv: Uv, choice: Choice) -> Build:
        """The first of the builds that can be had, and everything else."""
        for build in choice.builds[:-1]:
            if self._reachable(build) and self._install_from_pytorch(uv, build):
                return build
        build = choice.builds[-1]
        self.install_lock(uv, self.lock, build.text, 0.06, 0.9)
        return build

    def _reachable(self, build: Build) -> bool:
        with tempfile.TemporaryDirectory(dir=home()) as folder:
            try:
                self.fetch(f"{PYTORCH_INDEX}/{build.backend}/torch/", Path(folder) / "page")
            except (OSError, EnvironmentError_):
                self.on_progress(0.06, "PyTorch's own index can't be reached: taking PyPI's build")
                return False
        return True

    def _install_from_pytorch(self, uv: Uv, build: Build) -> bool:
        locked, family = split_lock(self.lock.read_text(encoding="utf-8"))
        if not family:
            return False
        with tempfile.TemporaryDirectory(dir=home()) as folder:
            rest = Path(folder) / "rest.lock"
            rest.write_text(locked, encoding="utf-8")
            self.install_lock(uv, rest, "The packages beside PyTorch", 0.06, 0.3)
            bare = Path(folder) / "constraints.txt"
            bare.write_text(without_hashes(locked), encoding="utf-8")
            words = ["--torch-backend", build.backend, "--constraints", bare, *family]
            try:
                self._uv_install(uv, words, build.text, 0.3, 0.9)
            except EnvironmentCancelled:
                raise
            except EnvironmentError_ as error:
                self.on_progress(0.3, f"{error} Taking PyPI's build instead")
                return False
        return True

    def _uv_install(self, uv: Uv, words: List[object], what: str, start: float, end: float) -> None:
        cache = self.runner.run([uv.path, "cache", "dir"]).lines
        follow = Installation(
            Stage(self.on_progress, start, end), what, Path(cache[-1]) if cache else None
        )
        command = [uv.path, "pip", "install", "--python", python_of(self.target), "--no-build"]
        outcome = self.runner.run([*command, *words], follow.line, on_quiet=follow.look)
        if outcome.code != 0:
            raise EnvironmentError_(explain.uv_failed("Installing failed", outcome.lines))

    def _check_cancelled(self) -> None:
        if self.runner.is_cancelled():
            raise EnvironmentCancelled("Stopped.")


def device_note(choice: Choice, build: Build, found: Dict[str, object]) -> str:
    """What it will run on, in one sentence."""
    if build.text.endswith("Apple processors"):
        return "It will use the Apple GPU where PyTorch supports it."
    cuda = found.get("cuda")
    if isinstance(cuda, dict) and cuda.get("devices"):
        return "It will use CUDA on " + ", ".join(cuda["devices"]) + "."
    reason = choice.reason or (cuda.get("reason", "") if isinstance(cuda, dict) else "")
    return f"It will use the processor: {reason}." if reason else "It will use the processor."
