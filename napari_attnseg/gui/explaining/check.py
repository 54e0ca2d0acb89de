"""Check this map: bars beside noise and the structure itself, and a verdict in plain words."""

from __future__ import annotations

from typing import Any

from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

from napari_attnseg.gui.bench import Bench
from napari_attnseg.gui.widgets.check_bars import Bar, CheckBars
from napari_attnseg.gui.widgets.fold import fold
from napari_attnseg.gui.widgets.job_button import JobButton
from napari_attnseg.gui.widgets.line_chart import Line, LineChart
from napari_attnseg.session.checks import CheckView

VERDICTS = {
    "better": ("✓", "#56B4E9", "Better than noise"),
    "no better": ("=", "#C3CAD4", "No better than noise"),
    "worse": ("✗", "#E69F00", "Worse than noise"),
    "unknown": ("?", "#C3CAD4", "Not known"),
}
"""A sign, a colour and words each: never colour alone."""

ROWS = {
    "map": ("this map", "#56B4E9"),
    "random": ("noise", "#8A93A0"),
    "oracle": ("the mask itself", "#009E73"),
    "nearest": ("nearness to it", "#CC79A7"),
}
LINES = {"map": "#56B4E9", "random": "#8A93A0", "oracle": "#009E73", "nearest": "#CC79A7",
         "spearman": "#56B4E9", "ssim": "#E69F00"}  # fmt: skip
WORDS = {"spearman": "order of the cells", "ssim": "structure"}
REFERENCES = ("random", "oracle", "nearest")
FIRST = "road"


class Check(QWidget):
    """The check of the shown map.

    Args:
        bench: The session and the viewer it shows.
    """

    def __init__(self, bench: Bench) -> None:
        super().__init__()
        self.session = bench.session
        self.desk = bench.session.explanations.checks
        self.quick = JobButton(
            "Check this map", self.desk.check, self.desk.stop, self.desk.running
        )
        self.full = JobButton(
            "Check thoroughly",
            lambda: self.desk.check("full"),
            self.desk.stop,
            self.desk.running,
        )
        self.verdict, self.flags = QLabel(), QLabel()
        self.bars = CheckBars()
        self.bars_title = QLabel()
        self.details = fold("How it was measured")
        self.measures: dict[str, QWidget] = {}
        self._inside = QWidget()
        self._column = QVBoxLayout(self._inside)
        self._column.setContentsMargins(0, 0, 0, 0)
        for label in (self.verdict, self.flags, self.bars_title):
            label.setWordWrap(True)
        self.bars_title.setStyleSheet("color: #9AA3AF; font-size: 11px;")
        self.flags.setStyleSheet("color: #F0E442; font-size: 11px;")
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(3)
        for widget in (self.quick, self.verdict, self.bars_title, self.bars, self.flags):
            column.addWidget(widget)
        self.details.addWidget(self._inside)
        self.details.addWidget(self.full)
        column.addWidget(self.details)
        self.desk.checked.connect(self.show_check)
        self.desk.changed.connect(self.refresh)
        self.session.work.changed.connect(self._follow)
        self.show_check(None)

    def refresh(self) -> None:
        """Enable what can be checked now."""
        reason = self.desk.why_not()
        is_running = self.desk.running() is not None
        self.quick.allow(
            reason, "Compares the map with noise: do the marked places matter? About a minute"
        )
        self.full.allow(
            reason, "Deletion, insertion, context, random weights and flips as well; minutes"
        )
        self.full.setVisible(not is_running)

    def show_check(self, view: CheckView | None) -> None:
        """Show what is known so far."""
        self._clear()
        measured = view.measures if view is not None else {}
        self._show_verdict(view)
        first = measured.get(FIRST) or next(iter(measured.values()), None)
        rows = (first or {}).get("rows") or []
        self.bars.setVisible(bool(rows))
        self.bars_title.setVisible(bool(rows))
        if first and rows:
            self.bars.show_bars(bars_of(rows))
            self.bars_title.setText(str(first.get("summary") or first.get("title") or ""))
        for name, result in measured.items():
            self._add(name, result)
        self.details.setVisible(bool(measured))
        self.refresh()

    def _show_verdict(self, view: CheckView | None) -> None:
        verdict = view.verdict if view is not None else {}
        self.verdict.setVisible(bool(verdict))
        self.flags.setVisible(bool(view is not None and view.flags))
        if view is None or not verdict:
            return
        sign, colour, words = VERDICTS.get(str(verdict.get("word")), VERDICTS["unknown"])
        sentence = str(verdict.get("sentence") or words)
        self.verdict.setText(
            f'<span style="color:{colour}; font-size: 15px;"><b>{sign}</b></span> {sentence}'
        )
        self.verdict.setToolTip(str(verdict.get("how") or ""))
        self.flags.setText("\n".join(view.flags))

    def _add(self, name: str, result: dict[str, Any]) -> None:
        text = QLabel(measure_words(result))
        text.setWordWrap(True)
        text.setStyleSheet("font-size: 11px;")
        text.setToolTip(str(result.get("summary") or ""))
        self.measures[name] = text
        self._column.addWidget(text)
        curves = result.get("curves") or []
        if not curves:
            return
        values = [y for curve in curves for y in curve["y"] if y is not None]
        low = min([0.0, *values])
        chart = LineChart(
            str(curves[0].get("x_title") or ""),
            (-1.0 if low < 0 else 0.0, 1.0),
            curves[0].get("x_labels") or (),
        )
        chart.show_lines(lines_of(curves))
        chart.setToolTip(curves_words(curves))
        self._column.addWidget(chart)

    def _clear(self) -> None:
        self.measures = {}
        while self._column.count():
            item = self._column.takeAt(0)
            widget = item.widget() if item is not None else None
            if widget is not None:
                widget.hide()
                widget.deleteLater()

    def _follow(self, work: object) -> None:
        for one in (self.quick, self.full):
            one.refresh()


def bars_of(rows: list[dict[str, Any]]) -> list[Bar]:
    """Return the bars of a measure's rows that have a value."""
    found = []
    for row in rows:
        name, colour = ROWS.get(str(row["name"]), (str(row.get("title")), "#8A93A0"))
        if row.get("value") is not None:
            spread = row.get("spread")
            tip = str(row.get("title") or "") + (f", ± {spread:.2g}" if spread else "")
            found.append(Bar(name, float(row["value"]), colour, tip))
    return found


def lines_of(curves: list[dict[str, Any]]) -> list[Line]:
    """Return the curves of a measure as lines: the map's are thick, a second of a kind dashed."""
    lines: list[Line] = []
    for curve in curves:
        row = str(curve.get("row"))
        name = ROWS.get(row, (WORDS.get(row, str(curve.get("title") or row)), ""))[0]
        is_second = any(line.name == name for line in lines)
        width = 1.2 if row in REFERENCES else 2.4
        colour = LINES.get(row, "#C3CAD4")
        lines.append(Line(name, curve["x"], curve["y"], colour, is_second, width))
    return lines


def curves_words(curves: list[dict[str, Any]]) -> str:
    """Return what each curve is, and how solid and dashed lines differ."""
    titles = [str(curve.get("title") or "") for curve in curves]
    return "\n".join(dict.fromkeys(title for title in titles if title))


def measure_words(result: dict[str, Any]) -> str:
    """Return a measure in a line: its title, its value and what that means."""
    value = result.get("value")
    unit = str(result.get("unit") or "")
    shown = "" if value is None else f" <b>{float(value):.2f}{f' {unit}' if unit else ''}</b>"
    return f"{result.get('title')}{shown}<br>{result.get('sentence') or ''}"
