"""The task that makes the engine's Python environment."""

from __future__ import annotations

from pathlib import Path
from typing import Callable, Optional
from urllib.parse import quote

from qgis.core import QgsNetworkAccessManager
from qgis.PyQt.QtNetwork import QNetworkProxy

from ..engine.errors import TilthError
from ..environment.create import create as create_environment
from ..environment.faults import EnvironmentCancelled, EnvironmentError_
from ..worker.faults import WorkerError
from .base import BaseTask
from .download import fetch


class EnvironmentTask(BaseTask):
    """Makes the environment in a folder; ``succeeded`` gives the folder."""

    def __init__(self, target: Path, create: Callable[..., None] = create_environment) -> None:
        """To be made in the main thread, where QGIS's proxy is read."""
        super().__init__("Installing Tilth's engine")
        self._target = Path(target)
        self._create = create
        self._proxy = proxy_url(QgsNetworkAccessManager.instance().fallbackProxy())

    def work(self) -> object:
        """In the thread: download, install, verify."""
        try:
            self._create(
                self._target,
                fetch=self._fetch,
                on_progress=self.tell,
                is_cancelled=self.isCanceled,
                proxy=self._proxy,
            )
        except EnvironmentError_ as error:
            stopped = isinstance(error, EnvironmentCancelled) or not self.wanted()
            raise WorkerError("cancelled" if stopped else "environment", str(error)) from error
        return self._target

    def _fetch(self, url: str, path: Path) -> None:
        try:
            fetch(url, Path(path), self.isCanceled)
        except TilthError as error:
            raise EnvironmentError_(str(error)) from error


def proxy_url(proxy: Optional[QNetworkProxy]) -> str:
    """A proxy as programs outside Qt take it, such as ``http://host:8080``."""
    if proxy is None or not proxy.hostName():
        return ""
    kinds = {
        QNetworkProxy.ProxyType.HttpProxy: "http",
        QNetworkProxy.ProxyType.HttpCachingProxy: "http",
        QNetworkProxy.ProxyType.Socks5Proxy: "socks5",
    }
    scheme = kinds.get(proxy.type())
    if scheme is None:
        return ""
    user = quote(proxy.user(), safe="")
    word = quote(proxy.password(), safe="")
    login = ":".join(part for part in (user, word) if part)
    port = f":{proxy.port()}" if proxy.port() else ""
    return f"{scheme}://{login}{'@' if login else ''}{proxy.hostName()}{port}"
