"""Which package index to use, and where a file lies on it.

PyPI, unless the user's settings for uv or pip name another: companies have mirrors, and often
nothing else can be reached.
"""

from __future__ import annotations

import configparser
import os
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import List, Mapping, Optional, Tuple
from urllib.parse import urldefrag, urljoin, urlsplit

PYPI = "https://pypi.org/simple"


def index_url(environ: Mapping[str, str], platform: str = sys.platform) -> str:
    """The user's package index: uv's variables before pip's, variables before files."""
    for name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL"):
        value = environ.get(name, "").strip()
        if value:
            return _without_name(value)
    return pip_setting("index-url", environ, platform) or PYPI


def certificate_bundle(environ: Mapping[str, str], platform: str = sys.platform) -> str:
    """The certificates that the user told pip about (they would be lost with PIP_*), or ''."""
    value = environ.get("PIP_CERT", "").strip() or pip_setting("cert", environ, platform)
    return value if value and Path(value).is_file() else ""


def pip_setting(key: str, environ: Mapping[str, str], platform: str = sys.platform) -> str:
    """A setting from pip's configuration files; the later file and [install] win."""
    found = ""
    for path in pip_files(environ, platform):
        parser = configparser.RawConfigParser()
        try:
            parser.read(path, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError, OSError):
            continue  # pip itself will complain about it; we can do without
        for section in ("global", "install"):
            found = parser.get(section, key, fallback="").strip() or found
    return found


def pip_files(environ: Mapping[str, str], platform: str = sys.platform) -> List[Path]:
    """Where pip looks for its configuration, weakest first."""
    chosen = environ.get("PIP_CONFIG_FILE", "")
    if chosen == os.devnull:
        return []
    user = Path(environ.get("USERPROFILE") or environ.get("HOME") or Path.home())
    if platform == "win32":
        files = [
            Path(environ.get("PROGRAMDATA") or r"C:\ProgramData") / "pip" / "pip.ini",
            user / "pip" / "pip.ini",
            Path(environ.get("APPDATA") or user / "AppData" / "Roaming") / "pip" / "pip.ini",
        ]
    else:
        config = Path(environ.get("XDG_CONFIG_HOME") or user / ".config")
        system = environ.get("XDG_CONFIG_DIRS") or "/etc/xdg"
        files = [Path(folder) / "pip" / "pip.conf" for folder in reversed(system.split(":"))]
        files += [Path("/etc/pip.conf"), user / ".pip" / "pip.conf", config / "pip" / "pip.conf"]
        if platform == "darwin":
            library = Path("Library") / "Application Support" / "pip" / "pip.conf"
            files = [Path("/") / library, *files, user / library]
    return [*files, Path(chosen)] if chosen else files


def find_file(page: str, page_url: str, name: str) -> Optional[str]:
    """The address of the file ``name`` on an index's project page, without its fragment."""
    links = _Links()
    links.feed(page)
    for address, text in links.found:
        plain = urldefrag(urljoin(page_url, address))[0]
        if text == name or plain.rsplit("/", 1)[-1] == name:
            return _with_credentials(plain, page_url)
    return None


def _with_credentials(url: str, page_url: str) -> str:
    """A mirror's user and password go with its files too, as long as the host is the same."""
    page, parts = urlsplit(page_url), urlsplit(url)
    if "@" in page.netloc and "@" not in parts.netloc and page.hostname == parts.hostname:
        credentials = page.netloc.rsplit("@", 1)[0]
        return parts._replace(netloc=f"{credentials}@{parts.netloc}").geturl()
    return url


def _without_name(value: str) -> str:
    """uv allows ``name=https://…``."""
    return re.sub(r"^[\w.-]+=(?=\w+://)", "", value)


class _Links(HTMLParser):
    """All links of a page: their address and their text."""

    def __init__(self) -> None:
        super().__init__()
        self.found: List[Tuple[str, str]] = []
        self._address: Optional[str] = None

    def handle_starttag(self, tag: str, attrs: List[Tuple[str, Optional[str]]]) -> None:
        self._address = dict(attrs).get("href") if tag == "a" else self._address

    def handle_data(self, data: str) -> None:
        if self._address:
            self.found.append((self._address, data.strip()))
            self._address = None
