"""Steps and kernels of the levels of an encoder: level 0 is full resolution."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

from napari_attnseg.axes import Size
from napari_attnseg.models.contract import ModelError


def strides_of(strides: Sequence[Any], levels: int, dims: int) -> list[Size]:
    """Return the step into each level along D, H and W, the first being one voxel.

    Args:
        strides: As a person or a plan gave them; none means 2 everywhere.
        levels: How many there are.
        dims: In 2 dimensions the step along D is 1.

    Raises:
        ModelError: If they cannot be.
    """
    steps = strides or ((1, 1, 1), *[(2, 2, 2)] * (levels - 1))
    found = each_level("strides", steps, levels, dims)
    if found[0] != (1, 1, 1):
        raise ModelError(f"The first of strides is {found[0]}; it must be (1, 1, 1).")
    return found


def kernels_of(kernels: Sequence[Any], levels: int, dims: int, *, usual: int = 3) -> list[Size]:
    """Return the kernel of each level along D, H and W.

    Args:
        kernels: As a person or a plan gave them; none means `usual` everywhere.
        levels: How many there are.
        dims: In 2 dimensions the kernel along D is 1.
        usual: See `kernels`.

    Raises:
        ModelError: If they cannot be.
    """
    found = each_level("kernels", kernels or [(usual,) * 3] * levels, levels, dims)
    if any(size % 2 == 0 for kernel in found for size in kernel):
        raise ModelError(f"kernels is {found}; each size must be odd.")
    return found


def each_level(name: str, values: Sequence[Any], levels: int, dims: int) -> list[Size]:
    """Return three positive numbers for each level, the first 1 in 2 dimensions.

    Raises:
        ModelError: If there are not as many as levels, or fewer than two levels.
    """
    if levels < 2 or len(values) != levels:
        raise ModelError(
            f"There are {levels} widths and {len(values)} {name}; give at least two widths, and "
            f"one of {name} for each."
        )
    if any(len(value) != 3 or min(value) < 1 for value in values):
        raise ModelError(f"{name} is {values}; each needs three positive numbers, for D, H and W.")
    return [(value[0] if dims == 3 else 1, value[1], value[2]) for value in values]


def product(strides: Sequence[Size]) -> Size:
    """Return all steps taken one after the other."""
    return cast("Size", tuple(math.prod(axis) for axis in zip(*strides, strict=True)))


def common_multiple(*sizes: Size) -> Size:
    """Return the smallest size that is a multiple of each, axis by axis."""
    return cast("Size", tuple(math.lcm(*axis) for axis in zip(*sizes, strict=True)))


def level_name(level: int, depth: int) -> str:
    """Return the name of the encoder layer at a level, the deepest being the bottleneck."""
    return "bottleneck" if level == depth else f"encoder{level}"
