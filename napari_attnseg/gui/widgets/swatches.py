"""Small squares in a class's colour."""

from __future__ import annotations

from qtpy.QtGui import QColor, QIcon, QPixmap


def colour_icon(colour: str, side: int = 12) -> QIcon:
    """Return a square of one colour, ``#RRGGBB``."""
    pixmap = QPixmap(side, side)
    pixmap.fill(QColor(colour))
    return QIcon(pixmap)
