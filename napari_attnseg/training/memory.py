"""What to do when memory does not suffice: fewer patches a step, then smaller ones."""

from __future__ import annotations

import torch

from napari_attnseg.axes import Size
from napari_attnseg.training.cases import TrainingError
from napari_attnseg.training.progress import Progress
from napari_attnseg.training.reports import WarningReport

OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")


def is_out_of_memory(error: RuntimeError) -> bool:
    """Return whether an error of PyTorch says that memory does not suffice."""
    return any(words in str(error).lower() for words in OUT_OF_MEMORY)


def smaller_patch(patch_size: Size, multiple: Size) -> Size | None:
    """Return a patch with its longest axis halved, or None if it cannot be any smaller."""
    sizes = list(patch_size)
    axis = max(range(3), key=lambda at: sizes[at] / multiple[at])
    halved = max(1, sizes[axis] // 2 // multiple[axis]) * multiple[axis]
    if halved >= sizes[axis] or sizes[axis] <= 2 * multiple[axis]:
        return None
    sizes[axis] = halved
    d, h, w = sizes
    return d, h, w


def lower_memory(progress: Progress, multiple: Size) -> WarningReport:
    """Lower the batch size or the patch size, and say so.

    Args:
        progress: Changed in place.
        multiple: What the network pads sizes to.

    Raises:
        TrainingError: If nothing is left to lower.
    """
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if progress.batch_size > 1:
        progress.batch_size //= 2
        return WarningReport(f"Out of memory: going on with {progress.batch_size} patches a step.")
    smaller = smaller_patch(progress.patch_size, multiple)
    if smaller is None:
        raise TrainingError(
            "There is not enough memory for this network, even with the smallest patch. Choose a "
            "smaller preset, or close other programs that use the same memory."
        )
    progress.patch_size = smaller
    d, h, w = smaller
    return WarningReport(f"Out of memory: going on with patches of {d} x {h} x {w} voxels.")
