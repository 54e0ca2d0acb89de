"""Errors and deaths of children in plain sentences, each with a next step."""

from __future__ import annotations

import errno
import signal
import traceback
from dataclasses import dataclass

_LONGEST = 600
_CHECK_PATH = "Check the path and its permissions."
_RESUME = "Resume the run, or start it again if it had not yet saved a checkpoint."
_AGAIN = "Start it again; what was already written is kept."

UNEXPECTED = "Its details help to report it."
"""Next step after an error that nobody foresaw."""


@dataclass(frozen=True)
class Trouble:
    """What went wrong.

    Args:
        text: One or two plain sentences.
        next_step: What the person can do now.
        details: For developers, such as a traceback.
    """

    text: str
    next_step: str
    details: str = ""

    def to_event(self) -> dict[str, str]:
        """Return it as an ``error`` event."""
        return {
            "event": "error",
            "text": self.text,
            "next_step": self.next_step,
            "details": self.details,
        }


def next_step(kind: str) -> str:
    """Return what helps after a job of some kind ended before its time."""
    return _RESUME if kind == "train" else _AGAIN


def explain_error(error: BaseException, kind: str = "") -> Trouble:
    """Return a sentence and a next step for an exception that ended a job."""
    details = "".join(traceback.format_exception(error))
    text = _first_words(error)
    if _is_our_own(error):
        return Trouble(text, _RESUME if kind == "train" and is_disk_full(error) else "", details)
    if is_out_of_memory(error):
        where = "on the GPU" if "cuda" in details.lower() else "of this computer"
        return Trouble(
            f"The memory {where} is full.",
            "Close other programs, or choose a smaller patch, batch or network. "
            + (_RESUME if kind == "train" else ""),
            details,
        )
    if is_disk_full(error):
        place = f" at {error.filename}" if isinstance(error, OSError) and error.filename else ""
        step = "Free some space. " + next_step(kind)
        return Trouble(f"The disk is full{place}, so nothing more can be written.", step, details)
    if isinstance(error, OSError) and error.strerror:
        return Trouble(_what_the_system_says(error), _CHECK_PATH, details)
    if isinstance(error, (ValueError, OSError)):
        # These carry sentences written for the person who gave the input.
        return Trouble(text, "", details)
    if isinstance(error, ModuleNotFoundError):
        step = f"Install it: pip install {error.name}"
        return Trouble(f"The library {error.name} is not installed.", step, details)
    return Trouble(f"Unexpected {type(error).__name__}: {text}.", UNEXPECTED, details)


def explain_death(returncode: int, kind: str, log_tail: str) -> Trouble:
    """Return a sentence for a child that ended without saying how.

    Args:
        returncode: As `subprocess` gives it: negative numbers are signals.
        kind: Of the job it was at.
        log_tail: The last lines that it logged.
    """
    if returncode == -getattr(signal, "SIGKILL", 9):
        text = (
            "The process at work was ended from outside (signal 9), "
            "which systems also do when memory runs out."
        )
    elif returncode < 0:
        text = f"The process at work crashed ({_signal_name(-returncode)})."
    else:
        text = f"The process at work ended without a result (exit status {returncode})."
    return Trouble(text, next_step(kind), log_tail)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether memory, of the computer or of its GPU, ran out."""
    words = ("out of memory", "not enough memory", "can't allocate memory", "cannot allocate")
    text = str(error).lower()
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
        or (isinstance(error, RuntimeError) and any(word in text for word in words))
    )


def is_disk_full(error: BaseException | None) -> bool:
    """Return whether a disk or a quota is used up, also where a library hid the reason."""
    if error is None:
        return False
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    # torch.save and safetensors report a full disk in words of their own.
    words = ("no space left on device", "quota exceeded", "pytorchstreamwriter failed writing")
    if any(word in str(error).lower() for word in words):
        return True
    return is_disk_full(error.__cause__)


def _what_the_system_says(error: OSError) -> str:
    if error.filename is None:
        return f"A file could not be read or written: {error.strerror}."
    if isinstance(error, (FileExistsError, NotADirectoryError)):
        return f"{error.filename}: a file is in the place of a folder."
    return f"{error.filename}: {error.strerror}."


def _is_our_own(error: BaseException) -> bool:
    # Errors defined in this package carry sentences written for the person at the screen.
    return type(error).__module__.split(".")[0] == __name__.split(".")[0]


def _first_words(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _signal_name(number: int) -> str:
    try:
        return f"signal {number}, {signal.Signals(number).name}"
    except ValueError:
        return f"signal {number}"
