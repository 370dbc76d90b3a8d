"""The adapters that are known here: those in the library's folder, and files that were loaded."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

from qgis.PyQt.QtCore import QObject, pyqtSignal

from ..engine.jobs import InspectJob
from ..environment.paths import home
from ..tasks.base import BaseTask
from ..tasks.job import JobTask
from . import settings
from .session import Session

LOADED = "adapters/loaded"


@dataclass
class Adapter:
    """A file with what its inspection said; ``card`` is empty until then.

    ``fault`` is the file's own, ``trouble`` is what kept it from being read for now.
    """

    path: Path
    card: Dict[str, Any] = field(default_factory=dict)
    size: int = 0
    fault: str = ""
    trouble: str = ""
    stamp: float = 0.0

    @property
    def name(self) -> str:
        """What people call it."""
        return str(self.card.get("name") or self.path.stem)


class LookTask(BaseTask):
    """Looks which of some files there are, and of what date."""

    def __init__(self, paths: Sequence[Path]) -> None:
        super().__init__("Looking for adapters")
        self._paths = paths

    def work(self) -> object:
        """In the thread."""
        return {path: _stamp(path) for path in self._paths}


class Library(QObject):
    """Inspects adapters in the background, one after the other, and remembers their cards."""

    changed = pyqtSignal()

    def __init__(self, session: Session, parent: Optional[QObject] = None) -> None:
        super().__init__(parent)
        self._session = session
        self._known: Dict[Path, Adapter] = {}
        self._task: Optional[JobTask] = None
        self._closed = False
        session.adapters_changed.connect(self.refresh)
        session.described.connect(self._inspect_all)
        self.refresh()

    @property
    def folder(self) -> Path:
        """Where trained adapters go."""
        return home() / "adapters"

    def adapters(self) -> List[Adapter]:
        """All that are known, the newest first."""
        return sorted(self._known.values(), key=lambda adapter: -adapter.stamp)

    def find(self, path: str) -> Optional[Adapter]:
        """The adapter in this file."""
        return self._known.get(Path(path)) if path else None

    def titles(self) -> Dict[Path, str]:
        """What to call each one in a list: where several have one name, with the file's date."""
        known = self.adapters()
        names = [adapter.name for adapter in known]
        return {
            adapter.path: adapter.name
            if names.count(adapter.name) == 1
            else f"{adapter.name} ({_date(adapter.stamp)})"
            for adapter in known
        }

    def owns(self, adapter: Adapter) -> bool:
        """Whether the file lies in the library's folder."""
        return adapter.path.parent == self.folder

    def load(self, path: str) -> None:
        """Make a file known."""
        loaded = _loaded()
        if path not in loaded and Path(path).parent != self.folder:
            settings.keep(LOADED, "\n".join([*loaded, path]))
        file = Path(path)
        self._known.pop(file, None)
        stamp = _stamp(file)
        if stamp is not None:
            self._known[file] = Adapter(file, stamp=stamp)
        self._session.adapters_changed.emit()

    def remove(self, adapter: Adapter) -> None:
        """Forget an adapter; one of the library's own is deleted, with its report.

        Raises OSError where it can't be.
        """
        if self.owns(adapter):
            adapter.path.unlink(missing_ok=True)
            adapter.path.with_suffix(".html").unlink(missing_ok=True)
        settings.keep(LOADED, "\n".join(p for p in _loaded() if Path(p) != adapter.path))
        self._session.adapters_changed.emit()

    def refresh(self) -> None:
        """Look which files there are now: those elsewhere in the background, since a drive that
        does not answer would stop QGIS. Until then they are as they were."""
        files = list(self.folder.glob("*.tilth")) if self.folder.is_dir() else []
        elsewhere = [Path(path) for path in _loaded()]
        known = {path: self._known[path].stamp for path in elsewhere if path in self._known}
        self._take({**{path: _stamp(path) for path in files}, **known})
        if elsewhere and not self._closed:
            task = LookTask(elsewhere)
            task.succeeded.connect(self._looked)
            self._session.start(task)

    def shut_down(self) -> None:
        """Inspect nothing more."""
        self._closed = True

    def _looked(self, found: Any) -> None:
        """Take what a look came to, but for what was taken off the list meanwhile."""
        known = {path: adapter.stamp for path, adapter in self._known.items()}
        listed = [Path(path) for path in _loaded()]
        stamps = {**known, **{path: found[path] for path in listed if path in found}}
        if {path: stamp for path, stamp in stamps.items() if stamp is not None} != known:
            self._take(stamps)

    def _take(self, stamps: Dict[Path, Optional[float]]) -> None:
        """These are the files, with their dates; None where there is none."""
        before, self._known = self._known, {}
        for path, stamp in stamps.items():
            known = before.get(path)
            if known is not None and known.stamp == stamp:
                self._known[path] = known
            elif stamp is not None:
                self._known[path] = Adapter(path, stamp=stamp)
        self.changed.emit()
        self._inspect_all()

    def _inspect_all(self) -> None:
        """Also those that could not be read before."""
        for adapter in self._known.values():
            adapter.trouble = ""
        self._inspect_next()

    def _inspect_next(self) -> None:
        if self._closed or self._task is not None or not self._session.description:
            return
        waiting = [a for a in self.adapters() if not (a.card or a.fault or a.trouble)]
        if not waiting:
            return
        adapter = waiting[0]
        job = InspectJob(str(adapter.path))
        task = JobTask(f"Reading {adapter.path.name}", self._session.pool, job)
        task.succeeded.connect(lambda result, mine=adapter: self._inspected(mine, result))
        task.failed.connect(lambda kind, text, _log, mine=adapter: self._failed(mine, kind, text))
        task.ended.connect(self._ended)
        self._task = task
        self._session.start(task)

    def _inspected(self, adapter: Adapter, result: Any) -> None:
        adapter.card = dict(result.get("card") or {})
        adapter.size = int(result.get("size") or 0)
        if not result.get("verified", True):
            adapter.fault = self.tr("The file is damaged: its contents are not what they were.")

    def _failed(self, adapter: Adapter, kind: str, message: str) -> None:
        if kind == "input":
            adapter.fault = message
            return
        # Whoever cancels one, as at unload, wants none of the others now.
        cancelled = kind == "cancelled"
        for other in self._known.values() if cancelled else (adapter,):
            other.trouble = message

    def _ended(self) -> None:
        self._task = None
        self.changed.emit()
        self._inspect_next()


def _loaded() -> List[str]:
    return [line for line in settings.text(LOADED).splitlines() if line]


def _date(stamp: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(stamp))


def _stamp(path: Path) -> Optional[float]:
    try:
        return path.stat().st_mtime
    except OSError:
        return None
