"""A message on a page: what happened, in its colour, with a button for what to do about it."""

from __future__ import annotations

from typing import Callable, List, Optional, Sequence

from qgis.core import Qgis
from qgis.PyQt.QtCore import QSize, Qt
from qgis.PyQt.QtGui import QColor, QPalette
from qgis.PyQt.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from ..tasks.base import BaseTask
from . import icons

LOOKS = {
    Qgis.MessageLevel.Info: ("mIconInfo.svg", "#4a90d9"),
    Qgis.MessageLevel.Warning: ("mIconWarning.svg", "#e0a100"),
    Qgis.MessageLevel.Critical: ("mIconCritical.svg", "#d9534f"),
    Qgis.MessageLevel.Success: ("mIconSuccess.svg", "#3f9d52"),
}
# So lightly that text of either theme stays readable on it.
TINT = 40


def tint(frame: QFrame, colour: str) -> None:
    """Colour a frame and its border."""
    red, green, blue, _ = QColor(colour).getRgb()
    name = frame.objectName()
    frame.setStyleSheet(
        f"#{name} {{ background: rgba({red},{green},{blue},{TINT});"
        f" border: 1px solid rgba({red},{green},{blue},130); border-radius: 4px; }}"
    )


class Notice(QFrame):
    """Hidden until it has something to say."""

    def __init__(self, parent: Optional[QWidget] = None, closable: bool = True) -> None:
        super().__init__(parent)
        self.setObjectName("Notice")
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Minimum)
        self.icon = QLabel(self)
        self.label = QLabel(self)
        self.label.setWordWrap(True)
        self.label.setTextFormat(Qt.TextFormat.PlainText)
        self.label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.label.setForegroundRole(QPalette.ColorRole.WindowText)
        self.button = QPushButton(self)
        self.button.hide()
        self.close_button = QToolButton(self)
        self.close_button.setAutoRaise(True)
        self.close_button.setIcon(icons.theme("mIconClose.svg"))
        self.close_button.setIconSize(QSize(12, 12))
        self.close_button.setToolTip(self.tr("Close this message"))
        self.close_button.clicked.connect(self.clear)
        self.close_button.setVisible(closable)
        self.colour = ""
        self.heard: List[str] = []  # the warnings of the task that is followed, each once
        self._action: Optional[Callable[[], None]] = None
        self.button.clicked.connect(self._act)
        self._lay_out()
        self.hide()

    def _lay_out(self) -> None:
        body = QVBoxLayout()
        body.setSpacing(6)
        body.addWidget(self.label)
        body.addWidget(self.button, 0, Qt.AlignmentFlag.AlignLeft)
        row = QHBoxLayout(self)
        row.setContentsMargins(8, 6, 4, 6)
        row.setSpacing(6)
        row.addWidget(self.icon, 0, Qt.AlignmentFlag.AlignTop)
        row.addLayout(body, 1)
        row.addWidget(self.close_button, 0, Qt.AlignmentFlag.AlignTop)

    def show_text(
        self,
        message: str,
        level: Qgis.MessageLevel = Qgis.MessageLevel.Warning,
        action: str = "",
        run: Optional[Callable[[], None]] = None,
    ) -> None:
        """Say ``message``; ``action`` names a button that calls ``run``."""
        icon, self.colour = LOOKS[level]
        self.icon.setPixmap(icons.theme(icon).pixmap(16, 16))
        self.label.setText(message)
        tint(self, self.colour)
        self.button.setText(action)
        self.button.setVisible(bool(action))
        self._action = run
        self.setVisible(bool(message))

    def show_warnings(self, warnings: Sequence[str]) -> None:
        """Say these; nothing where there are none."""
        bullet = "• " if len(warnings) > 1 else ""
        self.show_text("\n".join(bullet + text for text in warnings))

    def follow(self, task: BaseTask) -> None:
        """Say what this task warns of, as it comes. To be called before it is started."""
        self.heard = []
        task.noticed.connect(self._hear)

    def text(self) -> str:
        """What it says now; empty when hidden."""
        return "" if self.isHidden() else self.label.text()

    def clear(self) -> None:
        """Say nothing."""
        self._action = None
        self.label.clear()
        self.hide()

    def _hear(self, level: str, message: str) -> None:
        if level == "warning" and message not in self.heard:
            self.heard.append(message)
            self.show_warnings(self.heard)

    def _act(self) -> None:
        action = self._action
        self.clear()
        if action is not None:
            action()
