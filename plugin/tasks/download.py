"""Downloads through QGIS's network access, with its proxy, certificates and authentication."""

from __future__ import annotations

from pathlib import Path
from typing import Callable, List, Optional

from qgis.core import QgsFileDownloader
from qgis.PyQt.QtCore import QEventLoop, QTimer, QUrl

from ..engine.errors import TilthError

_CANCEL_POLL_MS = 100


def fetch(
    url: str,
    path: Path,
    is_cancelled: Optional[Callable[[], bool]] = None,
    on_progress: Optional[Callable[[int, int], None]] = None,
) -> None:
    """Download into a file, from a thread; blocks. Raises TilthError and leaves no half file.

    ``on_progress`` gets the bytes received and the bytes in all (-1: not known).
    """
    problems: List[str] = []
    loop = QEventLoop()
    downloader = QgsFileDownloader(QUrl(url), str(path), "", True)
    downloader.downloadError.connect(problems.extend)
    downloader.downloadCanceled.connect(lambda: problems.append("cancelled"))
    downloader.downloadExited.connect(loop.quit)
    if on_progress is not None:
        downloader.downloadProgress.connect(on_progress)
    timer = QTimer()
    if is_cancelled is not None:
        timer.timeout.connect(lambda: is_cancelled() and downloader.cancelDownload())
        timer.start(_CANCEL_POLL_MS)
    downloader.startDownload()
    loop.exec()
    timer.stop()
    if problems or not path.is_file():
        path.unlink(missing_ok=True)
        reason = "; ".join(problems) or "nothing arrived"
        raise TilthError(
            f"{url} could not be downloaded: {reason}. Check the network and try again"
        )
