"""Read DICOM files with pydicom: only the tags that are asked for, and never a patient's."""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import pydicom
from pydicom.errors import BytesLengthException, InvalidDicomError

from napari_attnseg.io.format import VolumeError

_DAMAGE = (
    AttributeError, AssertionError, BytesLengthException, EOFError, IndexError, InvalidDicomError,
    KeyError, LookupError, NotImplementedError, OverflowError, RecursionError, struct.error,
    TypeError, ValueError, zlib.error,
)  # fmt: skip


def read_tags(path: Path, tags: Sequence[str], *, with_pixels: bool = False) -> pydicom.Dataset:
    """Return a file's data set with no other tags than these.

    Raises:
        VolumeError: If the file is damaged.
    """
    with damage_named(path):
        dataset = pydicom.dcmread(
            path, specific_tags=list(tags), stop_before_pixels=not with_pixels
        )
        # Forces the lazy values, so that damage is found here.
        for name in tags:
            dataset.get(name)
        return cast(pydicom.Dataset, dataset)


@contextmanager
def damage_named(path: Path) -> Iterator[None]:
    """Turn what pydicom raises on a damaged file into a sentence.

    pydicom puts the value of the tag it stumbles over into its errors and warnings, and that may
    be a patient's name; so neither is passed on.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except VolumeError:
        raise
    except _DAMAGE:
        raise VolumeError(
            f"{path.name!r} is damaged: its DICOM header cannot be read. "
            "Copy it again from its source."
        ) from None
