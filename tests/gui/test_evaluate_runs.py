"""The table of scores beside another run's, and the report, in a real window."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from napari_attnseg.gui.workbench import Workbench

pytestmark = pytest.mark.gui

Settled = Callable[[], None]
CASES = [f"case_{n:03d}" for n in range(1, 6)]


@pytest.fixture
def scored(
    opened: Workbench, runner: Any, make_run: Any, settled: Settled, qtbot: Any
) -> Workbench:
    """Run 2 has been compared with the labels; run 1 has scores of all cases but the last."""
    make_run(0.6)
    path = Path(opened.session.cases.project.run_dir("001")) / "result.json"
    cases = {name: {"1": 0.5 + 0.05 * n, "2": 0.9} for n, name in enumerate(CASES[:-1])}
    validation = {"cases": cases, "mean": {"1": 0.6, "2": 0.9}}
    path.write_text(json.dumps({"state": "done", "validation": validation}), encoding="utf-8")
    make_run(0.8)
    opened.session.model.use_run("002")
    settled()
    opened.session.scores._compare()
    rows = [{"case": name, "classes": {"1": score(0.7), "2": score(0.8)}} for name in CASES]
    runner.last("evaluate").finish(cases=rows, unmatched=[])
    qtbot.waitUntil(lambda: opened.session.scores.scores is not None)
    return opened


def score(dice: float) -> dict[str, Any]:
    return {"name": "", "dice": dice, "iou": dice / 2, "volume_ml": 1.1, "reference_ml": 1.0}


def compare_with(workbench: Workbench, run: str, settled: Settled) -> Any:
    panel = workbench.panel("Evaluate")
    panel.other.setCurrentIndex(panel.other.findData(run))
    panel.other.activated.emit(panel.other.currentIndex())
    settled()
    return panel


def test_another_run_stands_beside_the_scores_case_by_case(
    scored: Workbench, settled: Settled
) -> None:
    panel = compare_with(scored, "001", settled)

    found = {key: panel.table.text(row, 3) for row, key in enumerate(panel.table.keys)}
    expected = {
        name: f"{(0.7 - (0.5 + 0.05 * n) + 0.8 - 0.9) / 2:+.3f}"
        for n, name in enumerate(CASES[:-1])
    }
    assert found == {**expected, CASES[-1]: "–"}
    words = panel.difference.text()
    assert "better in 2 of 4 cases, worse in 1" in words
    assert "Too few cases" in words
    assert "1 of the cases have no score there" in words


def test_without_another_run_the_table_is_as_before(scored: Workbench, settled: Settled) -> None:
    compare_with(scored, "001", settled)
    panel = compare_with(scored, "", settled)

    assert panel.difference.isHidden()
    assert panel.table.text(0, 3) == "+10 %"


def test_the_report_is_a_page_with_every_case_and_the_comparison(
    scored: Workbench, settled: Settled, tmp_path: Path
) -> None:
    compare_with(scored, "001", settled)
    scored.session.scores.write_report(tmp_path / "report.html")
    settled()

    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert all(name in page for name in CASES)
    assert "Against run 1" in page
    assert "For research use, not a medical device." in page


def test_what_cannot_be_done_without_scores_says_why(opened: Workbench, make_run: Any) -> None:
    make_run()
    panel = opened.panel("Evaluate")

    for widget in (panel.save, panel.report, panel.other):
        assert not widget.isEnabled()
        assert widget.toolTip() == "Compare with labels first."


def test_the_table_fits_a_narrow_dock(scored: Workbench, settled: Settled, qtbot: Any) -> None:
    panel = compare_with(scored, "001", settled)
    scored.resize(380, 720)
    qtbot.wait(20)

    assert panel.minimumSizeHint().width() <= 352
