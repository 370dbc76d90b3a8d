"""The main job through the plugin in a real QGIS: ``demo.py [IMAGE] [LABELS] [FIELD] [OUT]``.

Starts QGIS with a fresh profile in which Tilth is enabled, and a display of its own where there is
none. scripts/demo_in_qgis.py runs inside and drives the dock; this end says what came of it.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Dict, List, Optional

from with_display import display, for_qgis

ROOT = Path(__file__).resolve().parent.parent
SAMPLE = ROOT / "resources" / "sample"
DEFAULTS = (str(SAMPLE / "image.tif"), str(SAMPLE / "polygons.gpkg"), "class", "demo")
TIME_LIMIT_SECONDS = int(os.environ.get("TILTH_DEMO_SECONDS", "900"))
START_LIMIT_SECONDS = 180
FILES = ("adapter", "map", "report", "picture")
# Lines of QGIS's output that start with this are for the one who waits (demo_in_qgis.py).
MARK = "demo: "


def main(arguments: List[str]) -> int:
    """0 when every file is there."""
    given = [*arguments, "", "", "", ""][:4]
    image, labels, field, out = (word or default for word, default in zip(given, DEFAULTS))
    if bool(given[0]) != bool(given[1]):
        return _fail("give IMAGE and LABELS together (and FIELD, the class field)")
    for path in (image, labels.split("|")[0]):
        if not Path(path).exists():
            return _fail(f"there is no {path}")
    folder = Path(out).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    summary = folder / "summary.json"
    summary.unlink(missing_ok=True)
    log = ROOT / "build" / "demo" / "qgis.log"
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that QGIS and Xvfb end too
    started = time.monotonic()
    print(f"starting QGIS with {image}", flush=True)
    code = _run_qgis(
        {
            "TILTH_DEMO_IMAGE": str(Path(image).absolute()),
            "TILTH_DEMO_LABELS": str(Path(labels).absolute()),
            "TILTH_DEMO_FIELD": field,
            "TILTH_DEMO_OUT": str(folder),
            "TILTH_PYTHON": str(ROOT / ".venv" / "bin" / "python"),
        },
        log,
    )
    if not summary.is_file():
        why = "time limit" if code is None else f"exit code {code}"
        return _fail(f"QGIS ended without a result ({why})", log)
    result = json.loads(summary.read_text(encoding="utf-8"))
    if result.get("error"):
        return _fail(result["error"], log)
    if code:
        return _fail(f"QGIS did its work but crashed while it closed (exit code {code})", log)
    missing = [name for name in FILES if not Path(result.get(name) or "nowhere").is_file()]
    if missing:
        return _fail(f"these were not written: {', '.join(missing)}", log)
    for name in FILES:
        size = Path(result[name]).stat().st_size
        print(f"{name:8} {result[name]}  ({size / 1e6:.2f} MB)")
    classes = ", ".join(_name(entry) for entry in result.get("classes", []))
    print(f"classes  {classes}")
    score = (result.get("score") or {}).get("macro_f1")
    if score is not None:
        print(f"score    macro-F1 {score:.2f} on the held-out polygons")
    print(f"time     {time.monotonic() - started:.0f} s, of it in Tilth {result.get('seconds')} s")
    return 0


def _run_qgis(variables: Dict[str, str], log: Path) -> Optional[int]:
    """QGIS's exit code; None when it ran past the limit and was ended."""
    qgis = shutil.which("qgis")
    if qgis is None:
        raise SystemExit("QGIS is missing: run `make qgis`")
    profiles = _fresh_profile(log.parent)
    command = [qgis, "--nologo", "--noversioncheck", "--profiles-path", str(profiles)]
    command += ["--code", str(_start_file(log.parent, Path(variables["TILTH_DEMO_OUT"])))]
    own = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    with nullcontext(for_qgis(os.environ)) if own else display() as environ, log.open("wb") as sink:
        process = subprocess.Popen(
            command,
            env={**environ, **variables},
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            return _wait(process, log.parent / "started", Told(log))
        except subprocess.TimeoutExpired:
            return None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _wait(process: subprocess.Popen[bytes], started: Path, told: Told) -> int:
    """The exit code. A QGIS whose Python does not work shows its window and does nothing."""
    began = time.monotonic()
    while True:
        try:
            return process.wait(timeout=0.5)
        except subprocess.TimeoutExpired:
            limit = TIME_LIMIT_SECONDS if started.exists() else START_LIMIT_SECONDS
            if time.monotonic() - began > limit:
                raise
        finally:
            told.show()


class Told:
    """What QGIS's output has for the one who waits, line by line as it comes."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._place = 0

    def show(self) -> None:
        """Print what has come since the last time."""
        with self._log.open("rb") as file:
            file.seek(self._place)
            whole, end, _ = file.read().rpartition(b"\n")
        self._place += len(whole) + len(end)
        for line in whole.decode("utf-8", "replace").splitlines():
            if line.startswith(MARK):
                print(line[len(MARK) :], flush=True)


def _start_file(folder: Path, out: Path) -> Path:
    """QGIS runs --code's text without a file's name; this imports the driver as a real module."""
    start = folder / "start.py"
    start.write_text(
        f"""import json, os, sys, traceback
open({str(folder / "started")!r}, "w").close()
sys.path.insert(0, {str(ROOT / "scripts")!r})
try:
    import demo_in_qgis
except BaseException as error:
    traceback.print_exc()
    with open({str(out / "summary.json")!r}, "w", encoding="utf-8") as file:
        json.dump({{"error": f"{{type(error).__name__}}: {{error}}"}}, file)
    sys.stderr.flush()
    os._exit(1)
""",
        encoding="utf-8",
    )
    return start


def _fresh_profile(folder: Path) -> Path:
    """A profile folder in which Tilth is a plugin, and enabled, and nothing asks anything."""
    shutil.rmtree(folder, ignore_errors=True)
    profile = folder / "profiles" / "default"
    plugins = profile / "python" / "plugins"
    plugins.mkdir(parents=True)
    (plugins / "tilth").symlink_to(ROOT, target_is_directory=True)
    settings = profile / "QGIS" / "QGIS3.ini"
    settings.parent.mkdir()
    settings.write_text(
        "[PythonPlugins]\ntilth=true\n\n"
        "[qgis]\ncheckVersion=false\nshowTips=false\nnewsFeed\\enabled=false\n\n"
        "[locale]\noverrideFlag=true\nuserLocale=en_US\n",
        encoding="utf-8",
    )
    return folder


def _name(entry: object) -> str:
    return str(entry.get("name")) if isinstance(entry, dict) else str(entry)


def _fail(why: str, log: Optional[Path] = None) -> int:
    if log is not None and log.is_file():
        text = log.read_text(encoding="utf-8", errors="replace")
        for line in text.partition("\nThread ")[0].splitlines()[-30:]:  # not a crash's whole trace
            print(f"  | {line}", file=sys.stderr)
    where = f" (QGIS's log: {log})" if log is not None else ""
    print(f"The demo failed: {why}{where}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
