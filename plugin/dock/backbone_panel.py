"""A backbone's facts, whether it is here, the buttons that get it, and how far that is."""

from __future__ import annotations

from typing import Any, Optional

from qgis.PyQt.QtCore import QSize, Qt
from qgis.PyQt.QtGui import QPixmap
from qgis.PyQt.QtWidgets import (
    QBoxLayout,
    QFrame,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from . import backbone_facts, icons
from .narrow import fit_row
from .run_bar import time_text
from .ui_file import make_quiet


class BackbonePanel(QFrame):
    """Shows what it is given; its buttons are connected by who made it."""

    def __init__(self, parent: Optional[QWidget] = None) -> None:
        super().__init__(parent)
        self.facts = _wrapping(self)
        self.facts.setTextFormat(Qt.TextFormat.RichText)
        self.facts.setOpenExternalLinks(True)
        self.summary = _wrapping(self)
        self.summary.setTextFormat(Qt.TextFormat.PlainText)
        make_quiet(self.summary, self.facts)
        self.icon = QLabel(self)
        self.state = _wrapping(self)
        self.download_button = QPushButton(self)
        self.file_button = QPushButton(self.tr("Use a file…"), self)
        self.remove_button = QToolButton(self)
        self.remove_button.setAutoRaise(True)
        self.remove_button.setIcon(icons.theme("mActionDeleteSelected.svg"))
        self.remove_button.setToolTip(self.tr("Remove these weights from this computer"))
        self.bar = QProgressBar(self)
        self.bar.setTextVisible(False)
        self.bar.setFixedHeight(8)
        self.doing = _wrapping(self)
        make_quiet(self.doing)
        self.cancel_button = QPushButton(self.tr("Cancel"), self)
        self.cancel_button.setIcon(icons.theme("mTaskCancel.svg"))
        self.buttons = QBoxLayout(QBoxLayout.Direction.LeftToRight)
        self._title = ""
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self._lay_out()
        self.end()

    def show_card(self, card: backbone_facts.Card, busy: bool) -> None:
        """Show a backbone; ``busy`` where something is being fetched, so that no more can."""
        self.facts.setText(backbone_facts.html(card))
        self.facts.setToolTip(backbone_facts.bands_tip(card))
        self.facts.setVisible(bool(self.facts.text()))
        self.summary.setText(str(card.get("summary") or ""))
        self.summary.setVisible(bool(self.summary.text()))
        needed, here = bool(card.get("needed")), bool(card.get("present"))
        can_get = needed and not here and bool(card.get("runs"))
        self._show_state(card)
        self.download_button.setVisible(can_get and bool(card.get("repository")) and not busy)
        self.download_button.setText(
            self.tr("Download {}").format(backbone_facts.size_text(card.get("size_bytes")))
        )
        self.file_button.setVisible(can_get and not busy)
        self.file_button.setToolTip(
            self.tr("Take the weights from a file that you got otherwise, as it was published: {}")
            .format(card.get("file"))
        )  # fmt: skip
        self.remove_button.setVisible(needed and here and not busy)
        fit_row(self.buttons, self.width())

    def begin(self, title: str) -> None:
        """Something is being fetched."""
        self._title = title
        self.bar.setRange(0, 0)
        self.doing.setText(f"{title}…")
        self.cancel_button.setEnabled(True)
        for part in (self.bar, self.doing, self.cancel_button):
            part.show()

    def end(self) -> None:
        """Nothing is being fetched any more."""
        for part in (self.bar, self.doing, self.cancel_button):
            part.hide()

    def show_progress(self, fraction: float, message: str, left: Any) -> None:
        """How far it is."""
        if not self.cancel_button.isEnabled():
            return
        self.bar.setRange(0, 1000 if fraction > 0 else 0)
        self.bar.setValue(int(1000 * fraction))
        if isinstance(left, (int, float)) and left >= 1:
            message += " · " + self.tr("about {} left").format(time_text(left))
        self.doing.setText(f"{self._title}\n{message}")

    def show_cancelling(self) -> None:
        """The user wants it to stop."""
        self.cancel_button.setEnabled(False)
        self.doing.setText(self.tr("Cancelling…"))

    def resizeEvent(self, event: Any) -> None:  # noqa: N802 (Qt's name)
        super().resizeEvent(event)
        fit_row(self.buttons, self.width())

    def _show_state(self, card: backbone_facts.Card) -> None:
        icon, text = "", ""
        if card and not card.get("runs"):
            icon, text = "mIconWarning.svg", self.tr("Listed only: Tilth can't run it yet")
        elif card.get("needed") and card.get("present"):
            size = backbone_facts.size_text(card.get("stored_bytes"))
            icon, text = "mIconSuccess.svg", self.tr("On this computer, {}").format(size)
        elif card.get("needed"):
            text = self.tr("Not on this computer")
            if not card.get("repository"):
                text += self.tr(": get {} from its source").format(card.get("file"))
        self.icon.setPixmap(icons.theme(icon).pixmap(16, 16) if icon else QPixmap())
        self.icon.setVisible(bool(icon))
        self.state.setText(text)
        self.state.setVisible(bool(text))

    def _lay_out(self) -> None:
        self.remove_button.setIconSize(QSize(14, 14))
        state = QHBoxLayout()
        state.setSpacing(6)
        state.addWidget(self.icon, 0, Qt.AlignmentFlag.AlignTop)
        state.addWidget(self.state, 1)
        state.addWidget(self.remove_button)
        self.buttons.setSpacing(6)
        self.buttons.addWidget(self.download_button)
        self.buttons.addWidget(self.file_button)
        self.buttons.addStretch(1)
        progress = QHBoxLayout()
        progress.setSpacing(6)
        progress.addWidget(self.doing, 1)
        progress.addWidget(self.cancel_button, 0, Qt.AlignmentFlag.AlignTop)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 4)
        column.setSpacing(6)
        column.addWidget(self.summary)
        column.addWidget(self.facts)
        column.addLayout(state)
        column.addLayout(self.buttons)
        column.addWidget(self.bar)
        column.addLayout(progress)


def _wrapping(parent: QWidget) -> QLabel:
    """A label that never asks for more width than there is."""
    label = QLabel(parent)
    label.setWordWrap(True)
    label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
    return label
