"""Combos that end a text for which there is no room in dots; Qt 5 cuts it within a letter."""

from __future__ import annotations

from qgis.PyQt.QtCore import QEvent, QObject, Qt
from qgis.PyQt.QtGui import QPainter
from qgis.PyQt.QtWidgets import QComboBox, QStyle, QStyleOptionComboBox


class Elider(QObject):
    """Draws the combo that it is installed on, as QComboBox does but for the dots."""

    def eventFilter(self, combo: QObject, event: QEvent) -> bool:  # noqa: N802 (Qt's name)
        if event.type() != QEvent.Type.Paint or not isinstance(combo, QComboBox):
            return False
        option, style, control = _option(combo), combo.style(), QStyle.ComplexControl.CC_ComboBox
        field = QStyle.SubControl.SC_ComboBoxEditField
        room = style.subControlRect(control, option, field, combo).width() - 2
        if not option.currentIcon.isNull():
            room -= option.iconSize.width() + 4
        dots = Qt.TextElideMode.ElideRight
        option.currentText = combo.fontMetrics().elidedText(option.currentText, dots, room)
        painter = QPainter(combo)
        style.drawComplexControl(control, option, painter, combo)
        style.drawControl(QStyle.ControlElement.CE_ComboBoxLabel, option, painter, combo)
        painter.end()
        return True


def _option(combo: QComboBox) -> QStyleOptionComboBox:
    option = QStyleOptionComboBox()
    option.initFrom(combo)
    option.frame = combo.hasFrame()
    option.iconSize = combo.iconSize()
    option.currentIcon = combo.itemIcon(combo.currentIndex())
    option.currentText = combo.currentText()
    option.subControls = QStyle.SubControl.SC_All
    if combo.view().isVisible():
        option.state |= QStyle.StateFlag.State_On
    return option
