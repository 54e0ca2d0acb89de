from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_attnseg.config import ModelConfig
from napari_attnseg.explanation import METHODS, explain_tensor
from napari_attnseg.explanation.stitch import RawMap, Stitcher, stitched_map
from napari_attnseg.explanation.target import Target
from napari_attnseg.inference.sliding import sliding_window, windows_for
from napari_attnseg.inference.window import Canvas, WindowPlan
from napari_attnseg.models import SegmentationModel, build_model

PATCH = (16, 24, 20)


def finish(steps: Any) -> Any:
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def network(dims: int = 3, **options: Any) -> SegmentationModel:
    torch.manual_seed(0)
    return build_model(
        ModelConfig(backbone=f"unet{dims}d", preset="tiny", dims=dims, out_channels=3, **options)
    ).eval()


def stitched(
    model: SegmentationModel, x: Tensor, region: Tensor, layer: str, method: str, **options: Any
) -> RawMap:
    plan = options.get("plan") or windows_for(model, cast("Any", tuple(x.shape[2:])), PATCH)
    stitcher = Stitcher(model, x, plan, layer, Target(region, {1: 1.0}))
    return cast("RawMap", finish(stitched_map(stitcher, METHODS[method]())))


def bell(window: int, starts: tuple[int, ...], cells: int, stride: float, offset: float) -> Any:
    """Return for each start the weights of its cells, by the formula, one value at a time."""
    raw = [
        np.exp(-0.5 * ((offset + stride * u - (window - 1) / 2) / (window / 8)) ** 2)
        for u in range(cells)
    ]
    total: dict[int, float] = {}
    for start in starts:
        for u in range(cells):
            at = round(start / stride) + u
            total[at] = total.get(at, 0.0) + raw[u]
    return {s: [raw[u] / total[round(s / stride) + u] for u in range(cells)] for s in starts}


def outer(bells: list[Any], start: tuple[int, int, int]) -> np.ndarray:
    d, h, w = (np.array(bells[axis][start[axis]]) for axis in range(3))
    return cast("np.ndarray", d[:, None, None] * h[:, None] * w)


def slow_plain_sum(
    model: SegmentationModel,
    x: Tensor,
    region: Tensor,
    layer: str,
    method: str,
    *,
    plan: WindowPlan,
) -> np.ndarray:
    """Sum over windows in numpy, with whole graphs and nothing skipped."""
    grid = model.layer_grid(layer, plan.window)
    ends = [s[-1] + n for s, n in zip(plan.starts, plan.window, strict=True)]
    more = [max(0, end - n) for end, n in zip(ends, plan.size, strict=True)]
    pads = [p for n in more[::-1] for p in (0, n)]
    padded, inside = F.pad(x, pads, mode="replicate"), F.pad(region, pads)
    rows = list(zip(plan.window, plan.starts, strict=True))
    full = [bell(n, s, n, 1.0, 0.0) for n, s in rows]
    found = []
    for start in plan:
        at = tuple(slice(s, s + n) for s, n in zip(start, plan.window, strict=True))
        kept: list[Tensor] = []
        handle = model.layer(layer).register_forward_hook(lambda *a: kept.append(a[2]))  # noqa: B023
        weights = torch.from_numpy(outer(full, start)) * inside[at] / region.sum()
        score = (model(padded[(..., *at)])[0, 1].double() * weights).sum()
        handle.remove()
        gradient = torch.autograd.grad(score, kept[0])[0]
        found.append((start, kept[0][0].detach().double().numpy(), gradient[0].double().numpy()))
    cells = found[0][1].shape[1:]
    ends = zip(plan.starts, grid.stride_dhw, cells, strict=True)
    size = [round(starts[-1] / stride) + n for starts, stride, n in ends]
    low = [bell(*rows[a], cells[a], grid.stride_dhw[a], grid.offset_dhw[a]) for a in range(3)]
    alpha = sum(g.sum(axis=(1, 2, 3)) for _, _, g in found) / np.prod(size)
    total = np.zeros(size)
    for start, a, g in found:
        at = tuple(
            slice(round(s / st), round(s / st) + n)
            for s, st, n in zip(start, grid.stride_dhw, cells, strict=True)
        )
        if method == "hires-cam":
            total[at] += (g * a).sum(axis=0)
        else:
            total[at] += np.tensordot(alpha, a, axes=1) * outer(low, start)
    return total


@pytest.mark.parametrize("method", ["hires-cam", "grad-cam"])
@pytest.mark.parametrize("layer", ["encoder1", "bottleneck"])
@pytest.mark.parametrize("size", [(22, 34, 27), (9, 50, 20)])
def test_windows_add_up_to_a_slow_plain_sum(
    method: str, layer: str, size: tuple[int, int, int]
) -> None:
    model = network(attention="se")
    x = torch.randn(1, 1, *size)
    region = torch.zeros(size, dtype=torch.bool)
    region[2:8, 5:19, 3:15] = True
    plan = windows_for(model, size, PATCH)

    result = stitched(model, x, region, layer, method)

    expected = slow_plain_sum(model, x, region, layer, method, plan=plan)
    assert result.values.shape == expected.shape
    assert np.abs(result.values.numpy() - expected).max() < 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("method", sorted(METHODS))
