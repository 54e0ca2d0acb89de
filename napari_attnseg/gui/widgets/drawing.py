"""The network as it was built: levels as boxes, skips as lines, attention as coloured dots."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from typing import Any

from qtpy.QtCore import QPointF, QRectF, QSize, Qt
from qtpy.QtGui import QColor, QFont, QPainter, QPaintEvent, QPen
from qtpy.QtWidgets import QSizePolicy, QWidget

from napari_attnseg.gui.colours import class_colour

ROW, BOX_HEIGHT, MARGIN = 30, 20, 8
NARROWEST, WIDEST = 46, 120
INK, BOX, LINE, DOT = "#E6EAF0", "#3B4657", "#7A8699", 9


@dataclass(frozen=True)
class Level:
    """One box of the drawing.

    Args:
        name: Layer name, such as ``encoder0``.
        side: -1 on the way down, 0 at the bottom, 1 on the way up.
        depth: Row from the top.
        channels: Feature channels.
        stride_dhw: Voxels of the input a cell spans.
        attention: Names of the attention sites there.
    """

    name: str
    side: int
    depth: int
    channels: int
    stride_dhw: tuple[float, ...]
    attention: tuple[str, ...]


def levels_of(description: dict[str, Any]) -> list[Level]:
    """Return the boxes of a network that a child described."""
    levels = [_level(one) for one in description.get("levels", ())]
    deepest = max((level.depth for level in levels if level.side), default=-1) + 1
    return [
        Level(one.name, 0, deepest, one.channels, one.stride_dhw, one.attention)
        if one.side == 0
        else one
        for one in levels
    ]


class NetworkDrawing(QWidget):
    """Draws a described network; hovering a box says what it is."""

    def __init__(self) -> None:
        super().__init__()
        self.levels: list[Level] = []
        self._boxes: list[tuple[QRectF, Level]] = []
        self._sites: list[str] = []
        self.message = ""
        self.setMouseTracking(True)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self._resize()

    def show_network(self, description: dict[str, Any] | None, message: str = "") -> None:
        """Draw a described network, or a sentence while there is none."""
        self.levels = [] if description is None else levels_of(description)
        self._sites = sorted({name for one in self.levels for name in map(_kind, one.attention)})
        self.message = message
        self._resize()
        self.update()

    def sizeHint(self) -> QSize:  # noqa: N802 - Qt's name
        """Return the size that shows every level."""
        return QSize(340, self.minimumHeight())

    def paintEvent(self, event: QPaintEvent | None) -> None:  # noqa: N802 - Qt's name
        """Draw."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        font = QFont(self.font())
        font.setPointSizeF(8)
        painter.setFont(font)
        if not self.levels:
            painter.setPen(QColor(LINE))
            flags = Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap
            painter.drawText(QRectF(self.rect()), int(flags), self.message)
            return
        self._boxes = [(self._rectangle(level), level) for level in self.levels]
        self._draw_lines(painter)
        for rectangle, level in self._boxes:
            self._draw_box(painter, rectangle, level)
        self._draw_legend(painter)

    def event(self, event: Any) -> bool:
        """Say what is under the cursor."""
        if event.type() == event.Type.ToolTip:
            self.setToolTip(self._tip(QPointF(event.pos())))
        return bool(super().event(event))

    def _resize(self) -> None:
        rows = max((level.depth for level in self.levels), default=2) + 1
        legend = 18 if self._sites else 0
        self.setFixedHeight(rows * ROW + 2 * MARGIN + legend)

    def _rectangle(self, level: Level) -> QRectF:
        most = max(one.channels for one in self.levels)
        room = min(WIDEST, (self.width() - 4 * MARGIN) / 2.4)
        width = NARROWEST + (room - NARROWEST) * (level.channels / most) ** 0.5
        inset = 12 * level.depth
        y = MARGIN + level.depth * ROW
        if level.side == 0:
            x = (self.width() - width) / 2
        elif level.side < 0:
            x = MARGIN + inset
        else:
            x = self.width() - MARGIN - inset - width
        return QRectF(x, y, width, BOX_HEIGHT)

    def _draw_lines(self, painter: QPainter) -> None:
        down = {one.depth: box for box, one in self._boxes if one.side < 0}
        up = {one.depth: box for box, one in self._boxes if one.side > 0}
        painter.setPen(QPen(QColor(LINE), 1, Qt.PenStyle.DashLine))
        for depth in down.keys() & up.keys():
            y = down[depth].center().y()
            painter.drawLine(QPointF(down[depth].right(), y), QPointF(up[depth].left(), y))
        painter.setPen(QPen(QColor(LINE), 1.5))
        order = [box for box, _ in self._boxes]
        for first, second in itertools.pairwise(order):
            start, end = first.center(), second.center()
            x = second.center().x() if second.y() > first.y() else first.center().x()
            painter.drawLine(start, QPointF(x, start.y()))
            painter.drawLine(QPointF(x, start.y()), end)

    def _draw_box(self, painter: QPainter, box: QRectF, level: Level) -> None:
        painter.setPen(QPen(QColor(LINE), 1))
        painter.setBrush(QColor(BOX))
        painter.drawRoundedRect(box, 4, 4)
        painter.setPen(QColor(INK))
        painter.drawText(box, int(Qt.AlignmentFlag.AlignCenter), str(level.channels))
        painter.setPen(Qt.PenStyle.NoPen)
        for index, site in enumerate(level.attention):
            painter.setBrush(QColor(self._colour(_kind(site))))
            x = box.right() - 4 - (DOT + 2) * index
            painter.drawEllipse(QPointF(x, box.bottom()), DOT / 2, DOT / 2)

    def _draw_legend(self, painter: QPainter) -> None:
        x, y = float(MARGIN), self.height() - 10.0
        for kind in self._sites:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor(self._colour(kind)))
            painter.drawEllipse(QPointF(x + DOT / 2, y), DOT / 2, DOT / 2)
            painter.setPen(QColor(INK))
            painter.drawText(QPointF(x + DOT + 4, y + 4), kind)
            x += DOT + 16 + painter.fontMetrics().horizontalAdvance(kind)

    def _colour(self, kind: str) -> str:
        return class_colour(self._sites.index(kind))

    def _tip(self, at: QPointF) -> str:
        for box, level in self._boxes:
            if box.contains(at):
                stride = " x ".join(f"{one:g}" for one in level.stride_dhw)
                sites = f"\nattention: {', '.join(level.attention)}" if level.attention else ""
                return f"{level.name}: {level.channels} channels, a cell is {stride} voxels{sites}"
        return "Boxes are levels with their channels, dashed lines are skip connections"


def _level(one: dict[str, Any]) -> Level:
    name = str(one["name"])
    number = re.search(r"(\d+)$", name)
    side = -1 if name.startswith("encoder") else 1 if name.startswith("decoder") else 0
    return Level(
        name=name,
        side=side,
        depth=int(number.group(1)) if number else 0,
        channels=int(one.get("channels") or 1),
        stride_dhw=tuple(one.get("stride_dhw") or ()),
        attention=tuple(one.get("attention") or ()),
    )


def _kind(site: str) -> str:
    """Return the site's kind, ``skip`` of ``skip:0``, for its colour."""
    return re.split(r"[:.\d]", site, maxsplit=1)[0]
