"""Channel attention as a strip of numbers: it has no place, so it is never painted on anatomy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from napari_attnseg.gui.widgets.cells import Cells


class Strip(Cells):
    """One cell a channel, in their order or from the strongest to the weakest.

    Args:
        values: What to show, or a row of them for each branch.
        limits: Values of the darkest and the brightest colour.
        rows: Names of the branches, where there are several.
    """

    def __init__(
        self,
        values: Sequence[float] | Sequence[Sequence[float]],
        limits: tuple[float, float] = (0.0, 1.0),
        rows: Sequence[str] = (),
    ) -> None:
        table = np.atleast_2d(np.asarray(values, dtype=float))
        self._rows = tuple(rows)
        self.order = np.arange(table.shape[1])
        self._unsorted = table
        super().__init__(table, limits, self._say, 16 if table.shape[0] == 1 else 12)

    def sort(self, is_sorted: bool) -> None:
        """Order the channels by their weight, the strongest first, or as the network has them."""
        first = self._unsorted[0]
        self.order = np.argsort(-first, kind="stable") if is_sorted else np.arange(len(first))
        self.chosen = None
        self.set_values(self._unsorted[:, self.order])

    def channel(self, column: int) -> int:
        """Return the network's number of the channel that stands in a column."""
        return int(self.order[column])

    def _say(self, row: int, column: int, value: float) -> str:
        branch = f"{self._rows[row]}, " if row < len(self._rows) else ""
        return f"{branch}channel {self.channel(column)}: {value:.3f}"


def strip_limits(values: Sequence[float]) -> tuple[float, float]:
    """Return 0 to 1 for gates, else the range of the values, so that a gate is not exaggerated."""
    found = [one for one in values if np.isfinite(one)] or [0.0, 1.0]
    low, high = min(found), max(found)
    return (0.0, 1.0) if low >= 0 and high <= 1 else (low, high)
