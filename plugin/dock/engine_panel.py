"""What stands above every page while there is no engine: its size, and a button that makes it."""

from __future__ import annotations

from html import escape
from typing import Any, Optional

from qgis.core import Qgis
from qgis.PyQt.QtWidgets import QFileDialog, QFrame, QWidget

from . import icons, settings
from .engine import Engine
from .narrow import fit_row
from .notice import LOOKS, tint
from .ui_file import load, make_quiet


class EnginePanel(QFrame):
    """Visible while the engine is missing, broken, or being installed."""

    def __init__(self, engine: Engine, parent: Optional[QWidget] = None) -> None:
        super().__init__(parent)
        load("engine_panel", self)
        self.engine = engine
        self.buttons.addStretch(1)
        make_quiet(self.progressLabel)
        self.progressBar.setMaximum(1000)
        self.installButton.clicked.connect(engine.install)
        self.cancelButton.clicked.connect(self._cancel)
        self.ownButton.clicked.connect(self.ask_own_python)
        engine.changed.connect(self.refresh)
        engine.progressed.connect(self._show_progress)
        self.refresh()

    def refresh(self) -> None:
        """Show the engine's state."""
        state = self.engine.state
        busy = self.engine.busy
        self.setVisible(state != "ready" or busy)
        broken = state == "broken" and not busy
        icon, colour = LOOKS[Qgis.MessageLevel.Warning if broken else Qgis.MessageLevel.Info]
        tint(self, colour)
        self.icon.setPixmap(icons.theme(icon).pixmap(16, 16))
        self.title.setText(f"<b>{escape(self._title())}</b>")
        self.text.setText(self._text())
        self.text.setToolTip(self.tr("Folder: {}").format(self.engine.folder))
        self.installButton.setText(
            self.tr("Install again") if state == "broken" else self.tr("Install")
        )
        for part in (self.installButton, self.ownButton):
            part.setVisible(not busy)
        for part in (self.progressBar, self.progressLabel, self.cancelButton):
            part.setVisible(busy)
        self.cancelButton.setEnabled(busy)
        self._fit()

    def resizeEvent(self, event: Any) -> None:  # noqa: N802 (Qt's name)
        super().resizeEvent(event)
        self._fit()

    def ask_own_python(self) -> None:
        """Let the user name an interpreter that has what the engine needs."""
        name, _ = QFileDialog.getOpenFileName(
            self,
            self.tr("A Python that has PyTorch and the engine's other packages"),
            settings.text("engine/folder"),
        )
        if name:
            self.engine.use_own_python(name)

    def _fit(self) -> None:
        margins = self.layout().contentsMargins()
        fit_row(self.buttons, self.width() - margins.left() - margins.right())

    def _title(self) -> str:
        if self.engine.busy:
            return self.engine.doing
        if self.engine.state == "broken":
            return self.tr("Tilth's engine can't be used")
        return self.tr("Tilth's engine is not installed")

    def _text(self) -> str:
        words = self.tr(
            "Training and mapping run in a Python environment of their own; QGIS's own Python"
            " stays as it is."
        )
        parts = [words, f"<b>{escape(_sentence(self.engine.size))}</b>"]
        if self.engine.reason:
            parts.insert(0, escape(_sentence(self.engine.reason)) + "<br>")
        return " ".join(parts)

    def _show_progress(self, fraction: float, message: str) -> None:
        self.progressBar.setValue(int(1000 * fraction))
        self.progressLabel.setText(message)

    def _cancel(self) -> None:
        self.cancelButton.setEnabled(False)
        self.progressLabel.setText(self.tr("Cancelling…"))
        self.engine.cancel()


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".") + "."
