"""One slice of a validation case with its label and what the network predicts for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtGui import QColor, QImage, QPixmap
from qtpy.QtWidgets import QHBoxLayout, QLabel, QVBoxLayout, QWidget

SIDE = 150
OVERLAY = 0.55


class Preview(QWidget):
    """Two small pictures: the label, and the prediction as it stands."""

    def __init__(self) -> None:
        super().__init__()
        self.caption = QLabel()
        self.label_picture, self.prediction_picture = QLabel(), QLabel()
        row = QHBoxLayout()
        row.setContentsMargins(0, 0, 0, 0)
        for picture, title in (
            (self.label_picture, "Label"),
            (self.prediction_picture, "Predicted now"),
        ):
            picture.setAlignment(Qt.AlignmentFlag.AlignCenter)
            column = QVBoxLayout()
            heading = QLabel(title)
            heading.setAlignment(Qt.AlignmentFlag.AlignCenter)
            column.addWidget(heading)
            column.addWidget(picture)
            row.addLayout(column)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.caption)
        column.addLayout(row)
        self.clear()

    def clear(self) -> None:
        """Show nothing until the next validation."""
        self.hide()

    def show_slice(self, arrays: Mapping[str, Any], colours: Mapping[int, str]) -> None:
        """Show ``image``, ``label`` and ``prediction``, each ``(H, W)`` on the network's grid.

        There rows and columns grow towards right, anterior or superior; on screen these are at
        the left and at the top.
        """
        image = np.asarray(arrays["image"], dtype=np.float32)[::-1, ::-1]
        aspect = float(np.asarray(arrays.get("aspect", 1.0)))
        for picture, name in (
            (self.label_picture, "label"),
            (self.prediction_picture, "prediction"),
        ):
            pixels = overlay(image, np.asarray(arrays[name])[::-1, ::-1], colours)
            picture.setPixmap(_pixmap(pixels, aspect))
        self.caption.setText(f"Validation case {arrays.get('case', '')}")
        self.show()


def overlay(image: np.ndarray, labels: np.ndarray, colours: Mapping[int, str]) -> np.ndarray:
    """Return an RGB picture, ``(rows, columns, 3)`` uint8, of classes over a grey slice."""
    finite = image[np.isfinite(image)]
    low, high = np.percentile(finite, (1, 99)) if finite.size else (0.0, 1.0)
    grey = np.clip((np.nan_to_num(image) - low) / max(high - low, 1e-6), 0, 1) * 255
    rgb = np.repeat(grey[..., None], 3, axis=-1)
    for value, name in colours.items():
        colour = QColor(name)
        tint = np.array([colour.red(), colour.green(), colour.blue()], dtype=np.float32)
        where = labels == value
        rgb[where] = (1 - OVERLAY) * rgb[where] + OVERLAY * tint
    return np.ascontiguousarray(rgb.astype(np.uint8))


def _pixmap(pixels: np.ndarray, aspect: float) -> QPixmap:
    rows, columns, _ = pixels.shape
    image = QImage(pixels.tobytes(), columns, rows, 3 * columns, QImage.Format.Format_RGB888)
    # A slice of thick voxels is drawn as thick as it is.
    height, width = rows * aspect, float(columns)
    factor = SIDE / max(height, width)
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    mode = Qt.TransformationMode.SmoothTransformation
    return QPixmap.fromImage(image.copy()).scaled(
        *size, Qt.AspectRatioMode.IgnoreAspectRatio, mode
    )
