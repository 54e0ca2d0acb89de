"""A few named lines over one axis, small enough for a panel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from qtpy.QtCore import QPointF, QRectF, QSize, Qt
from qtpy.QtGui import QColor, QFont, QPainter, QPaintEvent, QPen, QPolygonF
from qtpy.QtWidgets import QSizePolicy, QWidget

BACKGROUND, AXIS = "#20242B", "#9AA3AF"
LEFT, RIGHT, TOP, BOTTOM = 30, 6, 18, 26


@dataclass(frozen=True)
class Line:
    """One line.

    Args:
        name: In the legend.
        x, y: Its points; a y of None is left out.
        colour: ``#RRGGBB``.
        is_dashed: Whether it is dashed.
        width: In pixels, so that lines differ without colour too.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float | None]
    colour: str
    is_dashed: bool = False
    width: float = 2.0


class LineChart(QWidget):
    """Lines between fixed limits, with a legend above and the names of the axes.

    Args:
        x_name: Under the axis.
        limits: Values at the foot and at the top.
        x_labels: Names of the points along x instead of numbers, such as those of layers.
    """

    def __init__(
        self,
        x_name: str = "",
        limits: tuple[float, float] = (0.0, 1.0),
        x_labels: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.x_name, self.limits = x_name, limits
        self.x_labels, self.lines = tuple(x_labels), tuple[Line, ...]()
        self.setFixedHeight(126)
        self.setMinimumWidth(140)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """Return a width that fits a narrow panel."""
        return QSize(300, 126)

    def show_lines(self, lines: Sequence[Line]) -> None:
        """Show these lines."""
        self.lines = tuple(lines)
        self.update()

    def paintEvent(self, event: QPaintEvent | None) -> None:  # noqa: N802 - Qt's name
        """Draw the lines, the axes and the legend."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        font = QFont(self.font())
        font.setPixelSize(10)
        painter.setFont(font)
        plot = QRectF(LEFT, TOP, self.width() - LEFT - RIGHT, self.height() - TOP - BOTTOM)
        painter.fillRect(plot, QColor(BACKGROUND))
        self._draw_axes(painter, plot)
        for line in self.lines:
            self._draw_line(painter, plot, line)
        self._draw_legend(painter)

    def _ends(self) -> tuple[float, float]:
        found = [x for line in self.lines for x in line.x]
        low, high = (min(found), max(found)) if found else (0.0, 1.0)
        return low, high if high > low else low + 1.0

    def _point(self, x: float, y: float, plot: QRectF) -> QPointF:
        (start, end), (low, high) = self._ends(), self.limits
        across = (x - start) / (end - start)
        up = min(1.0, max(0.0, (y - low) / ((high - low) or 1.0)))
        return QPointF(plot.left() + across * plot.width(), plot.bottom() - up * plot.height())

    def _draw_axes(self, painter: QPainter, plot: QRectF) -> None:
        low, high = self.limits
        right = int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        for value in sorted({low, 0.0 if low < 0 < high else low, high}):
            y = self._point(self._ends()[0], value, plot).y()
            painter.setPen(QPen(QColor("#3A424E"), 1))
            painter.drawLine(QPointF(plot.left(), y), QPointF(plot.right(), y))
            painter.setPen(QColor(AXIS))
            painter.drawText(QRectF(0, y - 6, LEFT - 4, 12), right, f"{value:.2g}")
        foot = QRectF(plot.left(), plot.bottom() + 2, plot.width(), 12)
        start, end = self._ends()
        first, last = f"{start:.2g}", f"{end:.2g}"
        if self.x_labels:
            first, last = self.x_labels[0], self.x_labels[-1]
        painter.drawText(foot, int(Qt.AlignmentFlag.AlignLeft), first)
        painter.drawText(foot, int(Qt.AlignmentFlag.AlignRight), last)
        middle = foot.translated(0, 11)
        painter.drawText(middle, int(Qt.AlignmentFlag.AlignHCenter), self.x_name)

    def _draw_line(self, painter: QPainter, plot: QRectF, line: Line) -> None:
        points = [
            self._point(x, y, plot) for x, y in zip(line.x, line.y, strict=True) if y is not None
        ]
        style = Qt.PenStyle.DashLine if line.is_dashed else Qt.PenStyle.SolidLine
        painter.setPen(QPen(QColor(line.colour), line.width, style))
        painter.drawPolyline(QPolygonF(points))
        if len(points) < 12:
            painter.setBrush(QColor(line.colour))
            for point in points:
                painter.drawEllipse(point, 2.0, 2.0)
            painter.setBrush(Qt.BrushStyle.NoBrush)

    def _draw_legend(self, painter: QPainter) -> None:
        metrics, x = painter.fontMetrics(), float(LEFT)
        for name, line in {line.name: line for line in reversed(self.lines)}.items():
            painter.setPen(QPen(QColor(line.colour), line.width))
            painter.drawLine(QPointF(x, 7), QPointF(x + 14, 7))
            painter.drawText(QPointF(x + 18, 11), name)
            x += 28 + metrics.horizontalAdvance(name)
