"""What is wrong with a file that should hold JSON, in words for whoever has to mend it."""

from __future__ import annotations

import json


def why_not_json(error: ValueError) -> str:
    """Return what a person can look for, such as ``it cannot be read from line 3 on``.

    Args:
        error: What decoding or parsing the file raised.
    """
    if not isinstance(error, json.JSONDecodeError):
        return "it is no text file"
    rest = error.doc[error.pos :].strip()
    if not error.doc.strip():
        return "it is empty"
    if not rest or error.msg.startswith("Unterminated"):
        return "its end is missing"
    return f"it cannot be read from line {error.lineno} on, at {rest.splitlines()[0][:20]!r}"
