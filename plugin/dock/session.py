"""What the pages share: the engine, its workers, what it can do, and the ways to tell the user."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

from qgis.core import Qgis
from qgis.PyQt.QtCore import QObject, QTimer, pyqtSignal

from ..engine.jobs import DescribeJob
from ..environment.paths import home
from ..tasks import registry
from ..tasks.base import BaseTask
from ..tasks.job import JobTask
from ..worker.pool import WorkerPool
from . import settings
from .engine import Engine
from .notice import Notice
from .opening import open_file

TITLE = "Tilth"
NAMED = "backbones/named"


class Session(QObject):
    """One a dock."""

    described = pyqtSignal()
    """What the engine can do is known, or not known any more."""
    adapters_changed = pyqtSignal()
    """An adapter was made, loaded or removed."""

    def __init__(self, iface: Any, parent: Optional[QObject] = None) -> None:
        super().__init__(parent)
        self.iface = iface
        self.engine = Engine(self)
        self.pool = WorkerPool(self.engine.python, home() / "logs")
        self.description: Dict[str, Any] = {}
        self._asking: Optional[BaseTask] = None
        self._messages: List[Tuple[str, Any, int]] = []
        self.engine.told.connect(self.tell)
        self.engine.installed.connect(self.renew)
        self.engine.changed.connect(self._forget_gone)

    def start(self, task: BaseTask) -> None:
        """Run a task in the background."""
        registry.start(task)

    def describe(self) -> None:
        """Ask the engine what it has, once, in the background."""
        if self.description or self._asking is not None or self.engine.state != "ready":
            return
        job = DescribeJob(settings.text(NAMED).split())
        task = JobTask("Starting Tilth's engine", self.pool, job)
        task.succeeded.connect(self._described)
        task.failed.connect(self._not_described)
        task.ended.connect(self._asked)
        self._asking = task
        self.start(task)
        self.described.emit()

    @property
    def asking(self) -> bool:
        """Whether the engine is starting to tell what it has."""
        return self._asking is not None

    def devices(self) -> List[Dict[str, Any]]:
        """The devices that the engine knows."""
        return list(self.description.get("devices") or [])

    def backbones(self) -> List[Dict[str, Any]]:
        """The cards of the backbones that the engine knows."""
        return list(self.description.get("backbones") or [])

    def know_backbone(self, backbone: str, **values: Any) -> None:
        """Something of a backbone is other than the engine told: its weights have come or gone."""
        for card in self.description.get("backbones") or []:
            if card.get("id") == backbone:
                card.update(values)
        self.described.emit()

    def add_backbone(self, card: Dict[str, Any]) -> None:
        """A model that the user has named; it is asked for again at every start."""
        if all(known.get("id") != card["id"] for known in self.backbones()):
            self.description.setdefault("backbones", []).append(card)
            settings.keep(NAMED, " ".join([*settings.text(NAMED).split(), str(card["id"])]))
            self.described.emit()

    def tell(self, message: str, level: Any = Qgis.MessageLevel.Info) -> None:
        """Say something in QGIS's message bar."""
        seconds = 0 if level in (Qgis.MessageLevel.Critical, Qgis.MessageLevel.Warning) else 8
        self._messages.append((message, level, seconds))
        # QGIS tells by itself that a task has ended, without a word why: ours goes on top.
        QTimer.singleShot(0, self._push_messages)

    def complain(self, notice: Notice, kind: str, message: str, log: str) -> None:
        """Say on the page and in the message bar why a job gave no result."""
        level = Qgis.MessageLevel.Warning if kind == "input" else Qgis.MessageLevel.Critical
        action = self.tr("Show the log") if log and Path(log).is_file() else ""
        notice.show_text(message, level, action, lambda: open_file(log))
        self.tell(message, level)

    def engine_ready(self, notice: Notice) -> bool:
        """Whether jobs can run; where not, says so in the message bar and on the page."""
        if self.engine.state == "ready":
            return True
        message = self.tr("Tilth's engine is not installed yet. Size: {}.").format(self.engine.size)
        if self.engine.busy:
            message = self.tr("Tilth's engine is being installed: try again when it is done.")
        elif self.engine.state == "broken":
            message = self.tr("Tilth's engine can't be used: {}").format(self.engine.reason)
        action = "" if self.engine.busy else self.tr("Install")
        notice.show_text(message, Qgis.MessageLevel.Warning, action, self.engine.install)
        self.tell(message, Qgis.MessageLevel.Warning)
        return False

    def starting(self) -> str:
        """What to say while the engine has not told what it has, and nothing once it has.

        Until then lists lack the user's choices. It is asked if nobody has.
        """
        if self.description:
            return ""
        self.describe()
        return self.tr("The engine is still starting.")

    def shut_down(self) -> None:
        """Stop every task and every worker."""
        registry.stop_all(self.pool)

    def _push_messages(self) -> None:
        messages, self._messages = self._messages, []
        for message, level, seconds in messages:
            # The bar takes all texts for HTML; names and paths in them are anyone's.
            html = escape(message, quote=False).replace("\n", "<br>")
            self.iface.messageBar().pushMessage(TITLE, html, level, seconds)

    def _described(self, result: Any) -> None:
        self.description = dict(result)

    def _not_described(self, kind: str, message: str, _log: str) -> None:
        if kind != "cancelled":
            self.engine.mark_broken(message)
            self.tell(message, Qgis.MessageLevel.Critical)

    def _stop_asking(self) -> None:
        """The environment that was asked is another now: what it answers is about itself."""
        task, self._asking = self._asking, None
        if task is not None:
            task.succeeded.disconnect(self._described)
            task.failed.disconnect(self._not_described)
            task.ended.disconnect(self._asked)
            task.cancel()

    def _forget_gone(self) -> None:
        """An engine that was removed runs on nothing, and the next one may be another."""
        if self.description and self.engine.state != "ready":
            self.description = {}
            self.described.emit()

    def _asked(self) -> None:
        self._asking = None
        self.described.emit()

    def renew(self) -> None:
        """The environment is another than before, or may be: ask it again."""
        self._stop_asking()
        self.pool.restart()
        self.description = {}
        self.engine.refresh()
        self.describe()
