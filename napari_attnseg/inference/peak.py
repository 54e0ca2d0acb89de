"""The most memory that some work takes, as the system or the GPU's allocator counts it."""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch


@dataclass
class Peak:
    """What `watching_memory` saw.

    Args:
        taken_bytes: Most memory that was held at a time, beyond what was held before; None where
            the system does not say.
    """

    taken_bytes: int | None = None


@contextmanager
def watching_memory(device: torch.device) -> Iterator[Peak]:
    """Measure the peak memory of the work in this context.

    On a CPU it is that of the process: nothing else should go on in it. Where the system cannot
    forget an earlier peak, a lower one than that is not seen, and is given as None.

    Args:
        device: Where the work is done.
    """
    found = Peak()
    can_forget = True
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before: int | None = torch.cuda.memory_allocated(device)
    else:
        _give_back()
        can_forget = _forget_peak()
        before = _resident_bytes()
    at_first = _peak_bytes(device)
    yield found
    peak = _peak_bytes(device)
    if before is None or peak is None:
        return
    if can_forget or peak != at_first:
        found.taken_bytes = max(0, peak - before)


def _peak_bytes(device: torch.device) -> int | None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        return int(torch.cuda.max_memory_allocated(device))
    if sys.platform == "win32":
        return _windows_bytes("PeakWorkingSetSize")
    found = _status("VmHWM")
    if found is not None:
        return found
    import resource

    # macOS counts bytes, other systems kilobytes.
    unit = 1 if sys.platform == "darwin" else 1024
    return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * unit


def _resident_bytes() -> int | None:
    if sys.platform == "win32":
        return _windows_bytes("WorkingSetSize")
    found = _status("VmRSS")
    # Elsewhere the process is taken to be as large as it has ever been.
    return _peak_bytes(torch.device("cpu")) if found is None else found


def _give_back() -> None:
    """Have memory that was let go of returned to the system, which glibc else keeps for later."""
    gc.collect()
    if sys.platform != "linux":
        return
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _forget_peak() -> bool:
    """Let the process's peak count from now on, and return whether the system can do that."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return False
    return True


def _status(field: str) -> int | None:
    try:
        text = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    line = next((one for one in text.splitlines() if one.startswith(f"{field}:")), None)
    return None if line is None else int(line.split()[1]) * 1024


def _windows_bytes(field: str) -> int | None:
    from ctypes import wintypes

    sizes = ("PeakWorkingSetSize", "WorkingSetSize", "QuotaPeakPagedPoolUsage",
             "QuotaPagedPoolUsage", "QuotaPeakNonPagedPoolUsage", "QuotaNonPagedPoolUsage",
             "PagefileUsage", "PeakPagefileUsage")  # fmt: skip

    class Counters(ctypes.Structure):
        _fields_ = [
            ("cb", wintypes.DWORD),
            ("PageFaultCount", wintypes.DWORD),
            *((name, ctypes.c_size_t) for name in sizes),
        ]

    counters = Counters(cb=ctypes.sizeof(Counters))
    kernel = ctypes.windll.kernel32  # type: ignore[attr-defined]
    kernel.GetCurrentProcess.restype = wintypes.HANDLE
    ask = kernel.K32GetProcessMemoryInfo
    ask.argtypes = [wintypes.HANDLE, ctypes.POINTER(Counters), wintypes.DWORD]
    is_told = ask(kernel.GetCurrentProcess(), ctypes.byref(counters), counters.cb)
    return int(getattr(counters, field)) if is_told else None
