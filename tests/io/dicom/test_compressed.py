"""Compressed pixels come out as they went in, and damage in them is told."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless, JPEGBaseline8Bit, JPEGLSLossless, RLELossless

from napari_attnseg import read_volume
from napari_attnseg.io import VolumeError

SHAPE = (3, 40, 56)


def smooth(dtype, low, high):
    """Return values that use a range and that compression can do something with."""
    k, j, i = np.indices(SHAPE)
    wave = np.sin(k + j / 7) * np.cos(i / 5)
    return ((wave + 1) / 2 * (high - low) + low).astype(dtype)


def compressed(stored, syntax, encode):
    def change(dataset, k):
        dataset.file_meta.TransferSyntaxUID = syntax
        dataset.PixelData = encapsulate([encode(stored[k], dataset)])
        dataset["PixelData"].VR = "OB"
        dataset["PixelData"].is_undefined_length = True

    return change


def with_pydicom(syntax):
    def encode(plane, dataset):
        copy = dataset.copy()
        copy.PixelData = plane.tobytes()
        copy["PixelData"].VR = "OW"
        copy["PixelData"].is_undefined_length = False
        copy.file_meta = dataset.file_meta.__class__(dataset.file_meta)
        copy.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
        copy.compress(syntax, generate_instance_uid=False)
        return next(pieces(copy.PixelData))

    return encode


def pieces(content):
    from pydicom.encaps import generate_frames

    return generate_frames(content, number_of_frames=1)


def jpeg_2000(plane, dataset):
    file = io.BytesIO()
    Image.fromarray(plane).save(file, "JPEG2000", irreversible=False, no_jp2=True)
    return file.getvalue()


@pytest.mark.parametrize(("dtype", "low", "high"), [("uint8", 0, 255), ("uint16", 0, 65535)])
def test_jpeg_2000_without_loss_is_exact(tmp_path, write_series, dtype, low, high):
    stored = smooth(dtype, low, high)
    change = compressed(stored, JPEG2000Lossless, jpeg_2000)
    write_series(tmp_path, stored, change=change)

    volume = read_volume(tmp_path)

    assert volume.data.dtype == dtype
    assert np.array_equal(volume.data[0], stored)


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless])
@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [("uint8", 0, 255), ("uint16", 0, 65535), ("int16", -1024, 3071), ("int16", -32768, 32767)],
)
def test_run_lengths_and_jpeg_ls_are_exact(tmp_path, write_series, syntax, dtype, low, high):
    if syntax == JPEGLSLossless:
        pytest.importorskip("jpeg_ls", reason="encoding JPEG-LS needs the extra dicom-seg")
    stored = smooth(dtype, low, high)
    write_series(tmp_path, stored, change=compressed(stored, syntax, with_pydicom(syntax)))

    volume = read_volume(tmp_path)

    assert volume.data.dtype == dtype
    assert np.array_equal(volume.data[0], stored)


def test_a_compressed_ct_is_in_hounsfield_units(tmp_path, write_series):
    stored = smooth("uint16", 0, 4095)
    tags = {"RescaleSlope": 1, "RescaleIntercept": -1024, "BitsStored": 12, "HighBit": 11}
    write_series(tmp_path, stored, change=compressed(stored, JPEG2000Lossless, jpeg_2000), **tags)

    volume = read_volume(tmp_path)

    assert volume.data.dtype == np.int16
    assert np.array_equal(volume.data[0], stored.astype(int) - 1024)


def test_baseline_jpeg_is_as_pillow_decodes_it(tmp_path, write_series):
    stored = smooth("uint8", 0, 255)
    decoded = []

    def encode(plane, dataset):
        file = io.BytesIO()
        Image.fromarray(plane).save(file, "JPEG", quality=90)
        decoded.append(np.asarray(Image.open(file)))
        return file.getvalue()

    write_series(tmp_path, stored, change=compressed(stored, JPEGBaseline8Bit, encode))

    volume = read_volume(tmp_path)

    # Decoders may round the last bit of the cosine transform differently.
    assert np.abs(volume.data[0].astype(int) - decoded).max() <= 1


def test_damaged_compressed_pixels_are_refused(tmp_path, write_series):
    stored = smooth("uint16", 0, 65535)
    change = compressed(stored, JPEG2000Lossless, lambda plane, dataset: b"no codestream" * 20)
    write_series(tmp_path, stored, change=change)

    with pytest.raises(VolumeError, match="cannot be decompressed"):
        read_volume(tmp_path)


def test_a_header_that_promises_more_than_the_pixels_hold_is_refused(tmp_path, write_series):
    stored = smooth("uint16", 0, 65535)
    change = compressed(stored, JPEG2000Lossless, jpeg_2000)
    write_series(tmp_path, stored, change=change, Rows=65535, Columns=65535)

    with pytest.raises(VolumeError, match="promises 65535 x 65535 pixels"):
        read_volume(tmp_path)


def test_other_sizes_in_the_pixels_than_in_the_header_are_refused(tmp_path, write_series):
    stored = smooth("uint16", 0, 65535)
    change = compressed(stored, JPEG2000Lossless, jpeg_2000)
    write_series(tmp_path, stored, change=change, Rows=41, Columns=56)

    with pytest.raises(VolumeError, match=r"promises 41 x 56 pixels|cannot be decompressed"):
        read_volume(tmp_path)


def test_an_unknown_compression_is_named(tmp_path, write_series):
    stored = smooth("uint16", 0, 65535)
    syntax = "1.2.840.10008.1.2.4.102"  # a film
    write_series(tmp_path, stored, change=compressed(stored, syntax, jpeg_2000))

    with pytest.raises(VolumeError, match=r"cannot be decompressed: .*MPEG-4"):
        read_volume(tmp_path)