@pytest.mark.parametrize("size", [(16, 24, 20), (13, 9, 18)])
def test_one_window_that_covers_the_volume_is_the_map_without_windows(
    method: str, size: tuple[int, int, int]
) -> None:
    model = network()
    x, region = torch.randn(1, 1, *size), torch.rand(size) > 0.6

    for layer in model.layer_names:
        result = stitched(model, x, region, layer, method)

        plain = explain_tensor(model, x, region, 1, method, layer)[0, 0]
        assert torch.allclose(
            result.values, plain, rtol=1e-5, atol=1e-6 * float(plain.abs().max())
        )


@pytest.mark.parametrize("method", sorted(METHODS))
def test_two_identical_windows_of_half_weight_are_one(method: str) -> None:
    model = network()
    x, region = torch.randn(1, 1, *PATCH), torch.rand(PATCH) > 0.6
    twice = WindowPlan(PATCH, PATCH, ((0, 0), (0,), (0,)))

    one = stitched(model, x, region, "encoder1", method)
    two = stitched(model, x, region, "encoder1", method, plan=twice)

    assert torch.allclose(one.values, two.values, rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("method", sorted(METHODS))
def test_a_local_network_is_explained_by_windows_as_by_the_whole(method: str) -> None:
    model = network()
    for module in model.modules():
        for name, child in list(module.named_children()):
            if "Norm" in type(child).__name__:
                setattr(module, name, nn.Identity())
    size = (22, 58, 27)
    x, region = torch.randn(1, 1, *size), torch.zeros(size, dtype=torch.bool)
    region[3:15, 20:40, 5:20] = True

    plan = windows_for(model, size, (24, 40, 28))

    windows = stitched(model, x, region, "bottleneck", method, plan=plan)
    whole = explain_tensor(model, x, region, 1, method, "bottleneck")[0, 0]

    assert len(plan) > 1
    d, h, w = whole.shape
    pair = np.stack([windows.values[:d, :h, :w].numpy().ravel(), whole.numpy().ravel()])
    assert np.corrcoef(pair)[0, 1] > 0.9


def test_before_a_linear_head_the_map_adds_up_to_the_stitched_score() -> None:
    model = network()
    size = (22, 34, 27)
    x, region = torch.randn(1, 1, *size), torch.rand(size) > 0.7
    head = [one for one in model.modules() if isinstance(one, nn.Conv3d)][-1]
    logits = finish(sliding_window(model, x, PATCH))

    result = stitched(model, x, region, "decoder0", "hires-cam")

    score = (logits[1][region] - head.bias[1].detach()).mean()
    assert float(result.values.sum()) == pytest.approx(float(score), rel=1e-4)


def test_windows_that_miss_the_target_are_not_differentiated() -> None:
    model = network()
    size = (16, 100, 20)
    region = torch.zeros(size, dtype=torch.bool)
    region[:, :5] = True
    calls = []
    model.layer("decoder0").register_forward_hook(lambda *_: calls.append(1))

    result = stitched(model, torch.randn(1, 1, *size), region, "encoder1", "hires-cam")

    assert (result.windows, result.explained) == (8, 1)
    assert len(calls) == 1


def test_grad_cam_also_paints_windows_that_miss_the_target() -> None:
    model = network()
    size = (16, 100, 20)
    region = torch.zeros(size, dtype=torch.bool)
    region[:, :5] = True

    result = stitched(model, torch.randn(1, 1, *size), region, "encoder1", "grad-cam")

    assert (result.values[:, 40:].abs().amax(dim=(0, 2)) > 0).all()
    assert result.explained == 1


def test_the_warning_fires_before_an_instance_normalisation_and_not_after_it() -> None:
    model = network(options={"norm": "instance"})
    convolution = next(one for one in model.modules() if isinstance(one, nn.Conv3d))
    plain = model.layer
    x, region = torch.randn(1, 1, 22, 34, 27), torch.rand(22, 34, 27) > 0.7

    good = stitched(model, x, region, "encoder0", "hires-cam")
    model.layer = lambda name: convolution  # type: ignore[method-assign]
    bad = stitched(model, x, region, "encoder0", "hires-cam")
    model.layer = plain  # type: ignore[method-assign]

    assert bad.is_degenerate
    assert not good.is_degenerate


def test_a_flat_network_is_explained() -> None:
    model = network(dims=2)
    x, region = torch.randn(1, 1, 7, 48, 32), torch.rand(7, 48, 32) > 0.5
    plan = windows_for(model, (7, 48, 32), (3, 48, 32))

    result = stitched(model, x, region, "encoder1", "hires-cam", plan=plan)

    whole = explain_tensor(model, x, region, 1, "hires-cam", "encoder1")[0, 0]
    assert result.values.shape == (7, 24, 16)
    assert torch.allclose(result.values, whole, rtol=1e-4, atol=1e-6 * float(whole.abs().max()))


def test_the_canvas_of_a_layer_ends_with_the_padding() -> None:
    plan = windows_for(network(), (17, 24, 20), PATCH)
    canvas = Canvas(plan, (4, 6, 5), (4.0, 4.0, 4.0), (1.5, 1.5, 1.5))

    assert plan.starts[0] == (0, 4)
    assert canvas.size == (5, 6, 5)
