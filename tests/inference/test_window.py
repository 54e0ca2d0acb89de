from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_attnseg.inference.window import Canvas, WindowPlan, plan_windows

SIZES = [(16, 24, 32), (17, 50, 33), (5, 24, 100), (40, 41, 1)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("overlap", [0.0, 0.5, 0.75])
def test_windows_cover_every_voxel(size: tuple[int, int, int], overlap: float) -> None:
    plan = plan_windows(size, (16, 24, 32), overlap=overlap, multiple=(4, 8, 4))

    seen = np.zeros(size, dtype=bool)
    for d, h, w in plan:
        seen[d : d + plan.window[0], h : h + plan.window[1], w : w + plan.window[2]] = True

    assert seen.all()


@pytest.mark.parametrize("size", SIZES)
def test_windows_start_at_multiples_and_end_less_than_one_beyond(
    size: tuple[int, int, int],
) -> None:
    multiple = (4, 8, 4)

    plan = plan_windows(size, (16, 24, 32), multiple=multiple)

    for axis in range(3):
        assert all(start % multiple[axis] == 0 for start in plan.starts[axis])
        beyond = plan.starts[axis][-1] + plan.window[axis] - size[axis]
        assert 0 <= beyond < multiple[axis]


def test_neighbours_share_at_least_what_was_asked() -> None:
    plan = plan_windows((200, 90, 55), (32, 48, 24), overlap=0.5, multiple=(8, 8, 4))

    for axis in range(3):
        steps = np.diff(plan.starts[axis])
        assert steps.max() <= plan.window[axis] / 2
        assert steps.min() > 0


def test_a_volume_smaller_than_the_patch_is_one_window_of_its_own_size() -> None:
    plan = plan_windows((5, 7, 9), (16, 24, 32), multiple=(8, 8, 8))

    assert plan.window == (5, 7, 9)
    assert list(plan) == [(0, 0, 0)]


def test_a_patch_that_is_no_multiple_is_rounded_up() -> None:
    plan = plan_windows((50, 60, 70), (15, 20, 30), multiple=(8, 8, 8))

    assert plan.window == (16, 24, 32)


def test_slices_of_a_flat_network_are_not_seen_twice() -> None:
    plan = plan_windows((12, 40, 50), (4, 32, 32), multiple=(1, 8, 8), is_flat=True)

    assert plan.starts[0] == (0, 4, 8)


def test_a_cut_repeats_the_border_outside_the_volume() -> None:
    x = torch.arange(4.0 * 5 * 6).reshape(1, 1, 4, 5, 6)
    plan = WindowPlan((4, 5, 6), (3, 3, 4), ((0, 3), (0, 3), (0, 4)), margin=(1, 2, 0))

    part = plan.cut(x, (3, 3, 4))

    d, h, w = np.clip(range(2, 7), 0, 3), np.clip(range(1, 8), 0, 4), np.clip(range(4, 8), 0, 5)
    assert np.array_equal(part[0, 0], x[0, 0].numpy()[np.ix_(d, h, w)])


def test_weights_are_gaussian_where_two_windows_overlap() -> None:
    plan = WindowPlan((24, 1, 1), (16, 1, 1), ((0, 8), (0,), (0,)))

    weight = Canvas(plan).weight((0, 0, 0))[:, 0, 0]

    def bell(x: float) -> float:
        return float(np.exp(-0.5 * ((x - 7.5) / 2) ** 2))

    assert weight[3] == pytest.approx(1)
    assert weight[10] == pytest.approx(bell(10) / (bell(10) + bell(2)))


@pytest.mark.parametrize("stride", [1, 2, 4])
def test_the_weights_of_all_windows_add_up_to_one(stride: int) -> None:
    plan = plan_windows((37, 50, 20), (16, 24, 32), multiple=(4, 8, 4))
    cells = tuple(-(-n // stride) for n in plan.window)
    canvas = Canvas(plan, cells, (stride,) * 3, ((stride - 1) / 2,) * 3)  # type: ignore[arg-type]
    total = canvas.empty(1)

    for start in plan:
        canvas.add(total, start, torch.ones(1, *cells), is_weighted=True)

    assert torch.allclose(total, torch.ones_like(total), atol=1e-6)


def test_the_shares_of_all_windows_add_up_to_one() -> None:
    plan = plan_windows((37, 50, 20), (16, 24, 32), multiple=(4, 8, 4))
    canvas = Canvas(plan)

    assert sum(canvas.share(start) for start in plan) == pytest.approx(1, abs=1e-6)


def test_windows_that_do_not_meet_on_one_grid_are_refused() -> None:
    plan = WindowPlan((22, 8, 8), (16, 8, 8), ((0, 6), (0,), (0,)))

    with pytest.raises(ValueError, match="do not meet"):
        Canvas(plan, (4, 2, 2), (4.0, 4.0, 4.0), (1.5, 1.5, 1.5))
