"""The options of the Train page: filled from what the engine knows, read into a job."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Dict, List, Tuple

from qgis.gui import QgsFileWidget
from qgis.PyQt.QtCore import QObject, Qt, pyqtSignal
from qgis.PyQt.QtWidgets import QComboBox

from ..engine.jobs import FORESTS, NO_BACKBONE, SPLITS, TrainJob
from ..engine.method_list import BASELINES, METHODS
from ..environment.paths import home
from . import dates, method_choice, out_files, settings, tips
from .backbone_choice import BackboneChoice
from .form_rows import FormRows
from .method_fields import DEFAULTS, OF_METHOD, MethodFields
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
        self.fields = MethodFields(page.advancedForm, page.methodCombo, page.decoderCombo)
        self._rows = FormRows(page.advancedForm)
        self._fill_fixed()
        self._restore()
        self._connect()
        self.show_description()

    def job(self) -> TrainJob:
        """The options as a job that has neither images nor labels yet. Raises TilthError.

        What the page doesn't show is left as it usually is.
        """
        page = self._page
        if self.method() not in BASELINES:
            self.backbone.check_runs()
        out = self.out_file()
        by_minutes, shows = page.minutesRadio.isChecked(), self._rows.shows
        return TrainJob(
            images=[],
            out=str(out),
            report=str(out_files.report_of(out)),
            name=self.name(),
            backbone=self.backbone.current,
            method=self.method(),
            decoder=page.decoderCombo.currentData() if shows(page.decoderCombo) else "slim",
            minutes=page.minutesSpin.value() if by_minutes else None,
            epochs=None if by_minutes else page.epochsSpin.value(),
            split=page.splitCombo.currentData(),
            device=page.deviceCombo.currentData() or "auto",
            seed=page.seedSpin.value(),
            batch=page.batchSpin.value() if shows(page.batchSpin) else 0,
            precision=page.precisionCombo.currentData() if shows(page.precisionCombo) else "auto",
            checkpointing=page.checkpointingCheck.isChecked() and shows(page.checkpointingCheck),
            dates=dates.dates_in(page.datesEdit.text()) if shows(page.datesEdit) else [],
            **self.fields.values(),
        )

    def method(self) -> str:
        """The method or baseline; without a backbone there is nothing to adapt."""
        method = str(self._page.methodCombo.currentData())
        alone = self.backbone.current == NO_BACKBONE and method not in BASELINES
        return "frozen" if alone else method

    def check_weights(self) -> None:
        """Raise TilthError where the training needs weights that are not on this computer."""
        if self.method() not in BASELINES:
            self.backbone.check()

    def choose(self, values: Dict[str, Any]) -> None:
        """Take over what a comparison was about: a baseline or, with a backbone, all that is said
        of a model."""
        page, kept = self._page, {}
        if "backbone" in values:
            self.backbone.choose(values["backbone"])
            _select(page.decoderCombo, values.get("decoder", "slim"))
        else:
            kept = {n: v for n, v in self.fields.values().items() if n not in OF_METHOD}
        _select(page.methodCombo, values["method"])
        told = {name: value for name, value in values.items() if name in DEFAULTS}
        self.fields.set_values({**kept, **told})

    def forget_dates(self) -> None:
        """The images are others: their dates are not those that were typed."""
        self._page.datesEdit.clear()

    def name(self) -> str:
        """What the adapter is called."""
        return self._page.nameEdit.text().strip() or self.tr("My adapter")

    def out_file(self) -> Path:
        """The file to write: the user's, else one in the library; never one that exists.

        A name without a folder is one in the library.
        """
        chosen = self._page.fileWidget.filePath().strip()
        if not chosen:
            return free_file(home() / "adapters", self.name())
        return out_files.free_adapter(out_files.named(chosen, home() / "adapters", SUFFIX))

    def suggest_name(self, name: str) -> None:
        """A name for the adapter, until the user has typed one."""
        if not self._named and name:
            self._page.nameEdit.setText(name)

    def keep(self) -> None:
        """Remember the choices for the next time."""
        page = self._page
        settings.keep_all(
            {
                "train/minutes": page.minutesSpin.value(),
                "train/epochs": page.epochsSpin.value(),
                "train/by_minutes": page.minutesRadio.isChecked(),
                "train/seed": page.seedSpin.value(),
                "train/batch": page.batchSpin.value(),
                "train/checkpointing": page.checkpointingCheck.isChecked(),
                **self.backbone.to_keep(),
                **self.fields.to_keep(),
                **{key: combo.currentData() for key, combo in self._combos()},
            }
        )

    def show_description(self) -> None:
        """Fill in what the engine told: backbones and devices."""
        self.backbone.refresh()
        self._show_fields()
        self._fill_devices()
        self._show_changes()

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
        method_choice.fill_decoders(page.decoderCombo)
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
        _refill(page.splitCombo, [(self.tr(text), name) for name, text in SPLITS.items()])
        page.fileWidget.setStorageMode(QgsFileWidget.StorageMode.SaveFile)
        page.fileWidget.setFilter(self.tr("Tilth adapters") + " (*.tilth)")
        page.fileWidget.setDialogTitle(self.tr("Save the adapter"))
        page.fileWidget.setConfirmOverwrite(False)  # nothing is overwritten

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
        self.fields.restore()
        page.advancedGroup.setCollapsed(True)
        for key, combo in self._combos():
            _select(combo, settings.text(key))
        self._show_fields()
        self._show_time()
        self._show_file()

    def _connect(self) -> None:
        page = self._page
        for combo in (page.methodCombo, page.decoderCombo):
            combo.currentIndexChanged.connect(self._show_fields)
        self.backbone.changed.connect(self._show_fields)
        for _key, combo in self._combos():
            combo.currentIndexChanged.connect(self._emit)
        self.changed.connect(self._show_changes)
        self.backbone.changed.connect(self._emit)
        self.fields.changed.connect(self._emit)
        page.datesEdit.textChanged.connect(self._emit)
        page.deviceCombo.activated.connect(self._keep_device)
        page.minutesRadio.toggled.connect(self._show_time)
        for spin in (page.minutesSpin, page.epochsSpin, page.seedSpin, page.batchSpin):
            spin.valueChanged.connect(self._emit)
        page.checkpointingCheck.toggled.connect(self._emit)
        page.nameEdit.textEdited.connect(self._take_name)
        page.nameEdit.textChanged.connect(self._show_file)
        page.fileWidget.fileChanged.connect(self._show_file)
        self._session.adapters_changed.connect(self._show_file)

    def _keep_device(self, *_: object) -> None:
        """At once: mapping heeds it, and the list is filled anew whenever the engine tells more."""
        settings.keep("train/device", self._page.deviceCombo.currentData())

    def _emit(self, *_: object) -> None:
        self.changed.emit()

    def _show_changes(self) -> None:
        """Say on the group of advanced options, which is mostly closed, that some are set."""
        page, shows = self._page, self._rows.shows
        combos = (page.methodCombo, page.decoderCombo, page.deviceCombo, page.precisionCombo)
        number = len(self.fields.values())
        number += sum(combo.currentIndex() > 0 and shows(combo) for combo in combos)
        number += bool(page.seedSpin.value())
        number += bool(page.batchSpin.value()) and shows(page.batchSpin)
        number += page.checkpointingCheck.isChecked() and shows(page.checkpointingCheck)
        number += bool(page.datesEdit.text()) and shows(page.datesEdit)
        words = self.tr("Advanced ({} set)").format(number) if number else self.tr("Advanced")
        page.advancedGroup.setTitle(words)

    def _take_name(self, text: str) -> None:
        self._named = bool(text.strip())

    def _show_file(self, *_: object) -> None:
        line = self._page.fileWidget.lineEdit()
        line.setPlaceholderText(self.tr("[the adapter library]"))
        self._page.fileWidget.setToolTip(tips.plain(str(self.out_file())))

    def _show_fields(self, *_: object) -> None:
        """Show what the chosen method, decoder and backbone heed, and nothing else."""
        page, card, method = self._page, self.backbone.card(), self.method()
        method_choice.explain(page.methodCombo)
        baseline = BASELINES.get(method)
        alone = (baseline.backbone if baseline else self.backbone.current) == NO_BACKBONE
        heeded = {
            page.methodCombo: bool(baseline) or not alone,
            page.decoderCombo: not baseline and not alone and method != "probe",
            page.datesEdit: dates.heeded_in_training(method, card),
            page.batchSpin: not (baseline and baseline.decoder in FORESTS),
            page.precisionCombo: not baseline and not alone and method != "full",
            page.checkpointingCheck: not alone and (bool(baseline) or METHODS[method].rate > 0),
        }
        unused = [field for field, heeds in heeded.items() if not heeds]
        decoder = str(page.decoderCombo.currentData())
        self._rows.leave_out([*unused, *self.fields.adapt_to(method, decoder, card)])

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
    return out_files.free_adapter(folder / (stem + SUFFIX))


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
