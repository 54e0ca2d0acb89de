"""What this machine computes with: its devices, and the number formats that they are fast in."""

from __future__ import annotations

import os
import platform
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch

_DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}


class DeviceError(ValueError):
    """A device that was asked for and is not there."""


def choose_device(name: str = "auto") -> torch.device:
    """Return the named device, or the fastest one there is.

    Raises:
        DeviceError: If the device does not exist on this machine.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise DeviceError(f"There is no device {name!r}; use auto, cpu, cuda or mps.") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise DeviceError(
            f"The device {name!r} is not there: torch {torch.__version__} sees "
            f"{torch.cuda.device_count()} CUDA devices. Use auto, or run attnseg doctor."
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise DeviceError("The device 'mps' is not there; it needs a Mac with Apple silicon.")
    return device


def choose_precision(device: torch.device, name: str = "auto") -> str:
    """Return the number format of a forward pass: ``float32``, ``bfloat16`` or ``float16``.

    Where half the bits are not native they are slower than float32, and are not chosen.
    """
    if name != "auto":
        return name
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"
    return "bfloat16" if device.type == "cpu" and has_native_bf16() else "float32"


def has_native_bf16() -> bool:
    """Return whether this CPU multiplies bfloat16 in hardware (AVX512-BF16, AMX or ARM's)."""
    try:
        is_supported = bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    except (AttributeError, RuntimeError):
        return False
    # oneDNN also says yes where it only emulates: on AVX2 that is slower than float32.
    return is_supported and bool(_cpu_flags() & {"avx512_bf16", "amx_bf16", "bf16"})


def precision_context(device: torch.device, precision: str) -> AbstractContextManager[Any]:
    """Return a context in which the network computes in a number format."""
    if precision == "float32":
        if not torch.is_autocast_enabled(device.type):
            return nullcontext()
        return torch.autocast(device.type, enabled=False)
    return torch.autocast(device.type, dtype=_DTYPES[precision])


def describe_device() -> dict[str, Any]:
    """Return in JSON-ready words and numbers what this machine can do.

    Memory is in bytes. ``device`` and ``precision`` are what ``auto`` means here.
    """
    device = choose_device()
    gpus = [_gpu(index) for index in range(torch.cuda.device_count())]
    return {
        "name": gpus[0]["name"] if device.type == "cuda" and gpus else _cpu_name(),
        "device": device.type,
        "precision": choose_precision(device),
        "cpu": _cpu_name(),
        "cores": _usable_cores(),
        "threads": torch.get_num_threads(),
        "memory_bytes": memory_bytes(torch.device("cpu")),
        "native_bf16": has_native_bf16(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "gpus": gpus,
    }


def memory_bytes(device: torch.device) -> int | None:
    """Return the memory of a device in bytes, or None where it cannot be found out.

    In a container it is the memory that the container may use.
    """
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    limits = [_physical_memory(), _container_limit()]
    known = [one for one in limits if one is not None]
    return min(known) if known else None


def _physical_memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return _windows_memory()


def _windows_memory() -> int | None:
    import ctypes

    windll = getattr(ctypes, "windll", None)
    if windll is None:
        return None
    kilobytes = ctypes.c_ulonglong()
    found = windll.kernel32.GetPhysicallyInstalledSystemMemory(ctypes.byref(kilobytes))
    return int(kilobytes.value) * 1024 if found else None


def _container_limit() -> int | None:
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            return int((Path("/sys/fs/cgroup") / name).read_text())
        except (OSError, ValueError):
            continue
    return None


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _cpu_info(field: str) -> str | None:
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        return None
    found = (line.partition(":")[2].strip() for line in lines if line.startswith(field))
    return next(found, None)


def _cpu_flags() -> set[str]:
    return set((_cpu_info("flags") or _cpu_info("Features") or "").split())


def _cpu_name() -> str:
    return _cpu_info("model name") or platform.processor() or platform.machine()


def _gpu(index: int) -> dict[str, Any]:
    facts = torch.cuda.get_device_properties(index)
    return {
        "name": facts.name,
        "memory_bytes": int(facts.total_memory),
        "native_bf16": facts.major >= 8,
    }
