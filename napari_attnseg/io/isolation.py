"""Native decoders run in a process of their own: a crash ends it, not this one.

The process is started when it is first needed, and reused; starting it takes about half a second,
and each question a fraction of a millisecond beyond the decoding. A decoder that crashes or hangs
is ended and started anew.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from napari_attnseg.io import decoder
from napari_attnseg.io.decoder import LENGTHS

_SECONDS = 20.0
_SECONDS_A_BYTE = 2e-6
_LONGEST_HEADER = 1 << 20


class DecoderCrashError(RuntimeError):
    """The process of the decoders ended, or had to be ended, while it was at work."""


class DecoderProcess:
    """A process that decodes, started when it is needed and again after a crash.

    Several threads may ask; they are answered one after another.

    Args:
        script: What the process runs.
        seconds: After this long, and more for large results, a decoder is taken to hang.
    """

    def __init__(self, script: str | Path = decoder.__file__, seconds: float = _SECONDS) -> None:
        self._script = str(script)
        self._seconds = seconds
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._folder = ""
        self._owner = os.getpid()

    def ask(
        self, request: Mapping[str, Any], content: bytes = b"", largest: int = 0
    ) -> tuple[dict[str, Any], np.ndarray | None]:
        """Return what a decoder answers, and the array that came with it, if one did.

        Args:
            request: Names the ``decoder`` and what it needs to know.
            content: Bytes to decode.
            largest: Bytes that the result should have; it bounds the decoder's memory and time.

        Raises:
            DecoderCrashError: If the decoder crashed or hung.
        """
        with self._lock:
            is_fresh = self._start()
            try:
                return self._asked(request, content, largest)
            except (OSError, EOFError) as error:
                self.stop()
                if is_fresh:
                    raise DecoderCrashError from error
            # A process may have gone for want of questions, or been harmed by an earlier file.
            self._start()
            try:
                return self._asked(request, content, largest)
            except (OSError, EOFError) as error:
                self.stop()
                raise DecoderCrashError from error

    def stop(self) -> None:
        """End the process, if there is one; it is started again when it is needed."""
        process, self._process = self._process, None
        if process is None or self._owner != os.getpid():
            return
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            with suppress(OSError):
                cast(IO[bytes], stream).close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _start(self) -> bool:
        """Start a process if there is none; return whether it is a new one."""
        is_ours = self._owner == os.getpid()
        if is_ours and self._process is not None and self._process.poll() is None:
            return False
        self.stop()
        self._owner = os.getpid()
        self._folder = tempfile.mkdtemp(prefix="attnseg-")
        # -P: the script's folder, whose modules have names of their own, is not searched.
        self._process = subprocess.Popen(
            [sys.executable, "-P", self._script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
        return True

    def _asked(
        self, request: Mapping[str, Any], content: bytes, largest: int
    ) -> tuple[dict[str, Any], np.ndarray | None]:
        process = self._process
        assert process is not None
        watchdog = threading.Timer(self._seconds + largest * _SECONDS_A_BYTE, process.kill)
        watchdog.daemon = True
        watchdog.start()
        try:
            text = json.dumps({**request, "folder": self._folder, "bytes": largest}).encode()
            for part in (LENGTHS.pack(len(text), len(content)), text, content):
                _write(cast(IO[bytes], process.stdin), part)
            return _answer(cast(IO[bytes], process.stdout))
        finally:
            watchdog.cancel()


def _answer(stream: IO[bytes]) -> tuple[dict[str, Any], np.ndarray | None]:
    length, size = LENGTHS.unpack(_filled(stream, LENGTHS.size).tobytes())
    if length > _LONGEST_HEADER:
        raise EOFError
    header = json.loads(bytes(_filled(stream, length)))
    # Into the array itself: the values are not copied again.
    values = _filled(stream, size)
    if "dtype" not in header:
        return header, None
    return header, values.view(header.pop("dtype")).reshape(header.pop("shape"))


def _filled(stream: IO[bytes], size: int) -> np.ndarray:
    out = np.empty(size, dtype=np.uint8)
    at = 0
    while at < size:
        count = cast(Any, stream).readinto(out[at:].data)
        if not count:
            raise EOFError
        at += count
    return out


def _write(stream: IO[bytes], part: bytes) -> None:
    view = memoryview(part)
    while view:
        view = view[stream.write(view) :]


DECODERS = DecoderProcess()
"""The one that all readers share."""

atexit.register(DECODERS.stop)
