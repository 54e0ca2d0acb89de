from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from qtpy.QtWidgets import QDockWidget, QMainWindow, QWidget

from napari_attnseg.gui.viewer.calm import CalmScrolling, keep_quiet

pytestmark = pytest.mark.gui


@pytest.fixture
def window_of(make_napari_viewer: Any) -> Any:
    def make() -> tuple[Any, QMainWindow, QWidget]:
        viewer = make_napari_viewer()
        viewer.add_image(np.zeros((6, 8, 10)))
        dock = viewer.window.add_dock_widget(QWidget(), name="probe")
        window = dock.parent()
        assert isinstance(window, QMainWindow)
        docks = window.findChildren(QDockWidget)
        layer_list = next(one for one in docks if one.windowTitle() == "layer list")
        return viewer, window, layer_list

    return make


def test_while_slices_go_by_the_layer_list_waits_and_is_drawn_afterwards(
    window_of: Any, qtbot: Any
) -> None:
    viewer, window, layer_list = window_of()
    calm = CalmScrolling(viewer, window)

    viewer.dims.set_current_step(0, 4)

    assert not layer_list.updatesEnabled()
    qtbot.waitUntil(layer_list.updatesEnabled, timeout=2000)
    calm.stop()


def test_what_changes_by_itself_waits_with_it(window_of: Any, qtbot: Any) -> None:
    viewer, window, _ = window_of()
    progress = QWidget(window)
    keep_quiet(progress)
    calm = CalmScrolling(viewer, window)

    viewer.dims.set_current_step(0, 4)

    assert not progress.updatesEnabled()
    qtbot.waitUntil(progress.updatesEnabled, timeout=2000)
    calm.stop()


def test_a_slice_is_drawn_in_the_turn_after_it_was_cut(window_of: Any, qtbot: Any) -> None:
    viewer, window, _ = window_of()
    calm = CalmScrolling(viewer, window)
    centre = window.centralWidget()

    viewer.dims.set_current_step(0, 4)

    assert not centre.updatesEnabled()
    qtbot.waitUntil(centre.updatesEnabled, timeout=50)
    calm.stop()


def test_after_the_window_has_let_go_nothing_is_held_back(window_of: Any) -> None:
    viewer, window, layer_list = window_of()
    calm = CalmScrolling(viewer, window)
    viewer.dims.set_current_step(0, 4)

    calm.stop()
    viewer.dims.set_current_step(0, 1)

    assert layer_list.updatesEnabled()
    assert window.centralWidget().updatesEnabled()
