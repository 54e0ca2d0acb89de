"""How good a map is, beside a map of noise and the structure itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from qtpy.QtCore import QRectF, QSize, Qt
from qtpy.QtGui import QColor, QFont, QPainter, QPaintEvent, QPen
from qtpy.QtWidgets import QSizePolicy, QWidget

TRACK, TEXT, ZERO = "#2B3038", "#E6EAF0", "#9AA3AF"
NAME_WIDTH, VALUE_WIDTH, ROW = 104, 48, 19


@dataclass(frozen=True)
class Bar:
    """One bar.

    Args:
        name: What it stands for.
        value: Its length from zero.
        colour: ``#RRGGBB``.
        tooltip: More about it.
    """

    name: str
    value: float
    colour: str
    tooltip: str = ""


class CheckBars(QWidget):
    """Bars from a common zero, so that a map that is worse than noise points the other way."""

    def __init__(self) -> None:
        super().__init__()
        self.bars: tuple[Bar, ...] = ()
        self.setMinimumWidth(220)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """Return a width that fits a narrow panel."""
        return QSize(300, self.height())

    def show_bars(self, bars: Sequence[Bar]) -> None:
        """Show these bars over a common scale."""
        self.bars = tuple(bars)
        self.setFixedHeight(max(1, ROW * len(self.bars)))
        self.setToolTip("\n".join(f"{one.name}: {one.tooltip}" for one in bars if one.tooltip))
        self.update()

    def ends(self) -> tuple[float, float]:
        """Return the values at the left and at the right end of the scale."""
        values = [0.0, *(bar.value for bar in self.bars)]
        low, high = min(values), max(values)
        return low, high if high > low else low + 1.0

    def paintEvent(self, event: QPaintEvent | None) -> None:  # noqa: N802 - Qt's name
        """Draw the bars with their names and values."""
        painter = QPainter(self)
        font = QFont(self.font())
        font.setPixelSize(11)
        painter.setFont(font)
        track = QRectF(NAME_WIDTH, 0, self.width() - NAME_WIDTH - VALUE_WIDTH, self.height())
        low, high = self.ends()
        zero = track.left() - low / (high - low) * track.width()
        right = int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        for index, bar in enumerate(self.bars):
            top = index * ROW
            painter.setPen(QColor(TEXT))
            name = QRectF(0, top, NAME_WIDTH - 6, ROW)
            painter.drawText(name, int(Qt.AlignmentFlag.AlignVCenter), bar.name)
            painter.fillRect(QRectF(track.left(), top + 4, track.width(), ROW - 8), QColor(TRACK))
            length = bar.value / (high - low) * track.width()
            place = QRectF(min(zero, zero + length), top + 4, max(2.0, abs(length)), ROW - 8)
            painter.fillRect(place, QColor(bar.colour))
            value = QRectF(track.right(), top, VALUE_WIDTH, ROW)
            painter.drawText(value, right, f"{bar.value:+.3f}")
        painter.setPen(QPen(QColor(ZERO), 1))
        painter.drawLine(int(zero), 0, int(zero), self.height())
