from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_attnseg.config import ModelConfig
from napari_attnseg.models import ModelError, build_model
from napari_attnseg.models.catalogue import count_parameters
from napari_attnseg.models.sizing import multiply_adds


def on_meta(config: ModelConfig) -> Any:
    with torch.device("meta"):
        return build_model(config)


def test_the_paper_preset_has_the_published_number_of_weights() -> None:
    config = ModelConfig("anatomynet", preset="paper", out_channels=10)

    assert count_parameters(on_meta(config)) == 734_417


def test_all_stages_but_the_last_work_at_half_resolution() -> None:
    model = build_model(ModelConfig("anatomynet", preset="paper"))

    strides = {name: model.layer_grid(name, (8, 8, 8)).stride_dhw[0] for name in model.layer_names}

    assert strides.pop("decoder0") == 1
    assert len(strides) == 7
    assert set(strides.values()) == {2}


def plain_stage(weights: dict[str, Tensor], x: Tensor, name: str) -> Tensor:
    """Return what a block gives in evaluation whose input has other channels."""

    def conv(y: Tensor, layer: str) -> Tensor:
        weight = weights[f"{name}.{layer}.weight"]
        return F.conv3d(y, weight, padding=weight.shape[-1] // 2)

    def norm(y: Tensor, layer: str) -> Tensor:
        mean, variance, scale, shift = (
            weights[f"{name}.{layer}.{one}"][:, None, None, None]
            for one in ("running_mean", "running_var", "weight", "bias")
        )
        return (y - mean) / (variance + 1e-5).sqrt() * scale + shift

    def linear(y: Tensor, layer: str) -> Tensor:
        return y @ weights[f"{name}.{layer}.weight"].T + weights[f"{name}.{layer}.bias"]

    y = F.leaky_relu(norm(conv(x, "first"), "first_norm"), 0.01)
    y = norm(conv(y, "second"), "second_norm")
    hidden = F.leaky_relu(linear(y.mean(dim=(2, 3, 4)), "gate.squeeze"), 0.01)
    y = y * linear(hidden, "gate.excite").sigmoid()[:, :, None, None, None]
    return F.leaky_relu(y + norm(conv(x, "shortcut.0"), "shortcut.1"), 0.01)


def test_a_stage_weighs_its_channels_and_adds_its_projected_input() -> None:
    torch.manual_seed(0)
    model = build_model(ModelConfig("anatomynet", options={"widths": (3, 5)})).double().eval()
    stage = model.layer("bottleneck").block
    x = torch.randn(2, 3, 4, 6, 8, dtype=torch.float64)
    for one in stage.modules():
        if isinstance(one, torch.nn.BatchNorm3d):
            torch.nn.init.uniform_(one.running_mean)
            torch.nn.init.uniform_(one.running_var, 0.5, 2.0)

    expected = plain_stage(stage.state_dict(), x, "0")

    torch.testing.assert_close(stage(x), expected, rtol=1e-9, atol=1e-9)


def test_the_image_itself_is_joined_at_full_resolution() -> None:
    model = build_model(ModelConfig("anatomynet", in_channels=3)).eval()
    seen: list[Tensor] = []
    model.layer("decoder0").register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    x = torch.rand(1, 3, 4, 6, 8)

    model(x)

    torch.testing.assert_close(seen[0][:, :3], x)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("widths", [(16, 32, 64, 128), (32, 64, 128, 256, 320)], ids=str)
def test_a_planned_network_costs_about_as_much_as_the_planned_unet(
    widths: tuple[int, ...], dims: int
) -> None:
    size = (1 if dims == 2 else 32, 32, 32)
    settings: dict[str, Any] = {"dims": dims, "preset": "plan", "options": {"widths": widths}}

    unet, found = (
        multiply_adds(on_meta(ModelConfig(name, **settings)), size)
        for name in ("unet3d", "anatomynet")
    )

    assert 0.8 < found / unet < 1.25


def test_a_planned_network_steps_as_the_plan_does_first() -> None:
    options = {
        "widths": (8, 16, 32),
        "strides": ((1, 1, 1), (1, 2, 3), (2, 2, 2)),
        "kernels": ((1, 3, 3), (3, 3, 5), (3, 3, 3)),
    }
    model = on_meta(ModelConfig("anatomynet", preset="plan", options=options))

    assert model.size_multiple == (1, 2, 3)
    assert model.kernels == [(1, 3, 3), (3, 3, 5)]


def test_more_than_one_step_is_refused() -> None:
    options = {"strides": ((1, 1, 1), (2, 2, 2), (2, 2, 2))}

    with pytest.raises(ModelError, match="2 widths and 3 strides"):
        build_model(ModelConfig("anatomynet", options=options))
