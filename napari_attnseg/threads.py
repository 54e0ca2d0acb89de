"""How the threads of a computing process wait for each other beside a busy window.

By default the threads of OpenMP spin while they wait. Where another process, such as the window,
takes one of the cores, they then burn the time that the slowest of them needs: with two cores, a
training step took 10 s instead of 0.6 s, and 1.4 s with little spinning.
"""

from __future__ import annotations

from collections.abc import Mapping

LITTLE_SPINNING = {"GOMP_SPINCOUNT": "1000", "KMP_BLOCKTIME": "1"}
"""For the OpenMP of GCC (turns) and of LLVM and Intel (ms); read when torch is loaded."""


def sharing_processor(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment for a process that computes; what the user has set stays."""
    return {**LITTLE_SPINNING, **environment}
