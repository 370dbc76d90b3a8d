"""The options of the Train page: filled from what the engine knows, read into a job."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, List, Tuple

from qgis.gui import QgsFileWidget
from qgis.PyQt.QtCore import QObject, Qt, pyqtSignal
from qgis.PyQt.QtWidgets import QComboBox

from ..engine.jobs import TrainJob
from ..engine.method_list import BASELINES
from ..environment.paths import home
from . import method_choice, settings
from .backbone_choice import BackboneChoice
from .session import Session

SUFFIX = ".tilth"
DEFAULT_MINUTES = 3.0
DEFAULT_EPOCHS = 40


class TrainOptions(QObject):
    """Reads and fills the widgets of the page that it is given."""

    changed = pyqtSignal()

    def __init__(self, page: Any, session: Session) -> None:
        super().__init__(page)
        self._page = page
        self._session = session
        self._named = False
        self.backbone = BackboneChoice(page, session)
        self._fill_fixed()
        self._restore()
        self._connect()
        self.show_description()

    def job(self) -> TrainJob:
        """The options as a job that has neither images nor labels yet. Raises TilthError."""
        page = self._page
        if page.methodCombo.currentData() not in BASELINES:
            self.backbone.check()
        out = self.out_file()
        by_minutes = page.minutesRadio.isChecked()
        return TrainJob(
            images=[],
            out=str(out),
            report=str(out.with_suffix(".html")),
            name=self.name(),
            backbone=self.backbone.current,
            method=page.methodCombo.currentData(),
            decoder=page.decoderCombo.currentData(),
            minutes=page.minutesSpin.value() if by_minutes else None,
            epochs=None if by_minutes else page.epochsSpin.value(),
            split=page.splitCombo.currentData(),
            device=page.deviceCombo.currentData() or "auto",
            seed=page.seedSpin.value(),
            batch=page.batchSpin.value(),
            precision=page.precisionCombo.currentData() or "auto",
            checkpointing=page.checkpointingCheck.isChecked(),
        )

    def choose_method(self, method: str) -> None:
        """Select a method or baseline."""
        _select(self._page.methodCombo, method)

    def name(self) -> str:
        """What the adapter is called."""
        return self._page.nameEdit.text().strip() or self.tr("My adapter")

    def out_file(self) -> Path:
        """The file to write: the user's, else one in the library; never one that exists."""
        chosen = self._page.fileWidget.filePath().strip()
        if chosen:
            path = Path(chosen).expanduser()
            return path if path.suffix.lower() == SUFFIX else Path(str(path) + SUFFIX)
        return free_file(home() / "adapters", self.name())

    def suggest_name(self, name: str) -> None:
        """A name for the adapter, until the user has typed one."""
        if not self._named and name:
            self._page.nameEdit.setText(name)

    def keep(self) -> None:
        """Remember the choices for the next time."""
        page = self._page
        settings.keep("train/minutes", page.minutesSpin.value())
        settings.keep("train/epochs", page.epochsSpin.value())
        settings.keep("train/by_minutes", page.minutesRadio.isChecked())
        settings.keep("train/seed", page.seedSpin.value())
        settings.keep("train/batch", page.batchSpin.value())
        settings.keep("train/checkpointing", page.checkpointingCheck.isChecked())
        self.backbone.keep()
        for key, combo in self._combos():
            settings.keep(key, combo.currentData())

    def show_description(self) -> None:
        """Fill in what the engine told: backbones and devices."""
        self.backbone.refresh()
        self._fill_devices()

    def _combos(self) -> List[Tuple[str, QComboBox]]:
        page = self._page
        return [
            ("train/method", page.methodCombo),
            ("train/decoder", page.decoderCombo),
            ("train/split", page.splitCombo),
            ("train/device", page.deviceCombo),
            ("train/precision", page.precisionCombo),
        ]

    def _fill_fixed(self) -> None:
        page = self._page
        method_choice.fill(page.methodCombo)
        _refill(
            page.decoderCombo,
            [
                (self.tr("Detailed and small"), "slim"),
                (self.tr("U-Net"), "unet"),
                (self.tr("UperNet"), "upernet"),
                (self.tr("FCN"), "fcn"),
                (self.tr("Plain (linear)"), "linear"),
            ],
        )
        _refill(
            page.precisionCombo,
            [
                (self.tr("Automatic"), "auto"),
                (self.tr("32 bits"), "float32"),
                (self.tr("16 bits"), "bfloat16"),
                (self.tr("8 bits"), "int8"),
                (self.tr("4 bits"), "nf4"),
            ],
        )
        _refill(
            page.splitCombo,
            [
                (self.tr("held-out polygons"), "polygons"),
                (self.tr("held-out blocks of the image"), "blocks"),
                (self.tr("nothing: train on all labels"), "none"),
            ],
        )
        page.fileWidget.setStorageMode(QgsFileWidget.StorageMode.SaveFile)
        page.fileWidget.setFilter(self.tr("Tilth adapters") + " (*.tilth)")
        page.fileWidget.setDialogTitle(self.tr("Save the adapter"))
        page.fileWidget.setConfirmOverwrite(True)

    def _restore(self) -> None:
        page = self._page
        page.minutesSpin.setValue(settings.number("train/minutes", DEFAULT_MINUTES))
        page.epochsSpin.setValue(int(settings.number("train/epochs", DEFAULT_EPOCHS)))
        page.seedSpin.setValue(int(settings.number("train/seed", 0)))
        page.batchSpin.setValue(int(settings.number("train/batch", 0)))
        page.checkpointingCheck.setChecked(settings.flag("train/checkpointing", False))
        by_minutes = settings.flag("train/by_minutes", True)
        page.minutesRadio.setChecked(by_minutes)
        page.epochsRadio.setChecked(not by_minutes)
        page.advancedGroup.setCollapsed(True)
        for key, combo in self._combos():
            _select(combo, settings.text(key))
        self._show_method()
        self._show_time()
        self._show_file()

    def _connect(self) -> None:
        page = self._page
        for _key, combo in self._combos():
            combo.currentIndexChanged.connect(self._emit)
        page.methodCombo.currentIndexChanged.connect(self._show_method)
        self.backbone.changed.connect(self._emit)
        page.minutesRadio.toggled.connect(self._show_time)
        for spin in (page.minutesSpin, page.epochsSpin, page.seedSpin, page.batchSpin):
            spin.valueChanged.connect(self._emit)
        page.checkpointingCheck.toggled.connect(self._emit)
        page.nameEdit.textEdited.connect(self._take_name)
        page.nameEdit.textChanged.connect(self._show_file)
        page.fileWidget.fileChanged.connect(self._show_file)

    def _emit(self, *_: object) -> None:
        self.changed.emit()

    def _take_name(self, text: str) -> None:
        self._named = bool(text.strip())

    def _show_file(self, *_: object) -> None:
        line = self._page.fileWidget.lineEdit()
        line.setPlaceholderText(self.tr("[the adapter library]"))
        self._page.fileWidget.setToolTip(str(self.out_file()))

    def _show_method(self, *_: object) -> None:
        method_choice.explain(self._page.methodCombo)

    def _show_time(self, *_: object) -> None:
        by_minutes = self._page.minutesRadio.isChecked()
        self._page.minutesSpin.setVisible(by_minutes)
        self._page.epochsSpin.setVisible(not by_minutes)
        self.changed.emit()

    def _fill_devices(self) -> None:
        combo = self._page.deviceCombo
        devices = self._session.devices()
        usable = {str(device["id"]): str(device["label"]) for device in devices}
        best = usable.get(str(self._session.description.get("default_device")), "")
        automatic = self.tr("Automatic") + (f": {best}" if best else "")
        supported = [device for device in devices if device.get("supported")]
        entries = [(str(device["label"]), str(device["id"])) for device in supported]
        _refill(combo, [(automatic, "auto"), *entries])
        _select(combo, settings.text("train/device", "auto"))
        for device in devices:
            if not device.get("supported"):
                combo.addItem(f"{device['label']} ({self.tr('not supported')})", None)
                item = combo.model().item(combo.count() - 1)
                item.setEnabled(False)
                item.setToolTip(str(device.get("reason") or ""))


def free_file(folder: Path, name: str) -> Path:
    """A file for an adapter of this name that does not exist yet."""
    stem = re.sub(r'[<>:"/\\|?*\x00-\x1f]+', "_", name).strip(" .") or "adapter"
    path, number = folder / (stem + SUFFIX), 2
    while path.exists():
        path, number = folder / f"{stem}_{number}{SUFFIX}", number + 1
    return path


def _refill(combo: QComboBox, entries: List[Tuple[str, str]]) -> None:
    before = combo.currentData()
    combo.blockSignals(True)
    combo.clear()
    for text, data in entries:
        combo.addItem(text, data)
        combo.setItemData(combo.count() - 1, text, Qt.ItemDataRole.ToolTipRole)
    combo.blockSignals(False)
    if before is not None:
        _select(combo, before)


def _select(combo: QComboBox, data: Any) -> None:
    index = combo.findData(data)
    if data and index >= 0:
        combo.setCurrentIndex(index)
