"""Names of tensor axes, and the types of sizes and spacings: no number stands for an axis."""

BATCH = 0
CHANNEL = 1
SPATIAL = (2, 3, 4)
"""D, H and W of a public tensor ``(B, C, D, H, W)``."""

Size = tuple[int, int, int]
"""Voxels along D, H and W."""

Spacing = tuple[float, float, float]
"""Millimetres, or voxels of the network's input, along D, H and W."""


def spatial_axes(dims: int) -> tuple[int, ...]:
    """Return the spatial axes of a tensor inside a network of 2 or 3 dimensions."""
    return tuple(range(2, 2 + dims))
