"""What a device can take: how large patches, how wide networks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

CPU_PATCH_VOXELS = 64**3
CPU_STEP_VOXELS = 120_000
GPU_PATCH_VOXELS = 160**3
GPU_STEP_VOXELS = 2 * 96**3


@dataclass(frozen=True)
class Budget:
    """Limits of a plan.

    Args:
        patch_voxels: Voxels of the largest patch.
        step_voxels: Voxels that a batch of small patches adds up to.
        most_voxels: Voxels of a usual volume on the network's grid.
        memory_bytes: What a step may use.
        base_width: Channels at full resolution.
        most_width: Channels at the deepest level.
        levels: The most levels, full resolution included.
        classes: Number of output channels.
    """

    patch_voxels: int
    step_voxels: int
    most_voxels: float
    memory_bytes: int
    base_width: int
    most_width: int
    levels: int
    classes: int

    def widths(self, levels: int) -> tuple[int, ...]:
        """Return channels that double with each level up to a limit."""
        return tuple(min(self.base_width * 2**level, self.most_width) for level in range(levels))

    def batch_size(self, patch_voxels: int, cost: Callable[[int], int]) -> int:
        """Return how many patches make a step: two or more if memory allows."""
        wanted = min(8, max(2, self.step_voxels // patch_voxels))
        while wanted > 1 and cost(wanted) > self.memory_bytes:
            wanted -= 1
        return wanted


def budget_for(device: str, dims: int, memory_bytes: int, *, classes: int) -> Budget:
    """Return the limits for a device; on a CPU a step should take about a second."""
    is_cpu = device == "cpu"
    flat = dims == 2
    return Budget(
        # A 3x3 kernel costs a third of a 3x3x3 one, so a 2-D network affords more.
        patch_voxels=CPU_PATCH_VOXELS if is_cpu else GPU_PATCH_VOXELS,
        step_voxels=CPU_STEP_VOXELS if is_cpu else GPU_STEP_VOXELS,
        most_voxels=6e6 if is_cpu else 1e8,
        memory_bytes=memory_bytes,
        base_width=(24 if flat else 16) if is_cpu else 32,
        most_width=(256 if flat else 128) if is_cpu else (512 if flat else 320),
        levels=5 if is_cpu else (8 if flat else 6),
        classes=classes,
    )
