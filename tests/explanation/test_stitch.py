from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from napari_attnseg.config import ModelConfig
from napari_attnseg.explanation import METHODS, explain_tensor
from napari_attnseg.explanation.catalogue import make_method
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
    how = make_method(method, options.get("options"))
    stitcher = Stitcher(model, x, plan, how.layer_for(model, layer), Target(region, {1: 1.0}))
    return cast("RawMap", finish(stitched_map(stitcher, how)))


def layers_for(method: str, model: SegmentationModel) -> list[str]:
    kind = METHODS[method]
    if kind.is_input:
        return ["input"]
    return ["bottleneck"] if method == "cam" else model.layer_names


@pytest.mark.parametrize("method", sorted(METHODS))
@pytest.mark.parametrize("size", [(8, 12, 10), (7, 9, 14)])
def test_one_window_that_covers_the_volume_is_the_map_without_windows(
    suited: Any, cheap: Any, method: str, size: tuple[int, int, int]
) -> None:
    model = suited()
    x, region = torch.randn(1, 1, *size), torch.rand(size) > 0.6

    for layer in layers_for(method, model)[:: 2 if size[0] == 8 else -2]:
        result = stitched(model, x, region, layer, method, options=cheap(method))

        plain = explain_tensor(model, x, region, 1, method, layer, options=cheap(method))[0, 0]
        assert torch.allclose(
            result.values, plain, rtol=1e-5, atol=1e-6 * float(plain.abs().max())
        )


@pytest.mark.parametrize("method", sorted(METHODS))
def test_two_identical_windows_of_half_weight_are_one(
    suited: Any, cheap: Any, method: str
) -> None:
    model, size = suited(), (8, 12, 10)
    x, region = torch.randn(1, 1, *size), torch.rand(size) > 0.6
    twice = WindowPlan(size, size, ((0, 0), (0,), (0,)))
    layer = "bottleneck" if method == "cam" else "encoder1"

    one = stitched(model, x, region, layer, method, options=cheap(method))
    two = stitched(model, x, region, layer, method, options=cheap(method), plan=twice)

    largest = float(one.values.abs().max())
    assert torch.allclose(one.values, two.values, rtol=1e-4, atol=1e-5 * largest)


NONLOCAL = {
    "score-cam": "its softmax over features turns small differences into other weights",
    "smooth-grad": "its noise is drawn anew where windows see the image otherwise",
}


@pytest.mark.parametrize("method", sorted(set(METHODS) - set(NONLOCAL)))
def test_a_local_network_is_explained_by_windows_as_by_the_whole(
    suited: Any, cheap: Any, method: str
) -> None:
    model = suited(attention="presence" if method == "cam" else "none")
    for module in model.modules():
        for name, child in list(module.named_children()):
            if "Norm" in type(child).__name__:
                setattr(module, name, nn.Identity())
    size = (22, 58, 27)
    x, region = torch.randn(1, 1, *size), torch.zeros(size, dtype=torch.bool)
    region[3:15, 20:40, 5:20] = True
    plan = windows_for(model, size, (24, 40, 28))
    options = {**cheap(method), **({"count": 12} if method == "occlusion" else {})}

    windows = stitched(model, x, region, "bottleneck", method, plan=plan, options=options)
    whole = explain_tensor(model, x, region, 1, method, "bottleneck", options=options)[0, 0]

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
