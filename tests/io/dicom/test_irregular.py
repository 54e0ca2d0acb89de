"""Slices that make no regular grid are refused with the numbers; nothing is resampled."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom.uid import generate_uid

from napari_attnseg import read_volume
from napari_attnseg.io import IrregularSeriesError, VolumeError, describe

SHAPE = (6, 7, 9)


@pytest.fixture
def stored(voxels):
    return voxels(SHAPE, "int16")


def along_z(*heights):
    return np.array([(-30.5, 12.25, z) for z in heights])


def test_a_missing_slice_is_told_with_its_place_and_the_longest_run(
    tmp_path, write_series, stored
):
    write_series(tmp_path, stored, positions=along_z(0, 2, 4, 6, 10, 12))

    with pytest.raises(IrregularSeriesError) as caught:
        read_volume(tmp_path)

    told = str(caught.value)
    assert "4.000 mm between 6.00 and 10.00 mm, 2.000 mm elsewhere" in told
    assert "1 slice seems to be missing" in told
    assert "longest run, 4 of 6 slices (remedy='longest-run')" in told
    assert caught.value.remedy == "longest-run"


def test_a_file_taken_away_is_noticed(tmp_path, write_series, stored, turned):
    write_series(tmp_path, stored, directions=turned)
    (tmp_path / "IM0002").unlink()

    with pytest.raises(VolumeError, match=r"5\.000 mm between .*, 2\.500 mm elsewhere"):
        read_volume(tmp_path / "IM0000")


def test_uneven_slices_are_told_with_their_range(tmp_path, write_series, stored):
    write_series(tmp_path, stored, positions=along_z(0, 2, 4.3, 6.1, 8.4, 10))

    with pytest.raises(VolumeError, match=r"from 1\.600 to 2\.300 mm, up to 0\.\d+ mm off"):
        read_volume(tmp_path)


def test_thicker_slices_at_one_end_are_noticed(tmp_path, write_series, stored):
    write_series(tmp_path, stored, positions=along_z(0, 2, 4, 6, 8.2, 10.4))

    with pytest.raises(VolumeError, match=r"from 2\.000 to 2\.200 mm"):
        read_volume(tmp_path)


def test_rounded_positions_load_with_a_warning(tmp_path, write_series, voxels):
    stored = voxels((40, 7, 9), "int16")
    write_series(tmp_path, stored, positions=along_z(*np.round(0.625 * np.arange(40), 1)))

    volume = read_volume(tmp_path)

    assert volume.spacing_dhw[0] == pytest.approx(0.625, abs=0.001)
    assert "rounded slice positions are up to 0.05" in volume.storage.extra["warnings"][0]


def test_a_gantry_tilt_is_told_in_degrees(tmp_path, write_series, stored):
    shift = 2.0 * np.tan(np.radians(12.5))
    places = np.array([(0, shift * k, 2.0 * k) for k in range(6)])
    write_series(tmp_path, stored, positions=places)

    with pytest.raises(
        VolumeError, match=r"tilted by 12\.50 degrees .*2\.000 mm.*remedy='resample'"
    ):
        read_volume(tmp_path)


def test_a_slice_pushed_aside_is_noticed(tmp_path, write_series, stored):
    places = along_z(0, 2, 4, 6, 8, 10)
    places[2, 0] += 1.5
    write_series(tmp_path, stored, positions=places)

    with pytest.raises(VolumeError, match=r"do not lie above each other: .* 1\.\d+ mm off"):
        read_volume(tmp_path)


def test_two_slices_at_one_place_are_refused(tmp_path, write_series, stored):
    write_series(tmp_path, stored, positions=along_z(0, 2, 4, 4, 6, 8))

    with pytest.raises(VolumeError, match=r"6 slices .* at only 5 places, 1 of which"):
        read_volume(tmp_path)


def test_channels_that_lie_beside_each_other_are_refused(tmp_path, write_series, stored):
    places = np.repeat(along_z(0, 2, 4), 2, axis=0)
    places[1::2, 0] += 3

    def change(dataset, k):
        dataset.EchoTime = k % 2

    write_series(tmp_path, stored, positions=places, change=change)

    with pytest.raises(VolumeError, match=r"3\.000 mm beside"):
        read_volume(tmp_path)


def test_slices_turned_against_each_other_are_refused(tmp_path, write_series, stored):
    def change(dataset, k):
        if k < 2:
            dataset.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]

    write_series(tmp_path, stored, change=change)

    with pytest.raises(VolumeError, match=r"of the 6 slices .* turned .* 90\.0 degrees"):
        read_volume(tmp_path)


def test_slices_of_several_sizes_are_refused(tmp_path, write_series, stored):
    series = generate_uid()
    write_series(tmp_path, stored[:3], SeriesInstanceUID=series)
    names = ["a", "b", "c"]
    write_series(tmp_path, stored[:3, :5], names=names, SeriesInstanceUID=series)

    with pytest.raises(VolumeError, match="2 sizes, from 5 x 9 to 7 x 9 pixels"):
        read_volume(tmp_path)


def test_pixels_of_several_sizes_are_refused(tmp_path, write_series, stored):
    def change(dataset, k):
        dataset.PixelSpacing = [1.25, 0.75 + 0.1 * (k == 4)]

    write_series(tmp_path, stored, change=change)

    with pytest.raises(VolumeError, match=r"from 1.25 x 0.75 to 1.25 x 0.85 mm"):
        read_volume(tmp_path)


@pytest.mark.parametrize(
    ("tag", "reason"),
    [
        ("ImagePositionPatient", "where in the patient"),
        ("ImageOrientationPatient", "where in the patient"),
        ("PixelSpacing", "how large their pixels"),
    ],
)
def test_slices_that_miss_a_tag_are_refused(tmp_path, write_series, stored, tag, reason):
    write_series(tmp_path, stored, change=lambda dataset, k: dataset.pop(tag))

    with pytest.raises(VolumeError, match=reason):
        read_volume(tmp_path)


def test_a_damaged_orientation_is_refused(tmp_path, write_series, stored):
    write_series(tmp_path, stored, ImageOrientationPatient=[1, 0, 0, 0.5, 1, 0])

    with pytest.raises(VolumeError, match="not at right angles"):
        read_volume(tmp_path)


def test_colours_are_refused(tmp_path, write_series, voxels):
    def change(dataset, k):
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 3, "RGB"
        dataset.PlanarConfiguration = 0
        dataset.PixelData = bytes(7 * 9 * 3 + 1)

    write_series(tmp_path, voxels((3, 7, 9), "uint8"), change=change)

    with pytest.raises(VolumeError, match=r"holds colours \(3 values a pixel, RGB\)"):
        read_volume(tmp_path)


def test_frames_without_places_are_refused(tmp_path, write_series, stored):
    write_series(tmp_path, stored[:1], NumberOfFrames=2)

    with pytest.raises(VolumeError, match="2 frames but the places of 0"):
        read_volume(tmp_path)


def test_a_refusal_says_nothing_of_the_patient(tmp_path, write_series, stored, secrets, caplog):
    write_series(tmp_path, stored, positions=along_z(0, 2, 4, 6, 10, 12))

    row = describe(tmp_path)

    assert row["ok"] is False
    assert not any(secret in repr(row) + caplog.text for secret in secrets)


def test_the_longest_run_is_read_where_the_user_asks_for_it(tmp_path, write_series, stored):
    write_series(tmp_path, stored, positions=along_z(0, 2, 6, 8, 10, 12))

    volume = read_volume(tmp_path, remedy="longest-run")

    assert np.array_equal(volume.data[0], stored[2:])
    assert np.allclose(volume.grid.world(np.zeros(3)), (30.5, -12.25, 6))
    assert "longest run of even slices was read, 4 of 6" in volume.storage.extra["warnings"][0]


@pytest.mark.parametrize("degrees", [-20.0, 12.5])
def test_tilted_slices_are_resampled_where_the_user_asks_for_it(tmp_path, write_series, degrees):
    shift = 2.0 * np.tan(np.radians(degrees))
    places = np.array([(3.0, 5.0 + shift * k, 2.0 * k) for k in range(6)])
    k, j, i = np.indices((6, 17, 9))
    x, y = places[k, 0] + 0.75 * i, places[k, 1] + 1.25 * j
    write_series(tmp_path, (20 * x + 30 * y + 400 * k).astype(np.int16), positions=places)

    volume = read_volume(tmp_path, remedy="resample")

    # Linear interpolation is exact on such values, up to the rounding to whole numbers.
    world = volume.grid.world(np.moveaxis(np.indices(volume.shape_dhw), 0, -1))
    expected = -20 * world[..., 0] - 30 * world[..., 1] + 200 * world[..., 2]
    off = -world[..., 1] - places[np.indices(volume.shape_dhw)[0], 1]
    is_inside = (off >= 0) & (off <= 16 * 1.25)
    assert is_inside.mean() > 0.7
    assert np.abs(volume.data[0] - expected)[is_inside].max() <= 1.5
    assert volume.spacing_dhw == pytest.approx((2.0, 1.25, 0.75))
    assert "tilted by" in volume.storage.extra["warnings"][0]


def test_a_remedy_changes_nothing_where_none_is_needed(tmp_path, write_series, stored):
    write_series(tmp_path, stored)

    for remedy in ("resample", "longest-run"):
        volume = read_volume(tmp_path, remedy=remedy)
        assert np.array_equal(volume.data[0], stored)
        assert volume.storage.extra["warnings"] == ()


def test_a_remedy_for_something_else_is_no_remedy(tmp_path, write_series, stored):
    write_series(tmp_path, stored, positions=along_z(0, 2, 4, 6, 10, 12))

    with pytest.raises(VolumeError, match="1 slice seems to be missing"):
        read_volume(tmp_path, remedy="resample")
