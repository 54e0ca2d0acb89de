from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from napari_attnseg.config import ModelConfig
from napari_attnseg.explanation import METHODS, ExplainError, explain_steps, explain_tensor
from napari_attnseg.explanation.capture import activations_and_gradients, activations_only
from napari_attnseg.explanation.contract import Capture, LocalMethod
from napari_attnseg.models import SegmentationModel, build_model
from napari_attnseg.volume import Volume

CPU = torch.device("cpu")


@contextmanager
def nothing_changes(model: nn.Module) -> Iterator[None]:
    def state() -> list[Any]:
        hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()]
        modes = [m.training for m in model.modules()]
        needs = [p.requires_grad for p in model.parameters()]
        inplace = [getattr(m, "inplace", None) for m in model.modules()]
        return [hooks, modes, needs, inplace, torch.is_grad_enabled()]

    before, random = state(), torch.get_rng_state()
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    yield
    assert state() == before
    assert torch.equal(random, torch.get_rng_state())
    assert all(torch.equal(weights[name], now) for name, now in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def finish(steps: Any) -> Any:
    while True:
        try:
            next(steps)
            assert torch.is_grad_enabled()
            assert not torch.is_inference_mode_enabled()
        except StopIteration as end:
            return end.value


@pytest.fixture
def model() -> SegmentationModel:
    torch.manual_seed(0)
    made = build_model(ModelConfig(preset="tiny", attention="cbam", out_channels=3))
    made.train()
    made.layer("encoder0").eval()
    made.layer("encoder0").requires_grad_(False)
    return made


@pytest.mark.parametrize("method", sorted(METHODS))
def test_nothing_is_left_behind(suited: Any, cheap: Any, method: str) -> None:
    model = suited().train()
    model.layer("encoder0").eval()
    model.layer("encoder0").requires_grad_(False)
    x, mask = torch.randn(1, 1, 8, 12, 16), torch.ones(8, 12, 16, dtype=torch.bool)

    with nothing_changes(model):
        explain_tensor(model, x, mask, 1, method, options=cheap(method))


class NoMemoryError(RuntimeError):
    """Stands for a full GPU in the middle of the work."""


@pytest.mark.parametrize("method", sorted(METHODS))
def test_nothing_is_left_behind_when_the_network_fails(
    suited: Any, cheap: Any, method: str
) -> None:
    model, calls = suited().train(), 0
    x, mask = torch.randn(1, 1, 8, 12, 16), torch.ones(8, 12, 16, dtype=torch.bool)

    def fail(*_: Any) -> None:
        nonlocal calls
        calls += 1
        if calls > 1:
            raise NoMemoryError

    model.layer("encoder0").register_forward_hook(fail)

    def twice() -> None:
        for _ in range(2):
            explain_tensor(model, x, mask, 1, method, options=cheap(method))

    with nothing_changes(model), pytest.raises(NoMemoryError):
        twice()


def test_nothing_is_left_behind_when_a_method_raises(model: SegmentationModel) -> None:
    x, mask = torch.randn(1, 1, 8, 12, 16), torch.ones(8, 12, 16, dtype=torch.bool)

    with nothing_changes(model):
        with pytest.raises(ExplainError, match="mask has the sizes"):
            explain_tensor(model, x, mask[:5], 1, "hires-cam", "encoder1")
        with pytest.raises(ExplainError, match="empty"):
            explain_tensor(model, x, ~mask, 1, "hires-cam", "encoder1")
        with pytest.raises(IndexError):
            explain_tensor(model, x, mask, 7, "hires-cam", "encoder1")


@pytest.mark.parametrize("method", sorted(METHODS))
@pytest.mark.parametrize("passes", [3, 10])
def test_nothing_is_left_behind_when_it_is_stopped(
    make_run: Any, image: Volume, cheap: Any, method: str, passes: int
) -> None:
    run = make_run(attention="presence", options={"activation": "relu"})
    count = 0

    def stop() -> bool:
        nonlocal count
        count += 1
        return count > passes

    with nothing_changes(run.model):
        more = {"options": cheap(method), "should_stop": stop}
        result = finish(explain_steps(run, image, 1, method, **more))

    assert result is None
    assert count == passes + 1


def test_nothing_is_left_behind_when_it_is_abandoned(make_run: Any, image: Volume) -> None:
    run = make_run()

    with nothing_changes(run.model):
        steps = explain_steps(run, image, 1, "hires-cam", "encoder1")
        for _ in range(14):
            next(steps)
        steps.close()


def test_gradients_are_those_of_plain_autograd(model: SegmentationModel) -> None:
    model.eval()
    x = torch.randn(1, 1, 8, 12, 16)
    kept: list[Tensor] = []
    handle = model.layer("encoder1").register_forward_hook(lambda *a: kept.append(a[2]))
    expected = torch.autograd.grad(model(x)[0, 1].mean(), kept[0])[0]
    handle.remove()

    activations, gradients = activations_and_gradients(
        lambda: model(x), model.layer("encoder1"), lambda z: z[0, 1].mean(), device=CPU
    )

    assert torch.equal(activations, kept[0])
    assert torch.allclose(gradients, expected, rtol=1e-5, atol=1e-9)


def test_what_comes_after_the_layer_is_not_run_when_only_its_output_is_wanted(
    model: SegmentationModel,
) -> None:
    model.eval()
    ran: list[str] = []
    for name in model.layer_names:
        model.layer(name).register_forward_hook(lambda *_, name=name: ran.append(name))
    x = torch.randn(1, 1, 8, 12, 16)

    activations = activations_only(lambda: model(x), model.layer("encoder1"), device=CPU)

    assert ran == ["encoder0", "encoder1"]
    assert activations.shape[2:] == (4, 6, 8)


def test_half_precision_around_an_explanation_does_not_reach_it(model: SegmentationModel) -> None:
    model.eval()
    x, mask = torch.randn(1, 1, 8, 12, 16), torch.ones(8, 12, 16, dtype=torch.bool)
    plain = explain_tensor(model, x, mask, 1, "hires-cam", "encoder1")

    with torch.autocast("cpu", dtype=torch.bfloat16), torch.inference_mode():
        inside = explain_tensor(model, x, mask, 1, "hires-cam", "encoder1")

    assert torch.equal(plain, inside)


def test_a_layer_that_does_not_matter_is_refused() -> None:
    class Idle(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.idle, self.used = nn.Conv3d(1, 2, 1), nn.Conv3d(1, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            self.idle(x)
            return self.used(x)

    mask = torch.ones(4, 5, 6, dtype=torch.bool)

    with pytest.raises(ExplainError, match="does not depend"):
        explain_tensor(Idle(), torch.randn(1, 1, 4, 5, 6), mask, 1, layer="idle")


def test_an_unknown_layer_is_refused_with_the_names_there_are(model: SegmentationModel) -> None:
    mask = torch.ones(8, 12, 16, dtype=torch.bool)

    with pytest.raises(ExplainError, match="encoder0, encoder1, bottleneck"):
        explain_tensor(model, torch.randn(1, 1, 8, 12, 16), mask, 1, layer="conv9")


def test_a_network_that_returns_several_outputs_is_explained_by_the_first() -> None:
    class Deep(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head = nn.Conv3d(1, 4, 3, padding=1), nn.Conv3d(4, 2, 1)

        def forward(self, x: Tensor) -> list[Tensor]:
            return [self.head(self.body(x)), torch.zeros(1)]

    model, x = Deep(), torch.randn(1, 1, 4, 5, 6)

    result = explain_tensor(model, x, torch.ones(4, 5, 6) > 0, 1, "hires-cam", "body")

    assert result.shape == (1, 1, 4, 5, 6)


def test_a_method_sees_five_axes_from_a_flat_network() -> None:
    seen: list[tuple[int, ...]] = []

    class Spy(LocalMethod):
        """Notes what it is given."""

        title = "Spy"

        def one_window(self, capture: Capture) -> Tensor:
            seen.append(tuple(capture.activations.shape))
            return capture.activations[:, :1]

    METHODS.register("spy-for-a-test")(Spy)
    try:
        model = build_model(ModelConfig(backbone="unet2d", dims=2, preset="tiny"))
        x, mask = torch.randn(2, 1, 3, 16, 32), torch.ones(3, 16, 32, dtype=torch.bool)
        result = explain_tensor(model, x, mask, 1, "spy-for-a-test", "encoder1")
    finally:
        del METHODS._parts["spy-for-a-test"]

    assert len(seen) == 2
    assert seen[0][0] == 1
    assert seen[0][2:] == (3, 8, 16)
    assert result.shape == (2, 1, 3, 8, 16)
