"""From what a tool or the system said to one line that helps."""

from __future__ import annotations

import errno
import re
import sys
from pathlib import Path
from typing import Dict, List

from .paths import home, log_file

_HINTS = (
    (
        r"No space left|os error 28|os error 112|not enough space",
        "the disk is full: make room, or set TILTH_HOME to a folder on another disk",
    ),
    (
        r"invalid peer certificate|UnknownIssuer|certificate",
        "the server's certificate is not trusted: set SSL_CERT_FILE to your organisation's "
        "certificates",
    ),
    (
        r"hash mismatch|Hash mismatch",
        "a downloaded file is not the one that Tilth knows; something between you and the index "
        "changes files",
    ),
    (
        r"401|403 Forbidden|407|Unauthorized",
        "the package index or the proxy refused access: check the user name and password",
    ),
    (
        r"dns error|Connect|timed out|timeout|Failed to fetch|connection",
        "the package index can't be reached: check the network connection and the proxy",
    ),
    (
        r"No interpreter found|No Python|Failed to download.*python",
        "there is no Python 3.10 to 3.14 here and none could be fetched: install one",
    ),
    (
        r"no wheels|has no usable wheels|only has wheels|platform",
        "a package has no build for this system",
    ),
    (r"ermission denied|os error 5|os error 13", "a folder can't be written to"),
)
_DENIED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST)
_FULL = (errno.ENOSPC, errno.EDQUOT)
RUNTIME_URL = "https://aka.ms/vs/17/release/vc_redist.x64.exe"


def refused(error: OSError) -> str:
    """Why something could not be read or written: in a line that helps, else as the system says."""
    return disk(error) or str(error)


def disk(error: OSError) -> str:
    """Why something could not be read or written, and what to do; empty where that is not it."""
    path = Path(error.filename or home())
    ours = home() == path or home() in path.parents or path in home().parents
    elsewhere = ", or set TILTH_HOME to a folder {}" if ours else ""
    if error.errno in _FULL:
        return f"The disk of {path} is full: make room" + elsewhere.format("on another disk") + "."
    if error.errno in _DENIED:
        return (
            f"{path} can't be used ({error.strerror}): check whose it is and who may write there"
            f"{elsewhere.format('of your own')}."
        )
    return ""


def uv_failed(what: str, lines: List[str]) -> str:
    """Why uv failed: a known cause, else its own error."""
    text = "\n".join(lines)
    for pattern, hint in _HINTS:
        if re.search(pattern, text):
            return f"{what}: {hint}. (Log: {log_file()})"
    errors = [line.strip() for line in lines if re.match(r"\s*(error|cause|×|╰)", line)]
    shown = " ".join(errors or lines[-1:])[:300] or "uv said nothing"
    return f"{what}: {shown} (Log: {log_file()})"


def imports(failed: Dict[str, str], platform: str = sys.platform) -> str:
    """Why the new environment does not work."""
    name, reason = next(iter(failed.items()))
    if platform == "win32" and re.search(r"WinError (126|127|1114)|DLL load failed", reason):
        return (
            f"{name} could not be loaded: Windows lacks the Microsoft Visual C++ runtime. Install "
            f"{RUNTIME_URL}, then try again."
        )
    return (
        f"The new environment does not work: {name}: {reason.splitlines()[0]} (Log: {log_file()})"
    )


def broken(code: int, target: Path) -> str:
    """The check itself ended without a result."""
    killed = " (killed, most likely out of memory)" if code in (-9, 137) else ""
    return (
        f"The new environment at {target} could not be checked: exit code {code}{killed}. "
        f"(Log: {log_file()})"
    )
