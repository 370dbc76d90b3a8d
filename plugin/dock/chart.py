"""The live chart of a training: the loss falls on the left axis, the score climbs on the right."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Tuple

from qgis.PyQt.QtCore import QPointF, QRectF, QSize, Qt
from qgis.PyQt.QtGui import QColor, QFontMetrics, QPainter, QPalette, QPen, QPolygonF, QTextOption
from qgis.PyQt.QtWidgets import QLabel, QSizePolicy, QWidget

LOSS = QColor("#d95f02")
SCORE = QColor("#2f7fc1")
_GAP = 10  # between the entries of the legend
Points = List[Tuple[int, float]]


class LearningChart(QLabel):
    """Training loss and validation score by epoch.

    A label, since QGIS's dark themes give these the colour of text, and bare widgets none.
    """

    def __init__(self, parent: Optional[QWidget] = None) -> None:
        super().__init__(parent)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self._loss: Points = []
        self._score: Points = []
        self._epochs = 0

    def sizeHint(self) -> QSize:  # noqa: N802 (Qt's name)
        return QSize(320, 170)

    def clear(self) -> None:
        """Forget the last training."""
        self._loss, self._score, self._epochs = [], [], 0
        self.update()

    def add(self, epoch: int, epochs: int, values: Dict[str, Any]) -> None:
        """One epoch's figures; those that are missing are left out."""
        self._epochs = epochs or 0
        for key, points in (("train_loss", self._loss), ("validation_score", self._score)):
            value = values.get(key)
            if isinstance(value, (int, float)):
                points.append((epoch, float(value)))
        self.update()

    def points(self) -> Tuple[Points, Points]:
        """The loss's and the score's points so far."""
        return list(self._loss), list(self._score)

    def paintEvent(self, event: Any) -> None:  # noqa: N802 (Qt's name)
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        # Epochs go from left to right in any language.
        painter.setLayoutDirection(Qt.LayoutDirection.LeftToRight)
        font = self.font()
        if font.pointSizeF() > 0:
            font.setPointSizeF(font.pointSizeF() * 0.88)
        painter.setFont(font)
        line = painter.fontMetrics().height()
        above = _legend_lines(self._legend_widths(painter.fontMetrics()), self.width()) * line
        area = QRectF(34, above + 8, self.width() - 34 - 30, self.height() - above - line - 16)
        if not self._loss and not self._score:
            self._draw_empty(painter)
        else:
            self._draw_axes(painter, area)
            self._draw_line(painter, area, self._loss, self._top(), LOSS)
            self._draw_line(painter, area, self._score, 1.0, SCORE)
            self._draw_legend(painter, area)
        painter.end()

    def _ink(self, alpha: int) -> QColor:
        colour = QColor(self.palette().color(QPalette.ColorRole.WindowText))
        colour.setAlpha(alpha)
        return colour

    def _top(self) -> float:
        return _round_up(max((value for _, value in self._loss), default=1.0))

    def _last_epoch(self) -> int:
        seen = [epoch for epoch, _ in self._loss + self._score]
        return max([2, *seen])

    def _draw_empty(self, painter: QPainter) -> None:
        painter.setPen(self._ink(120))
        painter.drawText(
            QRectF(self.rect().adjusted(12, 0, -12, 0)),
            self.tr("The loss and the score on held-out labels appear here, epoch by epoch."),
            QTextOption(Qt.AlignmentFlag.AlignCenter),
        )

    def _draw_axes(self, painter: QPainter, area: QRectF) -> None:
        top, height = self._top(), painter.fontMetrics().height()
        left = _aligned(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        right = _aligned(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        for step in range(5):
            share = step / 4
            y = area.bottom() - share * area.height()
            painter.setPen(QPen(self._ink(70 if step == 0 else 28), 1))
            painter.drawLine(QPointF(area.left(), y), QPointF(area.right(), y))
            if step % 2 == 0:
                painter.setPen(self._ink(170))
                box = QRectF(0, y - height / 2, area.left() - 5, height)
                painter.drawText(box, _short(top * share), left)
                box = QRectF(area.right() + 5, y - height / 2, 28, height)
                painter.drawText(box, f"{share:.1f}", right)
        painter.setPen(self._ink(170))
        below = QRectF(area.left(), area.bottom() + 3, area.width(), height)
        painter.drawText(below, "1", _aligned(Qt.AlignmentFlag.AlignLeft))
        painter.drawText(below, self.tr("epoch"), _aligned(Qt.AlignmentFlag.AlignHCenter))
        last = str(self._last_epoch())
        painter.drawText(below, last, _aligned(Qt.AlignmentFlag.AlignRight))

    def _draw_line(
        self, painter: QPainter, area: QRectF, points: Points, top: float, colour: QColor
    ) -> None:
        if not points:
            return
        span = self._last_epoch() - 1
        dots = QPolygonF()
        for epoch, value in points:
            share = min(1.0, max(0.0, value / top))
            x = area.left() + (epoch - 1) / span * area.width()
            dots.append(QPointF(x, area.bottom() - share * area.height()))
        painter.setPen(QPen(colour, 2, Qt.PenStyle.SolidLine, Qt.PenCapStyle.RoundCap))
        painter.drawPolyline(dots)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(colour)
        painter.drawEllipse(dots[len(points) - 1], 3, 3)

    def _legend(self) -> List[Tuple[QColor, str]]:
        return [
            (colour, f"{text} {points[-1][1]:.2f}")
            for colour, text, points in (
                (LOSS, self.tr("Training loss"), self._loss),
                (SCORE, self.tr("Score, held out"), self._score),
            )
            if points
        ]

    def _legend_widths(self, metrics: QFontMetrics) -> List[int]:
        return [17 + metrics.horizontalAdvance(words) for _, words in self._legend()]

    def _draw_legend(self, painter: QPainter, area: QRectF) -> None:
        metrics = painter.fontMetrics()
        places = _legend_places(self._legend_widths(metrics), area, self.width())
        for (colour, words), (x, line) in zip(self._legend(), places):
            painter.setPen(QPen(colour, 3))
            y = 2 + (line + 0.5) * metrics.height()
            painter.drawLine(QPointF(x, y), QPointF(x + 12, y))
            painter.setPen(self._ink(220))
            painter.drawText(QPointF(x + 17, y + metrics.ascent() / 2 - 1), words)


def _legend_lines(widths: List[int], width: int) -> int:
    return 2 if len(widths) > 1 and sum(widths) + _GAP > width else 1


def _legend_places(widths: List[int], area: QRectF, width: int) -> List[Tuple[float, int]]:
    """Where entries of these widths begin, and on which line: above the left and the right half of
    the area, in a narrow dock as far out as there is room, and with large letters on two lines."""
    if _legend_lines(widths, width) > 1:
        return [(0.0, 0), (0.0, 1)]
    left, right = area.left(), area.left() + area.width() / 2
    if len(widths) < 2:
        return [(left, 0)][: len(widths)]
    right = max(min(right, width - widths[1]), widths[0] + _GAP)
    return [(max(0.0, min(left, right - widths[0] - _GAP)), 0), (right, 0)]


def _aligned(alignment: Any) -> QTextOption:
    option = QTextOption(alignment)
    option.setWrapMode(QTextOption.WrapMode.NoWrap)
    return option


def _round_up(value: float) -> float:
    """The next number that reads well on an axis."""
    if value <= 0:
        return 1.0
    scale = 1.0
    while value / scale > 10:
        scale *= 10
    while value / scale <= 1:
        scale /= 10
    return next(step * scale for step in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if value <= step * scale)


def _short(value: float) -> str:
    return f"{value:.3g}"
