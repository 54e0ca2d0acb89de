"""What went wrong, in words a person can act on, with the details kept for whoever asks."""

from __future__ import annotations

import traceback
from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """A failure as the window shows it.

    Args:
        text: One or two plain sentences: what was wrong and what to do.
        details: Everything a developer would ask for, such as the traceback; may be empty.
    """

    text: str
    details: str = ""


EXPECTED = (ValueError, OSError, KeyError)
"""Errors whose message was written for people; anything else is a defect of this program."""


def problem_of(error: BaseException, doing: str) -> Problem:
    """Return an error as a `Problem`.

    Args:
        error: What was raised.
        doing: What was being done, such as ``"opening the project"``.
    """
    details = "".join(traceback.format_exception(error))
    if isinstance(error, MemoryError):
        return Problem(f"There was not enough memory for {doing}. Close other programs.", details)
    if isinstance(error, EXPECTED) and str(error):
        return Problem(_sentence(error), details)
    return Problem(
        f"Something unexpected happened while {doing}; nothing saved was changed. "
        "Copy details shows what a developer needs.",
        details,
    )


def _sentence(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}. Check the folder and its permissions."
    text = str(error).strip("'\"")
    return text if text.endswith((".", "?")) else f"{text}."
