"""Multiply-adds and memory that are counted, against sums by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from napari_attnseg.config import ModelConfig
from napari_attnseg.models import build_model
from napari_attnseg.models.attention import ATTENTION
from napari_attnseg.models.counting import LiveBytes, count

SIZE = (8, 16, 12)


def by_hand(config: ModelConfig, size: tuple[int, ...]) -> int:
    """Return the products of all convolutions, counted from the shapes that really pass."""
    model, total = build_model(config).eval(), 0

    def add(layer: Any, args: Any, out: torch.Tensor) -> None:
        nonlocal total
        passes = args[0] if isinstance(layer, nn.ConvTranspose3d) else out
        taps = layer.weight.numel()
        total += passes[0, 0].numel() * passes.shape[0] * taps

    for module in model.modules():
        if isinstance(module, (nn.Conv3d, nn.Conv2d, nn.ConvTranspose3d, nn.ConvTranspose2d)):
            module.register_forward_hook(add)
    with torch.no_grad():
        model(torch.zeros(1, config.in_channels, *size))
    return total


@pytest.mark.parametrize("dims", [2, 3])
def test_multiply_adds_are_those_of_the_convolutions(dims: int) -> None:
    config = ModelConfig("unet3d", dims=dims)

    if dims == 3:
        assert count(config, SIZE, 1).multiply_adds == by_hand(config, SIZE)
    else:
        assert count(config, SIZE, 1).multiply_adds % SIZE[0] == 0


def test_attention_between_voxels_counts_its_products() -> None:
    plain = ModelConfig("unet3d")
    attended = plain.replace(attention="nonlocal", attention_options={"max_tokens": 10**6})
    voxels, channels = (8 // 4) * (16 // 4) * (12 // 4), 32
    inner = channels // 2

    more = count(attended, SIZE, 1).multiply_adds - count(plain, SIZE, 1).multiply_adds

    convolutions = 4 * voxels * channels * inner
    assert more == convolutions + 2 * voxels**2 * inner


@pytest.mark.parametrize("name", sorted(ATTENTION))
def test_every_attention_can_be_counted(name: str) -> None:
    counted = count(ModelConfig("unet3d", name, dims=2 + len(name) % 2), (4, 8, 12), 2)

    assert counted.multiply_adds > 0
    assert counted.step_bytes > counted.window_bytes > 0


def test_memory_is_that_of_what_is_held_at_a_time() -> None:
    with LiveBytes() as seen:
        first = torch.ones(1000)
        second = first + 1  # 2 x 4,000 bytes
        del first
        third = second.reshape(10, 100)  # a view
        fourth = third * 2
        del second, third, fourth

    assert seen.peak == 8_000


def test_a_training_step_keeps_what_the_backward_pass_wants() -> None:
    layers = nn.Sequential(*(nn.Tanh() for _ in range(5)))
    x = torch.ones(1000, requires_grad=True)

    with torch.no_grad(), LiveBytes() as forward:
        layers(x)
    with LiveBytes() as step:
        layers(x).sum().backward()

    assert forward.peak == 8_000
    assert step.peak >= 5 * 4_000
