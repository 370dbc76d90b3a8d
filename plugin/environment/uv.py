"""uv, the program that installs: the user's own, or a pinned one from the package index."""

from __future__ import annotations

import hashlib
import json
import os
import platform as platform_
import re
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any, Callable, Dict, Mapping, NamedTuple, Optional, Tuple

from .child import child_environment, output_of
from .faults import EnvironmentError_
from .index import certificate_bundle, find_file, index_url
from .paths import FOLDER, home

PINNED = FOLDER / "uv.json"
MINIMUM = (0, 8, 0)  # the first with every option that create.py uses
Fetch = Callable[[str, Path], None]
_IS_ARM_MAC = ["/usr/sbin/sysctl", "-n", "hw.optional.arm64"]
_MACHINES = {"amd64": "x86_64", "x64": "x86_64", "arm64": "aarch64"}


class Uv(NamedTuple):
    """A uv that works."""

    path: str
    version: str
    fetched: bool


def find_or_fetch(fetch: Fetch, on_message: Callable[[str], None]) -> Uv:
    """The uv on the path when it is new enough, else the pinned one, fetched once."""
    found = on_path(os.environ)
    if found is not None:
        return found
    pinned: Dict[str, Any] = json.loads(PINNED.read_text(encoding="utf-8"))
    name = "uv.exe" if sys.platform == "win32" else "uv"
    target = home() / "uv" / pinned["version"] / name
    if not _version(str(target)):
        on_message(f"Fetching uv {pinned['version']}, which installs the packages")
        wheel = pinned["wheels"][platform_key()]
        _fetch_wheel(fetch, wheel["file"], wheel["sha256"], target)
        if not _version(str(target)):
            raise EnvironmentError_(
                f"{target} was fetched but does not start. Install uv (https://docs.astral.sh/uv) "
                "so that it is on the path, then try again."
            )
    return Uv(str(target), pinned["version"], fetched=True)


def on_path(environ: Mapping[str, str]) -> Optional[Uv]:
    """The user's own uv; None where there is none, or it is broken or too old."""
    path = shutil.which("uv", path=child_environment(environ).get("PATH"))
    version = _version(path) if path else ()
    if not path or version < MINIMUM:
        return None
    return Uv(path, ".".join(map(str, version)), fetched=False)


def platform_key(
    platform: str = sys.platform, machine: Optional[str] = None, libc: Optional[str] = None
) -> str:
    """The key into uv.json; says why where PyTorch and so Tilth can't run at all."""
    machine = (platform_.machine() if machine is None else machine).lower()
    machine = _MACHINES.get(machine, machine)
    if platform == "win32":
        return "windows-x86_64"  # also on Arm, where Windows runs it: PyTorch has no other build
    if platform == "darwin":
        arm = machine == "aarch64" or output_of(_IS_ARM_MAC, timeout=5).strip() == "1"
        if not arm:
            raise EnvironmentError_(
                "PyTorch has no builds for Macs with Intel processors any more, so the engine "
                "can't run on this machine."
            )
        return "macos-aarch64"  # also where an Intel build of QGIS runs under Rosetta
    libc = platform_.libc_ver()[0] if libc is None else libc
    if machine not in ("x86_64", "aarch64") or libc != "glibc":
        raise EnvironmentError_(
            f"PyTorch has no builds for this system ({platform}, {machine}, {libc or 'no glibc'}); "
            "set TILTH_PYTHON to an interpreter that has the engine's packages."
        )
    return f"linux-{machine}"


def uv_environment(environ: Dict[str, str], proxy: str = "") -> Dict[str, str]:
    """A child's environment with the user's index, the system's certificates and QGIS's proxy."""
    result = child_environment(environ)
    if not result.get("UV_DEFAULT_INDEX") and not result.get("UV_INDEX_URL"):
        result["UV_DEFAULT_INDEX"] = index_url(environ)
    # The system's certificates under uv's present and former name; SSL_CERT_FILE still wins.
    result.setdefault("UV_SYSTEM_CERTS", "true")
    result.setdefault("UV_NATIVE_TLS", "true")
    result.setdefault("UV_HTTP_TIMEOUT", "120")
    result.setdefault("UV_PYTHON_INSTALL_DIR", str(home() / "python"))
    result["NO_COLOR"] = "1"
    bundle = certificate_bundle(environ)
    if bundle:
        result.setdefault("SSL_CERT_FILE", bundle)
    if proxy:
        result.update(HTTPS_PROXY=proxy, HTTP_PROXY=proxy)
    return result


def _version(path: str) -> Tuple[int, ...]:
    text = output_of([path, "--version"], timeout=20) if Path(path).is_file() else ""
    match = re.match(r"uv (\d+)\.(\d+)\.(\d+)", text)
    return tuple(int(part) for part in match.groups()) if match else ()


def _fetch_wheel(fetch: Fetch, wheel: str, sha256: str, target: Path) -> None:
    """Download ``wheel``, check it, and leave the program in it at ``target``."""
    page_url = index_url(os.environ).rstrip("/") + "/uv/"
    shown = re.sub(r"//[^/@]*@", "//", page_url)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="fetch-") as folder:
        page, file = Path(folder) / "page.html", Path(folder) / "uv.whl"
        try:
            fetch(page_url, page)
            address = find_file(page.read_text("utf-8", "replace"), page_url, wheel)
            if address is None:
                raise EnvironmentError_(f"The package index {shown} has no {wheel}.")
            fetch(address, file)
        except OSError as error:
            raise EnvironmentError_(
                f"uv could not be fetched from {shown}: {error}. Check the network connection "
                "and the proxy, then try again."
            ) from error
        found = hashlib.sha256(file.read_bytes()).hexdigest()
        if found != sha256:
            raise EnvironmentError_(
                f"{wheel} from {shown} is not the file that Tilth knows (sha256 {found}, should "
                f"be {sha256}): it was not used. Something between you and the index changes files."
            )
        program = Path(folder) / target.name
        with zipfile.ZipFile(file) as archive:
            member = next(n for n in archive.namelist() if n.endswith(f"/scripts/{target.name}"))
            with archive.open(member) as source, program.open("wb") as sink:
                shutil.copyfileobj(source, sink)
        program.chmod(0o755)
        program.replace(target)
