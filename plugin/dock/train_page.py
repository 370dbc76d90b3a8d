"""The Train page: what will run, the run itself, and what came of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, Hashable, List, Optional

from qgis.core import Qgis, QgsProject, QgsRasterLayer
from qgis.PyQt.QtCore import pyqtSignal
from qgis.PyQt.QtWidgets import QWidget

from ..engine.errors import TilthError
from ..engine.jobs import TrainJob
from . import icons, out_files, runs, wording
from .band_match import BandMatch
from .brief import Brief
from .chart import LearningChart
from .compare_dialog import CompareDialog
from .image_list import identity
from .in_view import InView
from .labels_page import LabelsPage
from .narrow import Narrow
from .notice import LOOKS, Notice, tint
from .opening import open_file
from .planner import Planner
from .run_bar import RunBar
from .session import Session
from .train_options import TrainOptions
from .ui_file import load, make_quiet


class TrainPage(QWidget):
    """Trains on what the Labels page has chosen."""

    trained = pyqtSignal(str)
    map_wanted = pyqtSignal(str)
    card_wanted = pyqtSignal(str)

    def __init__(
        self, session: Session, labels_page: LabelsPage, parent: Optional[QWidget] = None
    ) -> None:
        super().__init__(parent)
        load("train", self)
        self.session = session
        self.labels_page = labels_page
        self.result: Dict[str, Any] = {}
        self.task: Optional[runs.TrainTask] = None
        self._planned_for: Hashable = None
        self._images: Hashable = ()
        self._trained_on: List[str] = []
        self._trained_stack = False
        self._waiting = False  # for the engine to start, with a training wanted
        self.chart = LearningChart(self)
        self.chartHolder.addWidget(self.chart)
        self.notice = Notice(self)
        self.noticeHolder.addWidget(self.notice)
        self.result_warnings = Notice(self, closable=False)
        self.outcomeLayout.addWidget(self.result_warnings)
        self.bands = BandMatch(self)
        self.bandsHolder.addWidget(self.bands)
        self.options = TrainOptions(self, session)
        self.bar = RunBar(self)
        self.comparison = CompareDialog(session, self._job, labels_page.choice, self)
        self.plan = Brief(self.planLabel)
        self.planner = Planner(session, self._plan_task, self)
        self.view = InView(self.scroll)
        self.resultButtons.addStretch(1)
        self.narrow = Narrow(self.scroll, [self.modelForm, self.advancedForm], [self.resultButtons])
        self._set_looks()
        self._connect()

    def choices_changed(self) -> None:
        """Something was chosen here or on the Labels page, or the page came into view."""
        layer = self.labels_page.choice().layer
        self.options.suggest_name(layer.name() if layer is not None else "")
        seen = self.isVisible() or self.labels_page.isVisible()
        if seen and not self.bar.busy:
            self.planner.ask()
        else:
            self.planner.forget()

    def train(self) -> None:
        """Start; or say what is missing."""
        self.planner.stop()
        self.notice.clear()
        self._give_up_resuming()
        self._waiting = False
        if not self.session.engine_ready(self.notice) or not self._described_yet():
            return
        choice = self.labels_page.choice()
        try:
            self.options.check_weights()
            task = runs.training(self.session.pool, choice, self._job())
        except TilthError as error:
            self._say(str(error), Qgis.MessageLevel.Warning)
            return
        self.options.keep()
        self._trained_on = [layer.id() for layer in choice.images]
        self._trained_stack = choice.stack
        self._run(task)

    def _give_up_resuming(self) -> None:
        """The run that died won't go on: its name is free again."""
        if self.task is not None and not self.bar.busy:
            out_files.release_adapter(Path(self.task.job.out))
            self.task = None

    def resume(self) -> None:
        """Go on from the last checkpoint of the run that died."""
        if self.task is not None and not self.bar.busy:
            self._run(runs.resumed(self.session.pool, self.task))

    def trained_on(self) -> List[QgsRasterLayer]:
        """The images of the last training that are still in the project: several are a stack."""
        found = map(QgsProject.instance().mapLayer, self._trained_on)
        layers = [layer for layer in found if layer is not None]
        return layers if self._trained_stack else layers[:1]

    def shut_down(self) -> None:
        """Stop planning; tasks are stopped by the session."""
        self.planner.stop()
        # A training that is stopped ends later, and no plan is wanted then.
        self.bar.blockSignals(True)

    def showEvent(self, event: Any) -> None:  # noqa: N802 (Qt's name)
        super().showEvent(event)
        if not self.bar.busy:
            self.planner.ask_if_stale()

    def _set_looks(self) -> None:
        make_quiet(self.planLabel)
        self.runButton.setIcon(icons.theme("mActionStart.svg"))
        self.cancelButton.setIcon(icons.theme("mTaskCancel.svg"))
        self.mapNowButton.setIcon(icons.theme("mIconRaster.svg"))
        self.reportButton.setIcon(icons.theme("mIconInfo.svg"))
        self.learningGroup.hide()
        self.outcome.hide()
        self.planLabel.hide()

    def _connect(self) -> None:
        self.session.engine.installed.connect(self.notice.clear)
        self.runButton.clicked.connect(self.train)
        self.compareButton.clicked.connect(self._compare)
        self.comparison.wanted.connect(self.options.choose)
        self.bar.ended.connect(self._run_ended)
        self.mapNowButton.clicked.connect(lambda: self.map_wanted.emit(self.result["adapter"]))
        self.cardButton.clicked.connect(lambda: self.card_wanted.emit(self.result["adapter"]))
        self.reportButton.clicked.connect(lambda: open_file(self.result["report"]))
        self.options.changed.connect(self.choices_changed)
        self.bands.changed.connect(self.choices_changed)
        self.labels_page.changed.connect(self._labels_changed)
        self.session.described.connect(self._described)
        self.planner.planned.connect(self._planned)
        self.planner.refused.connect(self._refused)
        self.planner.incomplete.connect(self._show_plan)
        self.planner.looking.connect(lambda: self._show_plan(self.tr("Looking at the labels…")))

    def _compare(self) -> None:
        options = self.options
        self.comparison.open_for(options.backbone.current, str(self.decoderCombo.currentData()))

    def _labels_changed(self) -> None:
        choice = self.labels_page.choice()
        images = identity(choice.images)
        if images != self._images:
            self._images = images
            self.options.forget_dates()
        self.choices_changed()

    def _described_yet(self) -> bool:
        """Whether the options are the engine's; where not, says so and waits."""
        words = self.session.starting()
        if words:
            self._waiting = True
            self._say(f"{words} {self.tr('The training begins then.')}", Qgis.MessageLevel.Info)
        return not words

    def _described(self) -> None:
        self.options.show_description()
        self.choices_changed()
        waiting, self._waiting = self._waiting, False
        if waiting and self.session.description:
            self.train()
        elif waiting:
            # It failed, which the panel says: no training begins.
            self.notice.clear()

    def _plan_task(self) -> Any:
        choice = self.labels_page.choice()
        self._planned_for = self._subject()
        return runs.planning(self.session.pool, choice, self._job())

    def _job(self) -> TrainJob:
        job = self.options.job()
        job.matching = self.bands.matching(self._subject())
        return job

    def _subject(self) -> Hashable:
        """What a match of bands is about: the backbone, and the images."""
        choice = self.labels_page.choice()
        return self.options.backbone.current, identity(choice.images), choice.stack

    def _planned(self, plan: Any) -> None:
        text, brief = str(plan.get("text") or ""), str(plan.get("brief") or "")
        self._show_plan(text, brief, self._to_do())
        self.options.fields.show_plan(plan)
        self.bands.show_plan(plan, self._planned_for)
        # That weights are missing is said here, with what to do about it here.
        about = f"backbone {self.options.backbone.current!r}:"
        told = [text for text in plan.get("warnings") or [] if not str(text).startswith(about)]
        self.labels_page.show_plan({**plan, "warnings": told})

    def _to_do(self) -> str:
        """What is to be done before the plan can run."""
        try:
            self.options.check_weights()
        except TilthError as error:
            return str(error)
        return ""

    def _refused(self, message: str) -> None:
        self._show_plan(message)
        choice = self.labels_page.choice()
        images = choice.images if choice.stack else choice.images[:1]
        self.bands.show_refusal(message, self._planned_for, images, self.options.backbone.card())
        self.labels_page.show_refusal(message)

    def _show_plan(self, text: str, brief: str = "", also: str = "") -> None:
        if self.view.holds(self.outcome):
            # The plan takes room below: the result stays in view all the same.
            self.view.bring(self.outcome)
        self.plan.show_text(text, brief, also)
        self.planLabel.setVisible(bool(text) and not self.bar.busy)

    def _run(self, task: runs.TrainTask) -> None:
        # The plan goes out of sight: it is made again when the run has ended.
        self.planner.forget()
        self.task = task
        self.notice.follow(task)
        self.chart.clear()
        self.outcome.hide()
        self.planLabel.hide()
        self.bands.hide()
        self.learningGroup.show()
        self.bar.follow(task)
        self.compareButton.hide()
        task.measured.connect(self._measured)
        task.succeeded.connect(self._succeeded)
        task.failed.connect(self._failed)
        self.session.start(task)
        self.view.bring(self.learningGroup)

    def _run_ended(self) -> None:
        self.compareButton.show()
        if self.isVisible():
            self.planner.ask_if_stale()

    def _measured(self, epoch: int, epochs: int, values: Any) -> None:
        self.chart.add(epoch, epochs, values)

    def _succeeded(self, result: Any) -> None:
        self.result = dict(result)
        self.task = None
        self.labels_page.show_colours((self.result.get("card") or {}).get("classes") or [])
        told = [str(text) for text in self.result.get("warnings") or []]
        self.notice.show_warnings([w for w in self.notice.heard if w not in told])
        self.result_warnings.show_warnings(told)
        name = wording.adapter_name(self.result)
        self.resultLabel.setText(wording.trained(self.result))
        self.reportButton.setVisible(bool(self.result.get("report")))
        self.narrow.fit()
        tint(self.resultFrame, LOOKS[Qgis.MessageLevel.Success][1])
        self.outcome.show()
        self.view.bring(self.outcome)
        self.trained.emit(self.result["adapter"])
        self.session.tell(
            self.tr("The adapter “{}” is trained.").format(name), Qgis.MessageLevel.Success
        )

    def _failed(self, kind: str, message: str, log: str) -> None:
        if kind == "cancelled":
            self.task = None
            self.notice.show_text(self.tr("Cancelled."), Qgis.MessageLevel.Info)
            return
        if self.task is not None and self.task.can_resume():
            self._offer_resume(message)
            return
        self.task = None
        self.session.complain(self.notice, kind, message, log)

    def _offer_resume(self, message: str) -> None:
        words = message + "\n" + self.tr("Resume goes on from the last finished epoch.")
        level = Qgis.MessageLevel.Critical
        self.notice.show_text(words, level, self.tr("Resume"), self.resume)
        self.session.tell(message, level)

    def _say(self, message: str, level: Any) -> None:
        self.planLabel.hide()
        self.notice.show_text(message, level)
        self.session.tell(message, level)
