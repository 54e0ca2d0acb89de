"""Events as lines of JSON: one side writes them, the other survives whatever arrives."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, BinaryIO

from napari_attnseg.jobs.contract import Event


def to_line(message: dict[str, Any]) -> bytes:
    """Return a message as one line; NaN and infinities, which JSON lacks, become null."""
    return json.dumps(_plain(message), allow_nan=False).encode() + b"\n"


def from_line(line: bytes) -> dict[str, Any] | None:
    """Return the message in a line, or None where there is none."""
    try:
        message = json.loads(line)
    except ValueError:
        return None
    return message if isinstance(message, dict) else None


class EventStream:
    """Writes events; falls silent when nobody listens any more, so that the work can go on.

    Args:
        stream: Unbuffered binary stream.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._has_listener = True

    def write(self, event: Event) -> None:
        """Send one event."""
        if not self._has_listener:
            return
        try:
            self._stream.write(to_line(event))
            self._stream.flush()
        except OSError:
            self._has_listener = False


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [_plain(one) for one in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, Path):
        return str(value)
    # Scalars of numpy and torch know how to become Python's.
    return _plain(value.item()) if hasattr(value, "item") else str(value)
