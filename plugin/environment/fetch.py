"""Downloads outside QGIS. (Inside, the caller gives one that uses QgsNetworkAccessManager.)"""

from __future__ import annotations

import base64
import shutil
import urllib.request
from pathlib import Path
from urllib.parse import unquote, urlsplit

TIMEOUT_SECONDS = 30


def fetch(url: str, path: Path) -> None:
    """Download ``url`` to ``path``. Raises OSError."""
    parts = urlsplit(url)
    if parts.scheme not in ("https", "http", "file"):
        raise OSError(f"{parts.scheme}: is no address to download from")
    request = urllib.request.Request(
        parts._replace(netloc=parts.netloc.rsplit("@", 1)[-1]).geturl()
    )
    if parts.username:
        credentials = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        token = base64.b64encode(credentials.encode("utf-8")).decode("ascii")
        request.add_unredirected_header("Authorization", f"Basic {token}")
    with (
        urllib.request.urlopen(  # nosec B310 # the scheme was checked above
            request, timeout=TIMEOUT_SECONDS
        ) as answer,
        path.open("wb") as file,
    ):
        shutil.copyfileobj(answer, file)
