"""Screens: whether there is one, and a virtual one where there is none."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator

_SIZE = "1600x1000x24"
_START_SECONDS = 10.0


def has_display() -> bool:
    """Return whether windows can be shown to a person."""
    if not sys.platform.startswith("linux"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


@contextlib.contextmanager
def virtual_screen() -> Iterator[dict[str, str] | None]:
    """Start Xvfb; gives the environment that leads windows to it, or None where it is missing."""
    program = shutil.which("Xvfb")
    if program is None:
        yield None
        return
    reading, writing = os.pipe()
    server = subprocess.Popen(
        [program, "-displayfd", str(writing), "-screen", "0", _SIZE, "-nolisten", "tcp"],
        pass_fds=[writing],
        stderr=subprocess.DEVNULL,
    )
    os.close(writing)
    try:
        with os.fdopen(reading) as answer:
            # Xvfb writes its number when it is ready, or closes the pipe when it fails.
            number = answer.readline().strip()
        yield _environment(number) if number else None
    finally:
        server.terminate()
        server.wait(_START_SECONDS)


def _environment(number: str) -> dict[str, str]:
    hidden = ("WAYLAND_DISPLAY", "QT_QPA_PLATFORM")
    known = {name: value for name, value in os.environ.items() if name not in hidden}
    return {**known, "DISPLAY": f":{number}", "QT_QPA_PLATFORM": "xcb"}
