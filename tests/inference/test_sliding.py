from __future__ import annotations

from collections.abc import Generator
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_attnseg.config import ModelConfig
from napari_attnseg.inference.sliding import (
    WindowReport,
    evaluating,
    sliding_window,
    strongest_class,
    windows_for,
)
from napari_attnseg.models import SegmentationModel, build_model


def finish(steps: Generator[Any, None, Any]) -> Any:
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def network(dims: int = 3, **options: Any) -> SegmentationModel:
    torch.manual_seed(0)
    backbone = "unet3d" if dims == 3 else "unet2d"
    config = ModelConfig(backbone=backbone, preset="tiny", dims=dims, out_channels=3, **options)
    return build_model(config).eval()


def plain_weighted_sum(
    model: nn.Module, x: Tensor, window: tuple[int, ...], starts: tuple[tuple[int, ...], ...]
) -> np.ndarray:
    size = x.shape[2:]
    ends = [one[-1] + n for one, n in zip(starts, window, strict=True)]
    pad = [p for end, n in zip(ends[::-1], size[::-1], strict=True) for p in (0, max(0, end - n))]
    x = F.pad(x, pad, mode="replicate")
    bells = [
        np.exp(-0.5 * ((np.arange(n) - (n - 1) / 2) / (n / 8)) ** 2) if len(s) > 1 else np.ones(n)
        for n, s in zip(window, starts, strict=True)
    ]
    bell = bells[0][:, None, None] * bells[1][:, None] * bells[2]
    total, weight = np.zeros((3, *x.shape[2:])), np.zeros(x.shape[2:])
    for start in product(*starts):
        at = tuple(slice(s, s + n) for s, n in zip(start, window, strict=True))
        with torch.no_grad():
            total[(slice(None), *at)] += model(x[(..., *at)])[0].double().numpy() * bell
        weight[at] += bell
    return (total / weight)[:, : size[0], : size[1], : size[2]]


@pytest.mark.parametrize("size", [(16, 24, 20), (7, 13, 10), (15, 21, 1)])
def test_one_window_that_covers_the_volume_is_the_plain_forward_pass(
    size: tuple[int, int, int],
) -> None:
    model = network()
    x = torch.randn(1, 1, *size)

    logits = finish(sliding_window(model, x, (16, 24, 20)))

    with torch.no_grad():
        assert torch.equal(logits, model(x)[0])


@pytest.mark.parametrize("size", [(33, 24, 45), (22, 34, 27), (9, 50, 20)])
@pytest.mark.parametrize("overlap", [0.25, 0.5])
def test_windows_give_what_a_plain_weighted_sum_gives(
    size: tuple[int, int, int], overlap: float
) -> None:
    model = network(attention="se")
    x = torch.randn(1, 1, *size)
    plan = windows_for(model, size, (16, 24, 20), overlap)

    logits = finish(sliding_window(model, x, (16, 24, 20), overlap=overlap))

    expected = plain_weighted_sum(model, x, plan.window, plan.starts)
    assert np.abs(logits.numpy() - expected).max() < 1e-5


def test_a_flat_network_sees_each_slice_as_if_alone() -> None:
    model = network(dims=2)
    x = torch.randn(1, 1, 7, 24, 20)

    logits = finish(sliding_window(model, x, (3, 24, 20)))

    with torch.no_grad():
        expected = torch.cat([model(x[:, :, d : d + 1])[0] for d in range(7)], dim=1)
    assert torch.allclose(logits, expected, atol=1e-5)


class Valid(SegmentationModel):
    """A network of unpadded convolutions, which sees two voxels around what it labels."""

    def __init__(self) -> None:
        super().__init__(ModelConfig(out_channels=2))
        self.context_margin = (2, 2, 2)
        self.convolutions = nn.Sequential(nn.Conv3d(1, 4, 3), nn.ReLU(), nn.Conv3d(4, 2, 3))

    def network(self, x: Tensor) -> tuple[Tensor, dict[str, Any]]:
        return self.convolutions(x), {}


def test_a_network_with_a_margin_gives_the_same_in_windows_as_on_the_whole() -> None:
    torch.manual_seed(0)
    model = Valid().eval()
    x = torch.randn(1, 1, 20, 17, 26)

    logits = finish(sliding_window(model, x, (8, 9, 10)))

    with torch.no_grad():
        assert torch.allclose(logits, model(x)[0], atol=1e-5)


def test_the_network_is_left_as_it_was_found() -> None:
    model = network()
    model.train()
    next(iter(model.stages.values())).eval()
    modes = [module.training for module in model.modules()]
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    x = torch.randn(1, 1, 20, 25, 30)
    random_state = torch.get_rng_state()

    finish(sliding_window(model, x, (16, 24, 20)))

    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(state[name], now) for name, now in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not torch.is_inference_mode_enabled()
    assert torch.equal(random_state, torch.get_rng_state())


def test_the_input_is_not_changed() -> None:
    class Same(nn.Module):
        size_multiple = (1, 1, 1)
        context_margin = (0, 0, 0)
        dims = 3

        def forward(self, x: Tensor) -> Tensor:
            return x

    x = torch.randn(1, 2, 20, 21, 22)
    before = x.clone()

    logits = finish(sliding_window(Same(), x, (8, 9, 10)))  # type: ignore[arg-type]

    assert torch.equal(x, before)
    assert torch.allclose(logits, x[0], atol=1e-6)


def test_it_stops_between_windows_and_no_mode_leaks_out() -> None:
    model = network()
    model.train()
    asked = iter([False, False, True])
    steps = sliding_window(
        model, torch.randn(1, 1, 30, 40, 20), (16, 24, 20), should_stop=lambda: next(asked)
    )

    reports = []
    for report in steps:
        reports.append(report)
        assert not torch.is_inference_mode_enabled()

    assert reports == [WindowReport(1, 9), WindowReport(2, 9)]
    assert model.training


def test_mirrored_windows_are_averaged() -> None:
    model = network()
    x = torch.randn(1, 1, 16, 24, 20)

    logits = finish(sliding_window(model, x, (16, 24, 20), mirror_axes=(2,)))

    with torch.no_grad():
        expected = (model(x)[0] + model(x.flip(4))[0].flip(3)) / 2
    assert torch.allclose(logits, expected, atol=1e-6)


def test_the_strongest_class_is_that_of_argmax() -> None:
    logits = torch.randn(5, 6, 7, 8)

    assert torch.equal(strongest_class(logits).long(), logits.argmax(dim=0))


def test_modes_come_back_when_something_raises() -> None:
    model = network()
    model.train()

    with pytest.raises(RuntimeError), evaluating(model):
        raise RuntimeError

    assert all(module.training for module in model.modules())
