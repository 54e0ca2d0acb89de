"""Channel attention as a strip of numbers: it has no place, so it is never painted on anatomy."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import QRectF, QSize, Qt
from qtpy.QtGui import QColor, QPainter, QPaintEvent
from qtpy.QtWidgets import QSizePolicy, QWidget

# Five anchors of viridis, which eyes of every kind read as growing.
_VIRIDIS = ((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37))


class Strip(QWidget):
    """One cell a value, coloured over fixed limits.

    Args:
        values: What to show.
        limits: Values of the darkest and the brightest colour.
    """

    def __init__(self, values: Sequence[float], limits: tuple[float, float] = (0.0, 1.0)) -> None:
        super().__init__()
        self.values, self.limits = tuple(values), limits
        self.setFixedHeight(16)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setMouseTracking(True)

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """Return a width that fits a narrow panel."""
        return QSize(150, 16)

    def paintEvent(self, event: QPaintEvent | None) -> None:  # noqa: N802 - Qt's name
        """Draw the cells."""
        if not self.values:
            return
        painter = QPainter(self)
        painter.setPen(Qt.PenStyle.NoPen)
        width = self.width() / len(self.values)
        for index, value in enumerate(self.values):
            painter.setBrush(strip_colour(value, self.limits))
            painter.drawRect(QRectF(index * width, 0, max(1.0, width), self.height()))

    def event(self, event: object) -> bool:
        """Say the value under the cursor."""
        if self.values and event.type() == event.Type.ToolTip:  # type: ignore[attr-defined]
            x = event.pos().x()  # type: ignore[attr-defined]
            index = min(len(self.values) - 1, int(x * len(self.values) / max(1, self.width())))
            self.setToolTip(f"channel {index}: {self.values[index]:.3f}")
        return bool(super().event(event))  # type: ignore[arg-type]


def strip_colour(value: float, limits: tuple[float, float]) -> QColor:
    """Return the colour of a value between limits."""
    low, high = limits
    place = min(1.0, max(0.0, (value - low) / (high - low or 1.0))) * (len(_VIRIDIS) - 1)
    index = min(int(place), len(_VIRIDIS) - 2)
    part = place - index
    first, second = _VIRIDIS[index], _VIRIDIS[index + 1]
    r, g, b = (round(a + (c - a) * part) for a, c in zip(first, second, strict=True))
    return QColor(r, g, b)
