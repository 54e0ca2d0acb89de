"""Weights of slices as a curve beside the slice slider; a click goes to the slice."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from qtpy.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal
from qtpy.QtGui import QColor, QFont, QMouseEvent, QPainter, QPaintEvent, QPen, QPolygonF
from qtpy.QtWidgets import QSizePolicy, QToolTip, QWidget

BACKGROUND, AXIS, BAR, KEY, NOW = "#20242B", "#9AA3AF", "#5B6B7F", "#56B4E9", "#F0E442"
LEFT, RIGHT, TOP, BOTTOM = 26, 6, 5, 17


class CurveBySlice(QWidget):
    """One bar a slice of the network, where it lies along the slice slider.

    Args:
        places: Where each value lies, in steps of the slider; ascending or descending.
        values: One a place.
        steps: Number of steps of the slider.
        limits: Values at the foot and at the top.
        ends: Letters at the first and at the last step, such as ``("S", "I")``.
        keys: Which slices the network took for the key ones.
        spread: Lowest and highest value around each, where many were averaged.
    """

    jumped = Signal(int)

    def __init__(
        self,
        places: Sequence[float],
        values: Sequence[float],
        steps: int,
        *,
        limits: tuple[float, float] = (0.0, 1.0),
        ends: tuple[str, str] = ("", ""),
        keys: Sequence[bool] = (),
        spread: tuple[Sequence[float], Sequence[float]] | None = None,
    ) -> None:
        super().__init__()
        self.places, self.values = np.asarray(places, float), np.asarray(values, float)
        self.steps, self.limits, self.ends = steps, limits, ends
        self.keys = np.asarray(keys, dtype=bool) if len(keys) else np.zeros(len(values), bool)
        self.spread = None if spread is None else np.asarray(spread, dtype=float)
        self.current: int | None = None
        self.first = 0
        self.setFixedHeight(72)
        self.setMinimumWidth(120)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setMouseTracking(True)

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """Return a width that fits a narrow panel."""
        return QSize(220, 72)

    def set_current(self, step: int | None, first: int = 0) -> None:
        """Mark the slice that is shown, or none where another direction is scrolled through.

        Args:
            step: From 0 at the image's first slice.
            first: What the slider calls that slice; it starts earlier where a map is larger.
        """
        if (step, first) != (self.current, self.first):
            self.current, self.first = step, first
            self.update()

    def step_at(self, x: float) -> int:
        """Return the step of the slider at a place of the widget."""
        plot = self._plot()
        part = (x - plot.left()) / max(1.0, plot.width())
        return int(min(self.steps - 1, max(0, np.floor(part * self.steps))))

    def x_of(self, step: float) -> float:
        """Return where the middle of a step is drawn."""
        plot = self._plot()
        return float(plot.left() + (step + 0.5) / max(1, self.steps) * plot.width())

    def paintEvent(self, event: QPaintEvent | None) -> None:  # noqa: N802 - Qt's name
        """Draw the bars, the axis, and the slice that is shown."""
        painter = QPainter(self)
        font = QFont(self.font())
        font.setPixelSize(10)
        painter.setFont(font)
        plot = self._plot()
        painter.fillRect(plot, QColor(BACKGROUND))
        self._draw_bars(painter, plot)
        self._draw_axis(painter, plot)
        if self.current is not None:
            x = self.x_of(self.current)
            painter.setPen(QPen(QColor(NOW), 2))
            painter.drawLine(QPointF(x, plot.top()), QPointF(x, plot.bottom()))

    def mousePressEvent(self, event: QMouseEvent | None) -> None:  # noqa: N802 - Qt's name
        """Go to the slice under the cursor."""
        if event is not None and event.button() == Qt.MouseButton.LeftButton:
            self.jumped.emit(self.step_at(event.position().x()))

    def event(self, event: QEvent | None) -> bool:
        """Say the value under the cursor."""
        if event is not None and event.type() == QEvent.Type.ToolTip and self.values.size:
            QToolTip.showText(event.globalPos(), self.say(event.pos().x()), self)  # type: ignore[attr-defined]
            return True
        return bool(super().event(event))

    def say(self, x: float) -> str:
        """Return what stands at a place of the widget, in words."""
        step = self.step_at(x)
        nearest = int(np.abs(self.places - step).argmin())
        key = ", a key slice" if self.keys[nearest] else ""
        return f"slice {step + self.first}: {self.values[nearest]:.3f}{key}. A click goes there."

    def _plot(self) -> QRectF:
        return QRectF(LEFT, TOP, self.width() - LEFT - RIGHT, self.height() - TOP - BOTTOM)

    def _y(self, value: float, plot: QRectF) -> float:
        low, high = self.limits
        part = min(1.0, max(0.0, (value - low) / ((high - low) or 1.0)))
        return float(plot.bottom() - part * plot.height())

    def _draw_bars(self, painter: QPainter, plot: QRectF) -> None:
        apart = np.abs(np.diff(self.places)).min() if len(self.places) > 1 else 1.0
        width = max(1.0, float(apart) * plot.width() / max(1, self.steps))
        floor = self._y(min(max(0.0, self.limits[0]), self.limits[1]), plot)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setClipRect(plot.adjusted(0, 0, 0, 5))
        for place, value, is_key in zip(self.places, self.values, self.keys, strict=True):
            x, y = self.x_of(place), self._y(value, plot)
            painter.setBrush(QColor(KEY if is_key or not self.keys.any() else BAR))
            gap = 1.0 if width > 4 else 0.0
            painter.drawRect(QRectF(x - width / 2, min(y, floor), width - gap, abs(floor - y)))
            if is_key:
                # Not by colour alone: a key slice also stands on a foot.
                painter.drawRect(QRectF(x - width / 2, plot.bottom() + 1, width - gap, 3))
        if self.spread is not None:
            self._draw_spread(painter, plot)
        painter.setClipping(False)

    def _draw_spread(self, painter: QPainter, plot: QRectF) -> None:
        assert self.spread is not None
        painter.setPen(QPen(QColor("#E6EAF0"), 1))
        for row in self.spread:
            points = [
                QPointF(self.x_of(place), self._y(value, plot))
                for place, value in sorted(zip(self.places, row, strict=True))
            ]
            painter.drawPolyline(QPolygonF(points))

    def _draw_axis(self, painter: QPainter, plot: QRectF) -> None:
        painter.setPen(QColor(AXIS))
        low, high = self.limits
        flags = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        for value, y in ((high, plot.top()), (low, plot.bottom())):
            painter.drawText(QRectF(0, y - 6, LEFT - 3, 12), int(flags), f"{value:.2g}")
        foot = QRectF(plot.left(), plot.bottom() + 4, plot.width(), 13)
        left, right = self.ends
        now = "" if self.current is None else f"slice {self.first + self.current}"
        for text, flag in (
            (f"{left} {self.first}", Qt.AlignmentFlag.AlignLeft),
            (now, Qt.AlignmentFlag.AlignHCenter),
            (f"{self.first + self.steps - 1} {right}", Qt.AlignmentFlag.AlignRight),
        ):
            painter.drawText(foot, int(flag), text)
