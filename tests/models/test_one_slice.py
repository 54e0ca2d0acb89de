"""Every attention module gives in 3 dimensions, on one slice, what it gives in 2."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from napari_attnseg.models.attention import ATTENTION

CHANNELS = 6
ELSEWHERE = (
    "none", "se", "cbam", "pe", "scse", "eca", "split", "coord", "dual", "dual-position",
    "dual-channel", "nonlocal",
)  # fmt: skip
"""Modules for which this is shown beside their equations."""

ROWS = ("slice", "csa", "sca", "pam")
"""Modules that take rows for slices in 2 dimensions: one column of rows is a stack of slices."""

CONTEXT = ("gate", "presence")
MOVING = ("stn",)


def made(name: str, dims: int, **options: Any) -> Any:
    """Return a module in double precision and evaluation, all weights drawn."""
    torch.manual_seed(4)
    build: Any = ATTENTION[name]
    module = build(CHANNELS, dims=dims, **options).double().eval()
    for value in module.state_dict().values():
        if value.is_floating_point():
            nn.init.uniform_(value, 0.1, 0.6)
    return module


def image(channels: int, size: tuple[int, int]) -> Tensor:
    generator = torch.Generator().manual_seed(channels)
    return torch.randn(2, channels, *size, dtype=torch.float64, generator=generator)


def fill(solid: Any, flat: Any) -> None:
    """Give a module of 3 dimensions the weights of one of 2, in the slice that is seen."""
    values = flat.state_dict()
    with torch.no_grad():
        for name, own in solid.state_dict().items():
            value = values[name]
            if own.ndim == 5:
                seen = own.shape[2] // 2 if own.shape[2] % 2 else 0
                own.zero_()[:, :, seen] = value
            else:
                own.copy_(value)


def test_no_module_is_left_out() -> None:
    assert set(ATTENTION) == {*ELSEWHERE, *ROWS, *CONTEXT, *MOVING}


@pytest.mark.parametrize("name", CONTEXT)
def test_one_slice_with_its_context_is_the_same(name: str) -> None:
    flat, solid = (made(name, dims, context_channels=4) for dims in (2, 3))
    fill(solid, flat)
    x, g = image(CHANNELS, (8, 10)), image(4, (4, 5))

    found = solid(x[:, :, None], g[:, :, None])[:, :, 0]

    torch.testing.assert_close(found, flat(x, g))


@pytest.mark.parametrize("name", ROWS)
def test_a_row_in_2d_is_a_slice_in_3d(name: str) -> None:
    flat, solid = (made(name, dims, depth=8) for dims in (2, 3))
    solid.load_state_dict(flat.state_dict())
    x = image(CHANNELS, (7, 10))

    torch.testing.assert_close(solid(x[:, :, :, None])[:, :, :, 0], flat(x))


def test_a_slice_is_moved_as_in_2d() -> None:
    options = {"mode": "translation", "hidden": 5, "pooled": 2}
    flat, solid = (made("stn", dims, **options) for dims in (2, 3))
    values = flat.state_dict()
    with torch.no_grad():
        for name, own in solid.state_dict().items():
            own.zero_()
            if own.ndim == 5:
                own[:, :, own.shape[2] // 2] = values[name]
            elif name.startswith("out."):
                own[:2] = values[name]  # moves along W and H, none along D
            elif own.ndim == 2:
                # One slice is repeated where the pooled map has more; only the first counts.
                own.unflatten(1, (10, 2, 4))[:, :, 0] = values[name].unflatten(1, (10, 4))
            else:
                own.copy_(values[name])
    x = image(CHANNELS, (8, 12))

    found, expected = solid(x[:, :, None])[:, :, 0], flat(x)

    assert (expected - x).abs().max() > 1e-2
    torch.testing.assert_close(found, expected)
