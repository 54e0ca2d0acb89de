"""A person's whole story in a real window, with real child processes and real buttons."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_attnseg.cohort.phantoms import write_phantoms
from napari_attnseg.gui.bench import Bench, bench_of
from napari_attnseg.gui.workbench import Workbench
from napari_attnseg.io import read_volume

pytestmark = pytest.mark.gui

TRAINING_STEPS = 12
PATIENCE_MS = 120_000


@pytest.fixture
def workbench(make_napari_viewer: Any) -> Iterator[Workbench]:
    viewer = make_napari_viewer()
    made = Workbench(viewer)
    viewer.window.add_dock_widget(made, name="Workbench")
    yield made
    bench: Bench = bench_of(viewer)
    bench.layers.is_changed = False
    bench.close()


def test_a_person_opens_trains_segments_corrects_learns_explains_and_evaluates(
    workbench: Workbench, qtbot: Any, tmp_path: Path
) -> None:
    session, layers = workbench.session, workbench.bench.layers

    def wait(until: Callable[[], bool]) -> None:
        qtbot.waitUntil(lambda: bool(workbench.messages.boxes) or until(), timeout=PATIENCE_MS)
        assert not workbench.messages.boxes, workbench.messages.boxes[0].problem.text

    # Open cases.
    cohort = write_phantoms(tmp_path / "cases", cases=6, seed=0)
    session.cases.open_folder(Path(tmp_path / "cases"))
    wait(lambda: len(session.cases.rows) == len(cohort.cases))
    train = next(row.name for row in session.cases.rows if row.set == "train")
    panel = workbench.panel("Cases")
    panel.table.choose(train)
    panel.open_button.click()
    wait(lambda: layers.case is not None and layers.case.name == train)

    # Choose backbone and attention.
    workbench.show_panel("Model")
    wait(lambda: bool(session.model.catalogue))
    model = workbench.panel("Model")
    model.attention.setCurrentIndex(model.attention.findData("cbam"))
    model.attention.activated.emit(model.attention.currentIndex())
    model.preset.setCurrentIndex(model.preset.findData("tiny"))
    model.preset.activated.emit(model.preset.currentIndex())
    wait(lambda: "parameters" in model.facts.text())
    assert model.drawing.levels

    # Train, watch, and stop: what was reached is kept.
    workbench.show_panel("Train")
    training = workbench.panel("Train")
    training.start.click()
    wait(lambda: len(session.training.curves.steps) >= TRAINING_STEPS)
    training.start.click()
    assert training.start.text() == "Stopping after this step…"
    wait(lambda: not session.training.is_running and session.model.run is not None)
    assert training.state.text().startswith("Stopped, kept epoch")

    # Segment.
    workbench.show_panel("Segment")
    segment = workbench.panel("Segment")
    wait(lambda: segment.one.isEnabled())
    segment.one.click()
    wait(lambda: session.predictions.view is not None)
    image = layers.case.image
    assert session.predictions.view.labels.grid.difference(image.grid) is None

    # Paint a correction, and learn from it.
    middle = tuple(size // 2 for size in layers.labels.data.shape)
    layers.labels.paint(middle, 2)
    segment.correction.learn.click()
    wait(lambda: len(session.training.curves.steps) >= 2 and session.training.is_running)
    session.training.stop()
    wait(lambda: session.training.comparison is not None and not session.training.is_running)
    saved = read_volume(session.cases.project.case(train).label, labels=True)
    assert saved.data[(0, *middle)] == 2
    assert saved.grid.difference(image.grid) is None
    assert not segment.correction.table.isHidden()
    segment.correction.table.keep.click()
    wait(lambda: session.model.run.id == "002")

    # Look at a map, and at attention.
    workbench.show_panel("Explain")
    explain = workbench.panel("Explain")
    wait(lambda: explain.show_button.isEnabled())
    explain.show_button.click()
    wait(lambda: not explain.shown.caption.isHidden() or not explain.shown.reason.isHidden())
    if session.explanations.view.path is not None:
        explain.check.quick.button.click()
        checks = session.explanations.checks
        wait(lambda: checks.view is not None and bool(checks.view.verdict))
        assert not explain.check.verdict.isHidden()
        assert explain.check.bars.bars
    wait(lambda: explain.attention_button.isEnabled())
    explain.attention_button.click()
    wait(lambda: bool(explain.rows))
    overlay = next(row.overlay for row in explain.rows if row.overlay is not None)
    overlay.click()
    wait(lambda: layers.has("map"))
    assert any(row.item.values for row in explain.rows)

    # Read the Dice table; a click opens the worst case.
    workbench.show_panel("Evaluate")
    evaluate = workbench.panel("Evaluate")
    wait(lambda: evaluate.evaluate.isEnabled())
    evaluate.evaluate.click()
    wait(lambda: session.scores.scores is not None)
    worst = evaluate.table.keys[0]
    evaluate.table.clicked_key.emit(worst)
    wait(lambda: layers.case is not None and layers.case.name == worst)
    scores = [row.mean_dice or 0.0 for row in session.scores.scores.rows]
    assert scores == sorted(scores)
    assert np.isfinite(scores).all()
