"""The Train page's choice of a backbone: what it needs, whether it is here, and getting it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, Optional

from qgis.core import Qgis
from qgis.PyQt.QtCore import QObject, Qt, pyqtSignal
from qgis.PyQt.QtGui import QStandardItemModel
from qgis.PyQt.QtWidgets import QFileDialog, QInputDialog, QMessageBox

from ..engine.errors import TilthError
from ..tasks import weights
from ..tasks.job import JobTask
from . import backbone_facts, settings
from .backbone_panel import BackbonePanel
from .licence_dialog import LicenceDialog
from .session import Session

KEY = "train/backbone"
EMBEDDED = "embedded"
ANOTHER = "another"


class BackboneChoice(QObject):
    """Drives the page's combo and the panel below it. One thing is fetched at a time."""

    changed = pyqtSignal()

    def __init__(self, page: Any, session: Session) -> None:
        super().__init__(page)
        self._page = page
        self._session = session
        self._combo = page.backboneCombo
        self._wanted = settings.text(KEY, EMBEDDED)
        self.task: Optional[JobTask] = None
        self.panel = BackbonePanel(page)
        page.backboneHolder.addWidget(self.panel)
        self._combo.setMaxVisibleItems(20)
        self._combo.currentIndexChanged.connect(self._chosen)
        self.panel.download_button.clicked.connect(self.download)
        self.panel.file_button.clicked.connect(self.ask_file)
        self.panel.remove_button.clicked.connect(self.ask_remove)
        self.panel.cancel_button.clicked.connect(self.cancel)
        self.refresh()

    @property
    def current(self) -> str:
        """The id of the chosen backbone."""
        return self._wanted

    def to_keep(self) -> Dict[str, Any]:
        """The choice as a setting, for the next time."""
        return {KEY: self._wanted}

    def card(self) -> backbone_facts.Card:
        """What the engine says of the chosen one; empty where it is not known yet."""
        if self._wanted == backbone_facts.NO_BACKBONE:
            return backbone_facts.no_backbone()
        cards = self._session.backbones()
        return next((card for card in cards if card.get("id") == self._wanted), {})

    def check_runs(self) -> None:
        """Raise TilthError where this Tilth can't run the chosen backbone."""
        card = self.card()
        if card and not card.get("runs"):
            title = card.get("title")
            raise TilthError(self.tr("{} is listed only: choose another backbone.").format(title))

    @property
    def lacks_weights(self) -> bool:
        """Whether the chosen one needs weights that are not on this computer."""
        card = self.card()
        return bool(card.get("needed") and not card.get("present"))

    def check(self) -> None:
        """Raise TilthError where the chosen backbone can't be trained now."""
        self.check_runs()
        card = self.card()
        title = card.get("title")
        if self.lacks_weights:
            if self.task is not None:
                raise TilthError(self.tr("{} is not here yet.").format(title))
            on_hub = bool(card.get("repository"))
            advice = self.tr("download it first") if on_hub else self.tr("add its file first")
            raise TilthError(self.tr("{} is not on this computer: {}.").format(title, advice))

    def refresh(self) -> None:
        """Show what the engine knows now, with the same choice."""
        cards = self._session.backbones()
        self._combo.blockSignals(True)
        self._combo.clear()
        if cards:
            for heading, group in backbone_facts.grouped(cards):
                self._add_heading(heading)
                for card in group:
                    self._add(card)
            self._combo.insertSeparator(self._combo.count())
            self._combo.addItem(self.tr("Another model of timm…"), ANOTHER)
        else:
            # The engine has not told its titles yet.
            title = (
                self.tr("Tilth embedded (small, any bands)")
                if self._wanted == EMBEDDED
                else self._wanted
            )
            self._combo.addItem(title, self._wanted)
        if self._combo.findData(self._wanted) < 0 and cards:
            self._wanted = EMBEDDED
        self._combo.setCurrentIndex(max(self._combo.findData(self._wanted), 0))
        self._combo.blockSignals(False)
        self._show()

    def choose(self, backbone: str) -> None:
        """Choose the backbone of this id, where the list has it."""
        index = self._combo.findData(backbone)
        if index >= 0:
            self._combo.setCurrentIndex(index)

    def download(self) -> None:
        """Fetch the chosen one's weights, once a licence that binds is accepted."""
        card = self.card()
        if self.task is not None or not card:
            return
        if card.get("binding") and not self._accepted(card):
            return
        pool, title = self._session.pool, str(card["title"])
        self._run(weights.fetching(pool, card["id"], title, bool(card.get("binding"))), card)

    def ask_file(self) -> None:
        """Let the user pick a file with the weights."""
        card = self.card()
        path, _ = QFileDialog.getOpenFileName(
            self._page,
            self.tr("The weights of {}").format(card.get("title")),
            settings.text("backbones/folder"),
            self.tr("Weights") + " (*.safetensors *.pt *.pth *.ckpt *.bin);;"
            + self.tr("All files") + " (*)",
        )  # fmt: skip
        if path:
            settings.keep("backbones/folder", str(Path(path).parent))
            self.add(path)

    def add(self, path: str) -> None:
        """Take the chosen one's weights from this file."""
        card = self.card()
        if self.task is None and card:
            task = weights.adding(self._session.pool, card["id"], str(card["title"]), path)
            self._run(task, card)

    def ask_remove(self) -> None:
        """Remove the chosen one's weights, if the user really wants it."""
        card = self.card()
        question = self.tr(
            "Remove the weights of {title} from this computer ({size})? Adapters that were made"
            " with them can't map until they are downloaded again."
        ).format(title=card.get("title"), size=backbone_facts.size_text(card.get("stored_bytes")))
        answer = QMessageBox.question(self._page, self.tr("Remove the weights"), question)
        if answer == QMessageBox.StandardButton.Yes:
            self.remove()

    def remove(self) -> None:
        """Remove the chosen one's weights."""
        card = self.card()
        if self.task is None and card:
            task = weights.removing(self._session.pool, card["id"], str(card["title"]))
            self._run(task, card)

    def cancel(self) -> None:
        """Stop what is being fetched; what is here already stays for the next time."""
        if self.task is not None:
            self.panel.show_cancelling()
            self.task.cancel()

    def name_another(self, name: str) -> None:
        """Add a model of timm to the list and choose it."""
        backbone = f"timm:{name.strip().replace('timm:', '', 1)}"
        if self.task is not None:
            return
        task = weights.naming(self._session.pool, backbone)
        task.succeeded.connect(lambda result: self._named(backbone, result))
        self._follow(task, backbone)

    def _add_heading(self, text: str) -> None:
        self._combo.addItem(text)
        model = self._combo.model()
        if isinstance(model, QStandardItemModel):
            item = model.item(self._combo.count() - 1)
            item.setFlags(Qt.ItemFlag.NoItemFlags)
            font = item.font()
            font.setBold(True)
            item.setFont(font)

    def _add(self, card: backbone_facts.Card) -> None:
        self._combo.addItem(str(card["title"]), str(card["id"]))
        tip = str(card.get("summary") or "")
        self._combo.setItemData(self._combo.count() - 1, tip, Qt.ItemDataRole.ToolTipRole)

    def _chosen(self, _index: int) -> None:
        backbone = self._combo.currentData()
        if backbone == ANOTHER:
            self._go_back()
            self._ask_name()
            return
        self._wanted = backbone or EMBEDDED
        self._show()
        self.changed.emit()

    def _go_back(self) -> None:
        self._combo.blockSignals(True)
        self._combo.setCurrentIndex(max(self._combo.findData(self._wanted), 0))
        self._combo.blockSignals(False)

    def _ask_name(self) -> None:
        name, taken = QInputDialog.getText(
            self._page,
            self.tr("Another model of timm"),
            self.tr("The model's name in timm, such as vit_small_patch14_dinov2.lvd142m:"),
        )
        if taken and name.strip():
            self.name_another(name)

    def _accepted(self, card: backbone_facts.Card) -> bool:
        dialog = LicenceDialog(card, self._page)
        return bool(dialog.exec() == LicenceDialog.DialogCode.Accepted)

    def _run(self, task: JobTask, card: backbone_facts.Card) -> None:
        task.succeeded.connect(lambda result: self._done(card, result))
        self._follow(task, str(card["title"]))

    def _follow(self, task: JobTask, title: str) -> None:
        self.task = task
        self._page.notice.clear()
        task.progressed.connect(self.panel.show_progress)
        task.noticed.connect(self._noticed)
        task.failed.connect(self._failed)
        task.ended.connect(self._ended)
        self.panel.begin(title)
        self._session.start(task)
        self._show()
        self.changed.emit()

    def _done(self, card: backbone_facts.Card, result: Any) -> None:
        here = "removed" not in result
        title = card.get("title")
        words = self.tr("{} is ready.") if here else self.tr("The weights of {} are removed.")
        self._session.know_backbone(
            str(card["id"]), present=here, stored_bytes=result.get("size", 0)
        )
        self._session.tell(words.format(title), Qgis.MessageLevel.Success)

    def _named(self, backbone: str, result: Any) -> None:
        unknown = (result.get("unknown") or {}).get(backbone)
        if unknown:
            self._session.complain(self._page.notice, "input", unknown, "")
            return
        known = {card.get("id") for card in self._session.backbones()}
        new = result["backbones"][-1]
        if new["id"] not in known:
            self._session.add_backbone(new)
        self._wanted = str(new["id"])
        self.refresh()

    def _noticed(self, level: str, message: str) -> None:
        if level == "warning":
            self._page.notice.show_text(message, Qgis.MessageLevel.Warning)

    def _failed(self, kind: str, message: str, log: str) -> None:
        if kind != "cancelled":
            self._session.complain(self._page.notice, kind, message, log)

    def _ended(self) -> None:
        self.task = None
        self.panel.end()
        self._show()
        self.changed.emit()

    def _show(self) -> None:
        card = self.card()
        self._combo.setToolTip(str(card.get("title") or ""))
        self.panel.show_card(card, busy=self.task is not None)
