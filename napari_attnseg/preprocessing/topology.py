"""The shape of a U-Net for voxels of a given size: levels, strides, kernels and patches."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import cast

from napari_attnseg.axes import Size, Spacing

SMALLEST_MAP = 4
"""No axis is pooled below this many voxels."""

SAME_SCALE = 2.0
"""An axis is pooled, and seen by kernels, while its voxels are within this ratio of the finest."""


def strides_for(
    patch_size: Size, spacing_dhw: Spacing, *, dims: int, levels: int
) -> tuple[Size, ...]:
    """Return the step into each level, first ``(1, 1, 1)``; coarse axes are pooled later or never.

    Args:
        patch_size: Voxels along D, H, W.
        spacing_dhw: Voxel size in mm.
        dims: A network of 2 dimensions never pools D, which counts its slices.
        levels: The most levels, full resolution included.
    """
    size, spacing = list(patch_size), list(spacing_dhw)
    strides: list[Size] = [(1, 1, 1)]
    while len(strides) < levels:
        # A U-Net has two levels at least, so the first step is taken even in a tiny volume.
        least = 2 * SMALLEST_MAP if len(strides) > 1 or max(size) >= 2 * SMALLEST_MAP else 1
        able = [a for a in range(3 - dims, 3) if size[a] >= least]
        if not able:
            break
        finest = min(spacing[a] for a in able)
        step = [1, 1, 1]
        for a in able:
            if spacing[a] <= SAME_SCALE * finest and size[a] > 1:
                step[a], size[a], spacing[a] = 2, -(-size[a] // 2), spacing[a] * 2
        strides.append(cast("Size", tuple(step)))
    return tuple(strides)


def kernels_for(strides: Sequence[Size], spacing_dhw: Spacing, *, dims: int) -> tuple[Size, ...]:
    """Return the kernel of each level: 3, but 1 along axes as long as they are much coarser."""
    spacing = list(spacing_dhw)
    is_seen = [False] * 3
    kernels = []
    for stride in strides:
        spacing = [mm * step for mm, step in zip(spacing, stride, strict=True)]
        finest = min(spacing[3 - dims :])
        for axis, mm in enumerate(spacing):
            is_seen[axis] |= mm <= SAME_SCALE * finest
        kernels.append(tuple(3 if seen else 1 for seen in is_seen))
    return cast("tuple[Size, ...]", tuple(kernels))


def multiple_of(strides: Sequence[Size]) -> Size:
    """Return the sizes of which a patch must be a multiple to be pooled without padding."""
    return cast("Size", tuple(math.prod(axis) for axis in zip(*strides, strict=True)))


def largest_patch(
    shape_dhw: Size,
    spacing_dhw: Spacing,
    strides: Callable[[Size], Sequence[Size]],
    *,
    fits: Callable[[Size], bool],
) -> Size:
    """Return the largest patch that fits: a cube in mm, cut where the usual volume ends.

    Args:
        shape_dhw: Voxels of a usual volume on the network's grid.
        spacing_dhw: Voxel size in mm.
        strides: The strides for a patch size.
        fits: Whether the device can take a patch.
    """
    extent = max(n * mm for n, mm in zip(shape_dhw, spacing_dhw, strict=True))
    side, patch = extent, shape_dhw
    while side > min(spacing_dhw):
        wanted = cast(
            "Size",
            tuple(
                min(n, max(1, round(side / mm)))
                for n, mm in zip(shape_dhw, spacing_dhw, strict=True)
            ),
        )
        patch = _rounded(wanted, multiple_of(strides(wanted)))
        if fits(patch):
            return patch
        side *= 0.97
    return patch


def largest_slices(
    shape_dhw: Size, strides: Callable[[Size], Sequence[Size]], *, fits: Callable[[Size], bool]
) -> Size:
    """Return the patch of a 2-D network: whole slices if they fit, and as many as fit.

    Arguments as for `largest_patch`.
    """
    slices, height, width = shape_dhw
    scale = 1.0
    while True:
        plane = (1, max(8, round(height * scale)), max(8, round(width * scale)))
        _, m_h, m_w = multiple_of(strides(plane))
        plane = (1, -(-plane[1] // m_h) * m_h, -(-plane[2] // m_w) * m_w)
        if fits(plane) or max(plane[1:]) <= 32:
            break
        scale *= 0.95
    count = 1
    while count < slices and fits((count + 1, *plane[1:])):
        count += 1
    return (count, *plane[1:])


def _rounded(wanted: Size, multiple: Size) -> Size:
    """Return the nearest multiples.

    Also where the whole axis is wanted: rounded upwards, the usual patch would be mostly padding
    (a tenth on each of three axes is a third more work), and windows overlap anyway.
    """
    nearest = (
        max(step, round(want / step) * step) for want, step in zip(wanted, multiple, strict=True)
    )
    return cast("Size", tuple(nearest))
