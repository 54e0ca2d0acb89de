"""Numbers as coloured cells: channel weights, split weights, and matrices of channels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from qtpy.QtCore import QEvent, QRectF, QSize, Qt, Signal
from qtpy.QtGui import QColor, QImage, QMouseEvent, QPainter, QPaintEvent, QPen
from qtpy.QtWidgets import QSizePolicy, QToolTip, QWidget

# Five anchors of viridis, which eyes of every kind read as growing.
_VIRIDIS = ((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37))
CHOSEN = "#FFFFFF"


class Cells(QWidget):
    """One cell a value, coloured over fixed limits; hovering says it, a click chooses it.

    Args:
        values: ``(rows, columns)``.
        limits: Values of the darkest and the brightest colour.
        describe: Returns what to say of a row, a column and a value.
        row_height: In pixels.
    """

    clicked = Signal(int, int)

    def __init__(
        self,
        values: np.ndarray | Sequence[Sequence[float]],
        limits: tuple[float, float],
        describe: Callable[[int, int, float], str],
        row_height: int = 16,
    ) -> None:
        super().__init__()
        self.values, self.limits = np.atleast_2d(np.asarray(values, dtype=float)), limits
        self.chosen: tuple[int, int] | None = None
        self._describe = describe
        self._image = cell_image(self.values, limits)
        self.setFixedHeight(max(16, row_height * self.values.shape[0]))
        self.setMinimumWidth(60)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setMouseTracking(True)

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """Return a width that fits a narrow panel."""
        return QSize(150, self.height())

    def set_values(self, values: np.ndarray) -> None:
        """Show other values over the same limits."""
        self.values = np.atleast_2d(np.asarray(values, dtype=float))
        self._image = cell_image(self.values, self.limits)
        self.update()

    def choose(self, cell: tuple[int, int] | None) -> None:
        """Draw a frame around a cell, or around none."""
        self.chosen = cell
        self.update()

    def cell_at(self, x: float, y: float) -> tuple[int, int]:
        """Return the row and the column at a place of the widget."""
        rows, columns = self.values.shape
        row = min(rows - 1, max(0, int(y * rows / max(1, self.height()))))
        return row, min(columns - 1, max(0, int(x * columns / max(1, self.width()))))

    def paintEvent(self, event: QPaintEvent | None) -> None:  # noqa: N802 - Qt's name
        """Draw the cells."""
        if not self.values.size:
            return
        painter = QPainter(self)
        painter.drawImage(QRectF(0, 0, self.width(), self.height()), self._image)
        if self.chosen is not None:
            rows, columns = self.values.shape
            width, height = self.width() / columns, self.height() / rows
            row, column = self.chosen
            painter.setPen(QPen(QColor(CHOSEN), 2))
            painter.drawRect(QRectF(column * width, row * height, max(3.0, width), height - 1))

    def mousePressEvent(self, event: QMouseEvent | None) -> None:  # noqa: N802 - Qt's name
        """Choose the cell under the cursor."""
        if event is not None and event.button() == Qt.MouseButton.LeftButton and self.values.size:
            at = event.position()
            self.clicked.emit(*self.cell_at(at.x(), at.y()))

    def event(self, event: QEvent | None) -> bool:
        """Say the value under the cursor."""
        found: Any = event
        if event is not None and event.type() == QEvent.Type.ToolTip and self.values.size:
            row, column = self.cell_at(found.pos().x(), found.pos().y())
            text = self._describe(row, column, float(self.values[row, column]))
            QToolTip.showText(found.globalPos(), text, self)
            return True
        return bool(super().event(event))


def cell_image(values: np.ndarray, limits: tuple[float, float]) -> QImage:
    """Return a picture of one pixel a value, ``(rows, columns)``; what is no number is grey."""
    rows, columns = values.shape
    low, high = limits
    place = np.clip((np.nan_to_num(values) - low) / (high - low or 1.0), 0, 1)
    steps = np.linspace(0, 1, len(_VIRIDIS))
    table = np.array(_VIRIDIS, dtype=float)
    rgb = np.stack([np.interp(place, steps, table[:, band]) for band in range(3)], axis=-1)
    rgb[~np.isfinite(values)] = 128
    pixels = np.ascontiguousarray(rgb.round().astype(np.uint8))
    picture = QImage(pixels.tobytes(), columns, rows, 3 * columns, QImage.Format.Format_RGB888)
    return picture.copy()
