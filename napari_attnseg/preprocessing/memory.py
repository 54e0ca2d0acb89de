"""How much memory this machine has, and how much a step of training needs."""

from __future__ import annotations

import ctypes
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from napari_attnseg.axes import Size

GIB = 2**30
FALLBACK_BYTES = 4 * GIB
"""Where a machine does not say how much memory it has."""

_MAPS_PER_CONVOLUTION = 3
"""A convolution, its norm and its activation each keep their result for the backward pass."""


def available_memory(device: str = "cpu") -> int:
    """Return the bytes that training may use: what is free on a GPU, half of what is free here."""
    if device.startswith("cuda"):
        import torch

        free, _ = torch.cuda.mem_get_info(torch.device(device))
        return int(0.85 * free)
    return min(_free_memory(), _container_limit()) // 2


def step_memory(
    patch_size: Size,
    batch_size: int,
    widths: Sequence[int],
    strides: Sequence[Size],
    *,
    dims: int = 3,
    classes: int = 2,
) -> int:
    """Return about how many bytes a float32 training step of a U-Net needs at its peak.

    Counts the maps that the backward pass wants, two convolutions a level on either side, the
    joined skips, the logits with their loss, and four copies of the weights (gradient and
    optimiser included).
    """
    voxels = batch_size * math.prod(patch_size)
    maps, step = 0.0, 1
    for level, (width, stride) in enumerate(zip(widths, strides, strict=True)):
        step *= math.prod(stride)
        is_deepest = level == len(widths) - 1
        convolutions = 2 if is_deepest else 4
        kept = convolutions * _MAPS_PER_CONVOLUTION + (0 if is_deepest else 3)
        maps += kept * width * voxels / step
    maps += 6 * classes * voxels
    return int(4 * maps + 4 * 4 * _parameters(widths, dims) + 64 * 2**20)


def _parameters(widths: Sequence[int], dims: int) -> int:
    taps = 3**dims
    above = [1, *widths]
    encoder = sum(taps * (a * b + b * b) for a, b in zip(above, widths, strict=False))
    decoder = sum(taps * 3 * width * width + 8 * width * 2 * width for width in widths[:-1])
    return encoder + decoder


def _free_memory() -> int:
    if sys.platform == "win32":
        return _windows_memory()
    try:
        page = os.sysconf("SC_PAGE_SIZE")
        # macOS does not count what is available; half of what there is stands for it.
        has_free = "SC_AVPHYS_PAGES" in os.sysconf_names
        meminfo = _meminfo_available()
        if meminfo:
            return meminfo
        pages = os.sysconf("SC_AVPHYS_PAGES" if has_free else "SC_PHYS_PAGES")
        return int(page * pages) // (1 if has_free else 2)
    except (ValueError, OSError):
        return FALLBACK_BYTES


def _meminfo_available() -> int | None:
    """Return Linux's own estimate, which counts reclaimable caches as free."""
    try:
        text = Path("/proc/meminfo").read_text(encoding="ascii")
    except OSError:
        return None
    for line in text.splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def _container_limit() -> int:
    """Return what a container leaves, or a number too large to matter."""
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii").strip()
        used = Path("/sys/fs/cgroup/memory.current").read_text(encoding="ascii").strip()
    except OSError:
        return 2**62
    return max(int(limit) - int(used), GIB) if limit.isdigit() and used.isdigit() else 2**62


def _windows_memory() -> int:
    class Status(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ulong), ("load", ctypes.c_ulong)] + [
            (name, ctypes.c_ulonglong)
            for name in (
                "total",
                "free",
                "page",
                "page_free",
                "virtual",
                "virtual_free",
                "extended",
            )
        ]

    status = Status(length=ctypes.sizeof(Status))
    ok = ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status))  # type: ignore[attr-defined]
    return int(status.free) if ok else FALLBACK_BYTES
