"""The window that compares: what to try on the left, what came of it on the right."""

from __future__ import annotations

import dataclasses
from typing import Any, Callable, Dict, Optional

from qgis.core import Qgis
from qgis.PyQt.QtCore import pyqtSignal
from qgis.PyQt.QtWidgets import QDialog, QPushButton, QWidget

from ..engine.compare_job import CompareJob
from ..engine.errors import TilthError
from ..engine.jobs import TrainJob
from . import compare_table, icons, runs, settings
from .backbone_facts import no_backbone
from .choices import LabelChoice
from .compare_add import AddChoice, can_train
from .compare_choices import ChoiceList
from .compare_entry import for_page
from .method_fields import DEFAULTS, OF_METHOD
from .notice import Notice
from .opening import open_file
from .placeholder import Placeholder
from .run_bar import RunBar, time_text
from .session import Session
from .ui_file import load, make_quiet

# A forest is done in less, on any scene.
_FOREST_MINUTES = 0.3


class CompareDialog(QDialog):
    """Trains what is ticked with what the other pages say. ``job`` and ``labels`` ask them."""

    wanted = pyqtSignal(object)
    """The entries of a training that the user wants on the Train page, as a dictionary."""

    def __init__(
        self,
        session: Session,
        job: Callable[[], TrainJob],
        labels: Callable[[], LabelChoice],
        parent: Optional[QWidget] = None,
    ) -> None:
        super().__init__(parent)
        load("compare", self)
        self._session, self._job, self._labels = session, job, labels
        self.outcome: Dict[str, Any] = {}
        self.task: Optional[runs.CompareTask] = None
        self._backbone, self._decoder = "", ""
        self.choices = ChoiceList(self.choiceList, self._title_of)
        self.notice = Notice(self)
        self.noticeHolder.addWidget(self.notice)
        self.bar = RunBar(self)
        compare_table.set_up(self.table)
        self.empty = Placeholder(self.table)
        self._set_looks()
        self._connect()
        self._show_total()
        self._show_buttons()

    def open_for(self, backbone: str, decoder: str) -> None:
        """Show the window. Methods will be tried on this backbone, with this decoder; what is being
        compared, or stands in the table, keeps its own."""
        if not self.bar.busy and not self.table.rowCount():
            self._name(backbone, decoder)
        self.show()
        self.raise_()
        self.activateWindow()

    def start(self) -> None:
        """Compare; or say what is missing."""
        self.notice.clear()
        if not self._session.engine_ready(self.notice) or self._is_starting():
            return
        try:
            if not self.choices.ticked():
                raise TilthError(self.tr("Nothing is ticked: tick what to compare."))
            job, titles = self._compare_job(), self.choices.added_titles()
            task = runs.comparing(self._session.pool, self._labels(), job, titles)
        except TilthError as error:
            self.notice.show_text(str(error), Qgis.MessageLevel.Warning)
            return
        # The window may have been open while the Train page's choice became another.
        self._name(job.train.backbone, job.train.decoder)
        self._keep()
        self.table.setRowCount(0)
        self._run(task)

    def go_on(self) -> None:
        """Train what the comparison that ended early has not got to."""
        if self.task is not None and not self.bar.busy:
            self._run(runs.compared_further(self._session.pool, self.task))

    def add(self) -> None:
        """Ask for one more choice."""
        cards = self._session.backbones()
        dialog = AddChoice(cards, self._backbone, self._decoder, self)
        if dialog.exec():
            self.choices.add(dialog.values())

    def _keep(self) -> None:
        """Remember what is chosen for the next time."""
        settings.keep_all(
            {
                "compare/seeds": self.seedsSpin.value(),
                "compare/minutes": self.minutesSpin.value(),
                **self.choices.to_keep(),
            }
        )

    def _name(self, backbone: str, decoder: str) -> None:
        self._backbone, self._decoder = backbone, decoder
        self.choices.name_backbone(backbone)

    def _is_starting(self) -> bool:
        """Whether the engine has not told yet what it has. Says so."""
        words = self._session.starting()
        if words:
            words = f"{words} {self.tr('Try again in a moment.')}"
            self.notice.show_text(words, Qgis.MessageLevel.Warning)
        return bool(words)

    def _compare_job(self) -> CompareJob:
        """The Train page's training, each method with its usual settings."""
        usual = {name: DEFAULTS[name] for name in OF_METHOD}
        minutes = self.minutesSpin.value()
        train = dataclasses.replace(self._job(), minutes=minutes, epochs=None, **usual)
        choices = self.choices.choices(train.backbone)
        return CompareJob(train, choices, self.seedsSpin.value())

    def _title_of(self, backbone: str) -> str:
        cards = [*self._session.backbones(), no_backbone()]
        found = [str(card["title"]) for card in cards if card.get("id") == backbone]
        return found[0] if found else backbone

    def _set_looks(self) -> None:
        make_quiet(self.introLabel, self.totalLabel)
        self.runButton.setIcon(icons.theme("mActionStart.svg"))
        self.cancelButton.setIcon(icons.theme("mTaskCancel.svg"))
        self.reportButton.setIcon(icons.theme("mIconInfo.svg"))
        self.addButton.setIcon(icons.theme("symbologyAdd.svg"))
        self.removeButton.setIcon(icons.theme("symbologyRemove.svg"))
        self.splitter.setSizes([330, 650])
        # Else Enter in a field would start, or close.
        for button in self.findChildren(QPushButton):
            button.setAutoDefault(False)
        self.seedsSpin.setValue(int(settings.number("compare/seeds", 3)))
        self.minutesSpin.setValue(settings.number("compare/minutes", 1.0))

    def _connect(self) -> None:
        self.runButton.clicked.connect(self.start)
        self.closeButton.clicked.connect(self.close)
        self.useButton.clicked.connect(self._use)
        self.reportButton.clicked.connect(lambda: open_file(self._report()))
        self.addButton.clicked.connect(self.add)
        self.removeButton.clicked.connect(self.choices.remove_selected)
        self.choiceList.itemSelectionChanged.connect(self._show_buttons)
        self.choices.changed.connect(self._show_total)
        self._session.described.connect(self._show_buttons)
        self.seedsSpin.valueChanged.connect(self._show_total)
        self.minutesSpin.valueChanged.connect(self._show_total)
        self.table.itemSelectionChanged.connect(self._show_buttons)
        self.table.itemDoubleClicked.connect(lambda _item: self._use())
        self.bar.ended.connect(self._show_buttons)

    def _show_total(self, *_: object) -> None:
        seeds, each = self.seedsSpin.value(), self.minutesSpin.value()
        ticked = self.choices.trainings()
        minutes = sum(each if slow else min(each, _FOREST_MINUTES) for slow in ticked)
        self.totalLabel.setText(
            self.tr("{} trainings, about {} in all").format(
                len(ticked) * seeds, time_text(60 * seeds * minutes)
            )
            if ticked
            else self.tr("Nothing is ticked.")
        )

    def _show_buttons(self) -> None:
        self.useButton.setEnabled(bool(compare_table.selected(self.table)))
        self.reportButton.setEnabled(self.table.rowCount() > 0)
        for widget in (self.choiceList, self.seedsSpin, self.minutesSpin):
            widget.setEnabled(not self.bar.busy)
        self.empty.setText(
            self.tr("A choice comes in here once it has been trained for the first time.")
            if self.bar.busy
            else self.tr(
                "Nothing has been compared yet. Tick choices and press Compare: their scores,"
                " times and sizes stand here, the best first."
            )
        )
        able = any(map(can_train, self._session.backbones()))
        self.addButton.setEnabled(able and not self.bar.busy)
        self.removeButton.setEnabled(self.choices.can_remove() and not self.bar.busy)

    def _run(self, task: runs.CompareTask) -> None:
        self.task = task
        self.notice.follow(task)
        self.bar.follow(task)
        task.compared.connect(self._compared)
        task.succeeded.connect(self._succeeded)
        task.failed.connect(self._failed)
        self._show_buttons()
        self._session.start(task)

    def _compared(self, choices: Any) -> None:
        compare_table.show(self.table, choices, self.choices.title_of)
        self._show_buttons()

    def _succeeded(self, result: Any) -> None:
        self.outcome = dict(result)
        self._compared(self.outcome.get("choices") or [])
        self._session.tell(self.tr("The comparison is done."), Qgis.MessageLevel.Success)

    def _failed(self, kind: str, message: str, log: str) -> None:
        if self.table.rowCount():
            words = self.tr("Cancelled.") if kind == "cancelled" else message
            words += " " + self.tr("What is in the table is kept.")
            level = Qgis.MessageLevel.Info if kind == "cancelled" else Qgis.MessageLevel.Critical
            self.notice.show_text(words, level, self.tr("Go on"), self.go_on)
        elif kind == "cancelled":
            self.notice.show_text(self.tr("Cancelled."), Qgis.MessageLevel.Info)
        else:
            self._session.complain(self.notice, kind, message, log)

    def _use(self) -> None:
        name = compare_table.selected(self.table)
        if name and self.task is not None:
            self.wanted.emit(for_page(self.choices.values_of(name), self.task.job.train))
            self.close()

    def _report(self) -> str:
        return self.task.job.report if self.task is not None else ""
