"""Asks whether the user accepts a licence that binds, before a download."""

from __future__ import annotations

from html import escape
from typing import Any, Dict, Optional

from qgis.PyQt.QtCore import Qt
from qgis.PyQt.QtWidgets import QCheckBox, QDialog, QDialogButtonBox, QLabel, QVBoxLayout, QWidget


class LicenceDialog(QDialog):
    """Its OK works only once the box is ticked."""

    def __init__(self, card: Dict[str, Any], parent: Optional[QWidget] = None) -> None:
        super().__init__(parent)
        self.setWindowTitle(self.tr("Licence of {}").format(card.get("title")))
        self.setMinimumWidth(420)
        self.text = QLabel(self._text(card), self)
        self.text.setWordWrap(True)
        self.text.setTextFormat(Qt.TextFormat.RichText)
        self.text.setOpenExternalLinks(True)
        self.box = QCheckBox(self.tr("I have read the licence and accept it"), self)
        self.buttons = QDialogButtonBox(self)
        self.accept_button = self.buttons.addButton(
            self.tr("Download"), QDialogButtonBox.ButtonRole.AcceptRole
        )
        self.buttons.addButton(QDialogButtonBox.StandardButton.Cancel)
        self.accept_button.setEnabled(False)
        self.box.toggled.connect(self.accept_button.setEnabled)
        self.buttons.accepted.connect(self.accept)
        self.buttons.rejected.connect(self.reject)
        column = QVBoxLayout(self)
        column.setSpacing(12)
        for part in (self.text, self.box, self.buttons):
            column.addWidget(part)

    def _text(self, card: Dict[str, Any]) -> str:
        url = str(card.get("licence_url") or "")
        link = f'<a href="{escape(url)}">{escape(url)}</a>' if url else ""
        words = self.tr(
            "The licence of this model binds you to more than naming its authors. Read it before"
            " you download the weights; it may also be for what you make with them."
        )
        parts = [f"<b>{escape(str(card.get('licence') or ''))}</b>", escape(words), link]
        return "".join(f"<p>{part}</p>" for part in parts if part)
