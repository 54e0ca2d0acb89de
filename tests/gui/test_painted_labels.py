"""Labels painted over volumes of every form are saved exactly where they were painted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import napari
import nibabel as nib
import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels

from napari_attnseg.gui import npe2_reader, npe2_writer

TYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64")
FORMS = {
    "2-D": (8, 11),
    "single slice": (8, 11, 1),
    "volume": (8, 11, 5),
    "trailing one": (8, 11, 5, 1),
    "channels": (8, 11, 5, 3),
}


def affine(turn: float = 0.0) -> np.ndarray:
    made = np.eye(4)
    made[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    made = made @ np.diag([-0.7, 1.1, 2.5, 1.0])
    made[:3, 3] = (31, -12, 7)
    return made


def save(
    path: Path, shape: tuple[int, ...], kind: str, sform: np.ndarray, qform: np.ndarray
) -> Path:
    voxels = np.random.default_rng(3).integers(0, 100, size=shape).astype(kind)
    image = nib.Nifti1Image(voxels, sform, dtype=kind)
    image.set_sform(sform, code=2)
    image.set_qform(qform, code=1)
    nib.save(image, path)
    return path


@pytest.fixture
def viewer(monkeypatch: pytest.MonkeyPatch) -> ViewerModel:
    model = ViewerModel()
    monkeypatch.setattr(napari, "current_viewer", lambda: model)
    return model


def painted(viewer: ViewerModel, path: Path, voxel: tuple[int, int, int]) -> Path:
    """Open a file, paint one voxel (i, j, k) of a new labels layer with the brush, and save it."""
    layers = [
        {"image": Image, "labels": Labels}[kind](data, **attributes)
        for data, attributes, kind in npe2_reader.read(str(path))
    ]
    viewer.layers.extend(layers)
    viewer.layers.selection = {layers[0]}
    viewer._new_labels()
    drawn: Any = viewer.layers[-1]
    index = voxel[::-1]
    at = np.round(drawn.world_to_data(layers[0].data_to_world(index))).astype(int)
    drawn.paint(tuple(at), 2)
    drawn.data[tuple(at)] = 3
    data, attributes, _ = drawn.as_layer_data_tuple()
    (written,) = npe2_writer.write_labels(str(path.with_name("mask.nii.gz")), data, attributes)
    return Path(written)


def assert_on_its_grid(written: Path, source: Path, voxel: tuple[int, int, int]) -> None:
    mask, image = nib.load(written), nib.load(source)
    labels = np.asarray(mask.dataobj)
    found = np.argwhere(labels.reshape(*labels.shape, *[1] * (3 - labels.ndim))[:, :, :] == 3)
    assert found[:, :3].tolist() == [list(voxel)]
    # A mask has one channel, whatever the image has.
    assert labels.squeeze().shape == tuple(n for n in image.shape[:3] if n > 1)
    for form in ("get_sform", "get_qform"):
        ours, theirs = (getattr(one, form)(coded=True) for one in (mask, image))
        assert ours[1] == theirs[1]
        np.testing.assert_allclose(ours[0], theirs[0], atol=1e-4)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("turn", [0.0, 0.3], ids=["straight", "oblique"])
def test_labels_painted_over_a_volume_of_any_form_lie_on_its_grid(
    viewer: ViewerModel, tmp_path: Path, form: str, turn: float
) -> None:
    source = save(tmp_path / "image.nii.gz", FORMS[form], "int16", affine(turn), affine(turn))
    voxel = (6, 2, 3 if len(FORMS[form]) > 2 and FORMS[form][2] > 1 else 0)

    written = painted(viewer, source, voxel)

    assert_on_its_grid(written, source, voxel)


@pytest.mark.parametrize("kind", [*TYPES, "float32", "float64"])
def test_labels_painted_over_voxels_of_any_type_lie_on_its_grid(
    viewer: ViewerModel, tmp_path: Path, kind: str
) -> None:
    source = save(tmp_path / "image.nii", FORMS["volume"], kind, affine(), affine())

    written = painted(viewer, source, (1, 9, 4))

    assert_on_its_grid(written, source, (1, 9, 4))


def test_labels_keep_both_forms_of_a_file_whose_forms_differ(
    viewer: ViewerModel, tmp_path: Path
) -> None:
    moved = affine()
    moved[:3, 3] += (4, -3, 2)
    source = save(tmp_path / "image.nii.gz", FORMS["volume"], "int16", affine(0.2), moved)

    written = painted(viewer, source, (3, 10, 1))

    assert_on_its_grid(written, source, (3, 10, 1))
