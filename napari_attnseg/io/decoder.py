"""The process beside this one in which native decoders run; a crash in them ends it alone.

It is started as a script and imports nothing of this package, so that it starts fast. It is asked
over stdin and answers over stdout, one message after another: the lengths of a JSON header and of
the bytes that follow it (``<QQ``), then both.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

LENGTHS = struct.Struct("<QQ")

_IDLE_SECONDS = 120.0
_ALLOWANCE = 768 << 20
"""Bytes of address space beyond what is in use; the code of the decoders itself needs some."""

Answer = tuple[dict[str, Any], Any]


def decode_dicom(request: dict[str, Any], content: bytes) -> Answer:
    """Return the stored values of the one frame in a DICOM file, with GDCM."""
    import SimpleITK

    SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    alone = Path(request["folder"]) / "frame.dcm"
    alone.write_bytes(content)
    try:
        image = SimpleITK.ReadImage(str(alone), imageIO="GDCMImageIO")
    except RuntimeError as error:
        return {"error": str(error)}, b""
    finally:
        alone.unlink(missing_ok=True)
    return _described(SimpleITK.GetArrayFromImage(image))


def decode_picture(request: dict[str, Any], content: bytes) -> Answer:
    """Return the pixels of a PNG or JPEG file, its checksums compared."""
    import io

    import numpy as np
    from PIL import Image

    with Image.open(io.BytesIO(content)) as image:
        needed = image.width * image.height * 4
        if needed > request["largest"]:
            return {"needed": needed}, b""
        # Only this compares the checksums of a PNG; the file must be opened anew after it.
        image.verify()
    with Image.open(io.BytesIO(content)) as image:
        facts: dict[str, Any] = {"mode": image.mode, "frames": getattr(image, "n_frames", 1)}
        if facts["frames"] > 1 or image.mode not in request["modes"]:
            return facts, b""
        array = np.array(image)
    described, values = _described(array.astype(array.dtype.newbyteorder("="), copy=False))
    return {**facts, **described}, values


def describe_zarr(request: dict[str, Any], content: bytes) -> Answer:
    """Return the attributes of a Zarr folder, and shape and type of its arrays."""
    import zarr

    found = zarr.open(request["path"], mode="r")
    attributes = json.loads(json.dumps(dict(found.attrs), default=str))
    if isinstance(found, zarr.Array):
        return {"attributes": attributes, "arrays": {"": _array_facts(found)}}, b""
    names = request.get("arrays") or [name for name, _ in found.arrays()][:20]
    arrays = {name: _array_facts(found[name]) for name in names}
    return {"attributes": attributes, "arrays": arrays}, b""


def _array_facts(array: Any) -> dict[str, Any]:
    return {
        "shape": list(array.shape),
        "dtype": array.dtype.str,
        "chunks": list(array.chunks),
        "stored": int(array.nchunks_initialized),
        "expected": int(array.nchunks),
    }


def decode_zarr(request: dict[str, Any], content: bytes) -> Answer:
    """Return a part of a Zarr array."""
    import numpy as np
    import zarr

    _check_lengths_of_blosc()
    array = zarr.open_array(request["path"], mode="r")
    part = np.asarray(array[tuple(slice(*one) for one in request["ranges"])])
    return _described(np.ascontiguousarray(part.astype(part.dtype.newbyteorder("="), copy=False)))


def _check_lengths_of_blosc() -> None:
    """Refuse chunks that are cut off: Blosc reads on behind their end, whatever stands there."""
    from numcodecs.blosc import Blosc

    decode = Blosc.decode
    if hasattr(decode, "__wrapped__"):
        return

    @functools.wraps(decode)
    def checked(self: Any, buffer: Any, out: Any = None) -> Any:
        content = memoryview(buffer).cast("B")
        told = int.from_bytes(content[12:16], "little")
        if len(content) < 16 or told != len(content):
            raise ValueError(f"a chunk holds {len(content)} of {told} bytes")
        return decode(self, buffer, out)

    Blosc.decode = checked


DECODERS: dict[str, Callable[[dict[str, Any], bytes], Answer]] = {
    "dicom": decode_dicom,
    "picture": decode_picture,
    "zarr": decode_zarr,
    "zarr-facts": describe_zarr,
}


def serve(questions: BinaryIO, answers: BinaryIO) -> None:
    """Answer until the other side hangs up, or asks nothing for some minutes."""
    while _is_asked(questions):
        start = questions.read(LENGTHS.size)
        if len(start) < LENGTHS.size:
            return
        header, body = LENGTHS.unpack(start)
        request = json.loads(questions.read(header))
        described, values = _answer(request, questions.read(body))
        text = json.dumps(described).encode()
        values = memoryview(values).cast("B")
        answers.write(LENGTHS.pack(len(text), len(values)) + text)
        while values:
            values = values[answers.write(values) :]


def _answer(request: dict[str, Any], content: bytes) -> Answer:
    _limit_memory(int(request.get("bytes", 0)))
    try:
        return DECODERS[request["decoder"]](request, content)
    except Exception as error:  # noqa: BLE001 - decoders raise nearly anything on damaged bytes
        return {"error": str(error) or type(error).__name__}, b""


def _described(array: Any) -> Answer:
    array = array.astype("u1") if array.dtype.kind == "b" else array
    values = array.reshape(-1).view("u1") if array.size else b""
    return {"shape": array.shape, "dtype": array.dtype.str}, values


def _is_asked(questions: BinaryIO) -> bool:
    if os.name != "posix":
        return True
    import select

    return bool(select.select([questions], [], [], _IDLE_SECONDS)[0])


def _limit_memory(honest: int) -> None:
    """Let a decoder take some times what its result needs, so that a lie cannot take it all."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        most = in_use + _ALLOWANCE + 16 * honest
        resource.setrlimit(resource.RLIMIT_AS, (most, resource.getrlimit(resource.RLIMIT_AS)[1]))


def _main() -> None:
    # What a library prints must not get among the answers.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0)
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())
    with contextlib.suppress(BrokenPipeError, KeyboardInterrupt):
        serve(sys.stdin.buffer, answers)


if __name__ == "__main__":
    _main()
