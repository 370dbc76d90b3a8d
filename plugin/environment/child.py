"""The environment variables and start options that a child process gets.

QGIS's own variables poison a child: packages land beside the wrong interpreter, PROJ and GDAL
read data of another version, TLS certificates are looked for where there are none. Every process
that Tilth starts goes through here.
"""

from __future__ import annotations

import os
import subprocess  # nosec B404
import sys
from pathlib import PurePath, PurePosixPath, PureWindowsPath
from typing import Any, Dict, List, Mapping

_POISON = ("PYTHON", "PIP_", "QGIS_", "PROJ_", "GDAL_", "OGR_", "LD_", "DYLD_")
_POISON_NAMES = ("VIRTUAL_ENV", "__PYVENV_LAUNCHER__", "PROJ_LIB")
_CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
# A user's settings for reaching an index; all other UV_ variables would change what is installed.
_UV_KEPT = (
    "UV_CACHE_DIR",
    "UV_CONFIG_FILE",
    "UV_DEFAULT_INDEX",
    "UV_EXTRA_INDEX_URL",
    "UV_HTTP_",
    "UV_INDEX",
    "UV_INSECURE_HOST",
    "UV_KEYRING_PROVIDER",
    "UV_LINK_MODE",
    "UV_NATIVE_TLS",
    "UV_OFFLINE",
    "UV_PYTHON_INSTALL_",
    "UV_PYTHON_DOWNLOADS_JSON_URL",
    "UV_SYSTEM_CERTS",
)
_SYSTEM_PREFIXES = {PurePosixPath(p) for p in ("/", "/usr", "/usr/local", "/opt")}
# Windows' flags by number: the names exist only there.
_CREATE_NEW_PROCESS_GROUP = 0x00000200
_CREATE_NO_WINDOW = 0x08000000


def child_environment(
    environ: Mapping[str, str], *, platform: str = sys.platform, executable: str = sys.executable
) -> Dict[str, str]:
    """``environ`` without what belongs to QGIS or to the interpreter that we run in."""
    roots = qgis_roots(environ, platform, executable)
    kept = {}
    for name, value in environ.items():
        upper = name.upper()
        if upper.startswith(_POISON) or upper in _POISON_NAMES:
            continue
        if upper.startswith("UV_") and not upper.startswith(_UV_KEPT):
            continue
        if upper in _CERTIFICATES and _inside(value, roots, platform):
            continue
        kept[name] = _without(value, roots, platform) if upper == "PATH" else value
    return kept


def qgis_roots(environ: Mapping[str, str], platform: str, executable: str) -> List[PurePath]:
    """The folders that belong to a bundled QGIS; none where QGIS is part of the system."""
    roots = [_path(environ.get(name, ""), platform) for name in ("OSGEO4W_ROOT", "APPDIR")]
    for name in ("QGIS_PREFIX_PATH", "PYTHONHOME"):
        roots.append(_bundle(_path(environ.get(name, ""), platform)))
    if platform == "darwin":
        roots.append(_bundle(_path(executable, platform), only_bundles=True))
    nowhere = (PurePosixPath("."), PureWindowsPath("."), *_SYSTEM_PREFIXES)
    return [root for root in roots if root not in nowhere]


def spawn_options(platform: str = sys.platform) -> Dict[str, Any]:
    """Popen's keywords: a process group of its own, and on Windows no console window."""
    if platform == "win32":
        return {"creationflags": _CREATE_NO_WINDOW | _CREATE_NEW_PROCESS_GROUP}
    return {"start_new_session": True}


def output_of(command: List[str], timeout: float) -> str:
    """A short command's standard output; empty where it is missing, hangs or fails."""
    try:
        done = subprocess.run(  # nosec B603 # a list of arguments, no shell
            command,
            env=child_environment(os.environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=timeout,
            check=False,
            **spawn_options(),
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else ""


def _path(text: str, platform: str) -> PurePath:
    return PureWindowsPath(text) if platform == "win32" else PurePosixPath(text)


def _bundle(path: PurePath, only_bundles: bool = False) -> PurePath:
    """On macOS the whole ``QGIS.app``, whatever part of it ``path`` names."""
    for parent in (path, *path.parents):
        if parent.suffix == ".app":
            return parent
    return PurePosixPath(".") if only_bundles else path


def _inside(value: str, roots: List[PurePath], platform: str) -> bool:
    path = _path(value, platform)
    return any(path == root or root in path.parents for root in roots)


def _without(value: str, roots: List[PurePath], platform: str) -> str:
    separator = ";" if platform == "win32" else ":"
    return separator.join(
        entry for entry in value.split(separator) if not _inside(entry, roots, platform)
    )
