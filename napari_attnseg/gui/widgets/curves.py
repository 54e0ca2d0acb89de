"""Live curves of loss and Dice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyqtgraph as pg
from qtpy.QtGui import QFont
from qtpy.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

BACKGROUND, AXIS = "#20242B", "#9AA3AF"
MOST_POINTS = 600


class CurvePlots(QWidget):
    """The loss of every step beside the Dice of every validation, class by class.

    Args:
        height: Of the plots, in pixels.
    """

    def __init__(self, height: int = 130) -> None:
        super().__init__()
        self.loss_plot, self.dice_plot = _plot("loss", height), _plot("validation Dice", height)
        self.dice_plot.setYRange(0, 1, padding=0.02)
        self.loss_curve = self.loss_plot.plot([], [], pen=pg.mkPen("#7A8699", width=1))
        self.smooth_curve = self.loss_plot.plot([], [], pen=pg.mkPen("#E8ECF2", width=2))
        self.dice_curves: dict[int, pg.PlotDataItem] = {}
        row = QHBoxLayout()
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(4)
        row.addWidget(self.loss_plot)
        row.addWidget(self.dice_plot)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(row)

    def show_losses(self, steps: Sequence[int], losses: Sequence[float]) -> None:
        """Draw the loss, thinned where there are more steps than pixels, and its trend."""
        x, y = np.asarray(steps, dtype=float), np.asarray(losses, dtype=float)
        trend = running_mean(y, max(1, len(y) // 30))
        stride = max(1, len(x) // MOST_POINTS)
        self.loss_curve.setData(x[::stride], y[::stride])
        self.smooth_curve.setData(x[::stride], trend[::stride])

    def show_dice(
        self,
        at: Sequence[int],
        dice: Mapping[int, Sequence[float]],
        colours: Mapping[int, str],
    ) -> None:
        """Draw each class's Dice in the class's colour."""
        for value in [one for one in self.dice_curves if one not in dice]:
            self.dice_plot.removeItem(self.dice_curves.pop(value))
        for value, line in dice.items():
            if value not in self.dice_curves:
                colour = colours.get(value, "#CCCCCC")
                self.dice_curves[value] = self.dice_plot.plot(
                    [],
                    [],
                    pen=pg.mkPen(colour, width=2),
                    symbol="o",
                    symbolSize=5,
                    symbolBrush=colour,
                    symbolPen=None,
                    connect="finite",
                )
            self.dice_curves[value].setData(np.asarray(at[: len(line)], float), np.asarray(line))


def running_mean(values: np.ndarray, length: int) -> np.ndarray:
    """Return the mean of each value and those before it, at most ``length`` of them."""
    if length <= 1 or not len(values):
        return values
    total = np.cumsum(np.insert(np.nan_to_num(values), 0, 0.0))
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(0, ends - length)
    return (total[ends] - total[starts]) / (ends - starts)


def _plot(title: str, height: int) -> pg.PlotWidget:
    plot = pg.PlotWidget(background=BACKGROUND)
    plot.setTitle(title, color=AXIS, size="9pt")
    plot.setFixedHeight(height)
    plot.setMinimumWidth(120)
    plot.setMenuEnabled(False)
    plot.setMouseEnabled(x=False, y=False)
    plot.hideButtons()
    plot.showGrid(x=False, y=True, alpha=0.25)
    font = QFont()
    font.setPointSize(7)
    for side in ("left", "bottom"):
        axis = plot.getAxis(side)
        axis.setTickFont(font)
        axis.setTextPen(AXIS)
        axis.setPen(AXIS)
    return plot
