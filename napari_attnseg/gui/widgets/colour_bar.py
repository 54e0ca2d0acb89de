"""A colour bar with the real values of a map."""

from __future__ import annotations

import numpy as np
from napari.utils.colormaps import Colormap
from qtpy.QtCore import QRectF, QSize, Qt
from qtpy.QtGui import QColor, QFont, QLinearGradient, QPainter, QPaintEvent
from qtpy.QtWidgets import QSizePolicy, QWidget


class ColourBar(QWidget):
    """The colours of a map between its display limits, with the least and greatest real value."""

    def __init__(self) -> None:
        super().__init__()
        self.limits = (0.0, 1.0)
        self.values = (0.0, 1.0)
        self._stops: list[tuple[float, QColor]] = []
        self.setFixedHeight(34)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """Return a width that fits a narrow panel."""
        return QSize(200, 34)

    def show_map(
        self, colormap: Colormap, limits: tuple[float, float], values: tuple[float, float]
    ) -> None:
        """Show a colour map between limits, and the range of the values that are there."""
        self.limits, self.values = limits, values
        places = np.linspace(0, 1, 33)
        self._stops = [
            (float(place), _over_grey(rgba))
            for place, rgba in zip(places, colormap.map(places), strict=True)
        ]
        low, high = values
        self.setToolTip(f"Values in this volume: {low:.4g} to {high:.4g}")
        self.update()

    def paintEvent(self, event: QPaintEvent | None) -> None:  # noqa: N802 - Qt's name
        """Draw the bar, the range of the real values under it, and the numbers."""
        painter = QPainter(self)
        font = QFont(self.font())
        font.setPointSizeF(8)
        painter.setFont(font)
        bar = QRectF(1, 1, self.width() - 2, 13)
        gradient = QLinearGradient(bar.left(), 0, bar.right(), 0)
        for place, colour in self._stops:
            gradient.setColorAt(place, colour)
        painter.fillRect(bar, gradient)
        painter.setPen(QColor("#E6EAF0"))
        self._draw_range(painter, bar)
        text = QRectF(1, 18, self.width() - 2, 15)
        low, high = self.limits
        for value, side in (
            (low, "AlignLeft"),
            ((low + high) / 2, "AlignHCenter"),
            (high, "AlignRight"),
        ):
            painter.drawText(text, int(getattr(Qt.AlignmentFlag, side)), f"{value:.3g}")

    def _draw_range(self, painter: QPainter, bar: QRectF) -> None:
        low, high = self.limits
        span = (high - low) or 1.0
        ends = [min(1.0, max(0.0, (value - low) / span)) for value in self.values]
        x = [bar.left() + end * bar.width() for end in ends]
        painter.fillRect(
            QRectF(x[0], bar.bottom() + 1, max(1.0, x[1] - x[0]), 2), QColor("#E6EAF0")
        )


def _over_grey(rgba: np.ndarray) -> QColor:
    # The map lies over grey anatomy; its clear part shows that grey.
    red, green, blue = (rgba[:3] * rgba[3] + 0.35 * (1 - rgba[3])).clip(0, 1)
    return QColor.fromRgbF(float(red), float(green), float(blue))
