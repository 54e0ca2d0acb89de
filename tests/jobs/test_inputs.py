"""The images of a case as one volume, on one grid."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from napari_attnseg.io import read_volume, write_volume
from napari_attnseg.jobs.inputs import read_on_one_grid
from napari_attnseg.volume import Grid, GridMismatchError, Volume, affine_for_itk

FIRST = Grid((9, 12, 7), np.diag([1.0, 1.25, 2.0, 1.0]))
BEYOND = FIRST.strided((5, 30, 4), (2, 0.4, 1.7), (-0.9, 0, 1))


def image(grid: Grid, seed: int = 1) -> Volume:
    values = np.random.default_rng(seed).normal(size=(1, *grid.shape_dhw))
    return Volume(values.astype(np.float32), grid.affine)


def oblique() -> Grid:
    angle = 0.3
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    affine = turn @ np.diag([-0.9, 1.1, 1.7, 1.0])
    affine[:3, 3] = (6.0, -2.5, 1.5)
    return Grid((8, 11, 10), affine)


def as_itk(volume: Volume) -> SimpleITK.Image:
    made = SimpleITK.GetImageFromArray(volume.data[0])
    lps = affine_for_itk(volume.affine)
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    made.SetSpacing(spacing.tolist())
    made.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    made.SetOrigin(lps[:3, 3].tolist())
    return made


def write_two(folder: Path, second: Volume) -> dict[str, Path]:
    first = write_volume(folder / "a.nii.gz", image(FIRST))
    return {"T1": first, "FLAIR": write_volume(folder / "b.nii.gz", second)}


def test_images_on_other_grids_are_refused_with_how_far_they_are_apart(tmp_path: Path) -> None:
    shifted = FIRST.strided(FIRST.shape_dhw, (1, 1, 1), (0, 0, 1.5))

    with pytest.raises(GridMismatchError, match=r"1\.50 mm.*'FLAIR'|'FLAIR'.*1\.50 mm") as refused:
        read_on_one_grid(write_two(tmp_path, image(shifted)))

    assert "--resample" in str(refused.value)


@pytest.mark.parametrize(
    "grid", [oblique(), FIRST.strided((5, 30, 4), (2, 0.4, 1.7), (-0.9, 0, 1))]
)
def test_an_image_is_resampled_where_simpleitk_resamples_it(grid: Grid, tmp_path: Path) -> None:
    paths = write_two(tmp_path, image(grid, 2))

    found, moved = read_on_one_grid(paths, resample=True)

    first, second = (as_itk(read_volume(one)) for one in paths.values())
    away = -99.0
    wanted = SimpleITK.GetArrayFromImage(
        SimpleITK.Resample(second, first, SimpleITK.Transform(), SimpleITK.sitkLinear, away)
    )
    is_outside = wanted == away
    assert 0 < is_outside.mean() < 0.9
    assert np.array_equal(np.isnan(found.data[1]), is_outside)
    assert np.abs(found.data[1] - wanted)[~is_outside].max() < 1e-4
    assert moved == ["FLAIR"]
    assert np.array_equal(found.data[0], read_volume(paths["T1"]).data[0])


def test_an_image_stored_in_another_order_is_turned_without_a_change(tmp_path: Path) -> None:
    same = image(FIRST, 3)

    found, moved = read_on_one_grid(write_two(tmp_path, same.reoriented("PIL")))

    assert np.array_equal(found.data[1], same.data[0])
    assert moved == []
