from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_attnseg.config import ModelConfig
from napari_attnseg.models import ModelError, build_model
from napari_attnseg.models.catalogue import count_parameters
from napari_attnseg.models.sizing import multiply_adds

LARGE = ((32, 64, 128, 256, 320, 320), (1, 3, 4, 6, 6, 6))
SLICES = ((32, 64, 128, 256, 512, 512, 512, 512), (1, 3, 4, 6, 6, 6, 6, 6))


def on_meta(config: ModelConfig) -> Any:
    with torch.device("meta"):
        return build_model(config)


def reckoned(
    widths: Sequence[int], blocks: Sequence[int], dims: int, heads: int, classes: int = 2
) -> int:
    """Return the weights of nnU-Net's residual encoder U-Net, from the layers of its paper."""
    taps, corners = 3**dims, 2**dims

    def unit(channels: int, out: int, size: int = taps) -> int:
        return size * channels * out + out + 2 * out  # a bias, and two numbers to normalise by

    total, channels = unit(1, widths[0]), widths[0]
    for width, count in zip(widths, blocks, strict=True):
        total += unit(channels, width) + (2 * count - 1) * unit(width, width)
        if channels != width:
            total += channels * width + 2 * width  # a projection has no bias
        channels = width
    for width, deeper in itertools.pairwise(widths):
        total += corners * deeper * width + width + unit(2 * width, width)
    return total + sum(width * classes + classes for width in widths[:heads])


@pytest.mark.parametrize("deep_supervision", [False, True])
@pytest.mark.parametrize(("preset", "dims", "shape"), [("paper", 3, LARGE), ("slices", 2, SLICES)])
def test_a_preset_has_the_published_number_of_weights(
    preset: str, dims: int, shape: Any, deep_supervision: bool
) -> None:
    options = {"deep_supervision": deep_supervision}
    model = on_meta(ModelConfig("resenc", dims=dims, preset=preset, options=options))

    widths, blocks = shape
    heads = len(widths) - 1 if deep_supervision else 1
    assert count_parameters(model) == reckoned(widths, blocks, dims, heads)


def test_the_large_preset_has_102_million_weights() -> None:
    assert round(count_parameters(on_meta(ModelConfig("resenc", preset="paper"))) / 1e6) == 102


def plain_block(weights: dict[str, Tensor], x: Tensor, stride: int) -> Tensor:
    """Return what a residual block gives that steps and changes the channels."""

    def norm(y: Tensor, name: str) -> Tensor:
        scale, shift = weights[f"{name}.weight"], weights[f"{name}.bias"]
        centred = y - y.mean(dim=(2, 3, 4), keepdim=True)
        variance = centred.square().mean(dim=(2, 3, 4), keepdim=True)
        normal = centred / (variance + 1e-5).sqrt()
        return normal * scale[:, None, None, None] + shift[:, None, None, None]

    first, second = (weights[f"{name}.weight"] for name in ("first", "second"))
    y = F.conv3d(x, first, weights["first.bias"], stride=stride, padding=1)
    y = F.leaky_relu(norm(y, "first_norm"), 0.01)
    y = norm(F.conv3d(y, second, weights["second.bias"], padding=1), "second_norm")
    shortcut = F.conv3d(F.avg_pool3d(x, stride), weights["shortcut.1.weight"])
    return F.leaky_relu(y + norm(shortcut, "shortcut.2"), 0.01)


def test_a_block_that_steps_adds_the_projected_mean_of_its_input() -> None:
    torch.manual_seed(0)
    model = build_model(ModelConfig("resenc", preset="plan", options={
        "widths": (3, 5), "blocks": (1, 1), "cost": "own",
    })).double()  # fmt: skip
    block = model.layer("bottleneck").block[0]
    x = torch.randn(2, 3, 4, 6, 8, dtype=torch.float64)

    expected = plain_block(block.state_dict(), x, 2)

    torch.testing.assert_close(block(x), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("widths", [(16, 32, 64, 128), (32, 64, 128, 256, 320)], ids=str)
def test_a_planned_network_costs_about_as_much_as_the_planned_unet(
    widths: tuple[int, ...], dims: int
) -> None:
    size = (1 if dims == 2 else 32, 32, 32)
    settings: dict[str, Any] = {"dims": dims, "preset": "plan", "options": {"widths": widths}}

    unet, resenc = (
        multiply_adds(on_meta(ModelConfig(name, **settings)), size)
        for name in ("unet3d", "resenc")
    )

    assert 0.8 < resenc / unet < 1.25


def test_a_level_lies_between_its_convolution_and_its_mean() -> None:
    model = build_model(ModelConfig("resenc"))

    assert model.layer_grid("encoder0", (8, 8, 8)).offset_dhw == (0.0, 0.0, 0.0)
    assert model.layer_grid("encoder1", (8, 8, 8)).offset_dhw == (0.25, 0.25, 0.25)
    assert model.layer_grid("bottleneck", (8, 8, 8)).offset_dhw == (0.75, 0.75, 0.75)


def test_coarser_levels_learn_too_where_asked_for() -> None:
    config = ModelConfig("resenc", options={"deep_supervision": True})
    output = build_model(config)(torch.rand(1, 1, 5, 7, 9))

    assert [one.shape for one in output.auxiliary["deep_supervision"]] == [(1, 2, 5, 7, 9)]


def test_blocks_that_do_not_fit_the_levels_are_refused() -> None:
    with pytest.raises(ModelError, match=r"^blocks is \(1, 2\); give 3 positive numbers"):
        build_model(ModelConfig("resenc", options={"blocks": (1, 2)}))
