from __future__ import annotations

from itertools import permutations, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from napari_attnseg.config import PredictConfig
from napari_attnseg.inference import InputError, predict, predict_steps
from napari_attnseg.inference.predict import bind_channels, mirror_axes, precision_for
from napari_attnseg.inference.run import Run
from napari_attnseg.io import read_volume, write_volume
from napari_attnseg.volume import Volume

ORIENTATIONS = [
    "".join(letters) for axes in permutations(("RL", "AP", "SI")) for letters in product(*axes)
]


def finish(steps: Any) -> Any:
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


@pytest.mark.parametrize("orientation", ORIENTATIONS[::5])
def test_the_storage_order_of_an_image_does_not_matter(
    make_run: Any, image: Volume, orientation: str
) -> None:
    run = make_run()

    straight = predict(run, image)
    turned = predict(run, image.reoriented(orientation))

    assert np.array_equal(turned.affine, image.reoriented(orientation).affine)
    assert np.array_equal(turned.reoriented("RAS").data, straight.data)


def test_an_oblique_anisotropic_image_gets_its_own_grid_back(make_run: Any) -> None:
    run = make_run(plan={"spacing_dhw": (2.0, 1.0, 1.5)})
    turn = np.array(
        [[0.9, -0.3, 0.1, 5], [0.3, 0.95, 0.2, -7], [-0.2, -0.1, 3.1, 11], [0, 0, 0, 1]]
    )
    data = np.random.default_rng(0).normal(size=(1, 9, 31, 26)).astype(np.float32)

    labels = predict(run, Volume(data, turn))

    assert labels.data.shape == data.shape
    assert np.array_equal(labels.affine, turn)


def test_a_file_is_answered_by_a_file_of_the_same_geometry(make_run: Any, tmp_path: Path) -> None:
    run = make_run()
    affine = np.diag([-1.0, -1.0, 1.0, 1.0])
    affine[:3, 3] = 10, 20, 30
    data = np.random.default_rng(0).integers(0, 900, (1, 18, 25, 21), dtype=np.int16)
    write_volume(tmp_path / "image.nii.gz", Volume(data, affine))
    image = read_volume(tmp_path / "image.nii.gz")

    write_volume(tmp_path / "mask.nii.gz", predict(run, image))

    mask = read_volume(tmp_path / "mask.nii.gz")
    assert mask.data.shape == data.shape
    assert np.array_equal(mask.affine, image.affine)
    assert mask.data.dtype == np.uint8


@pytest.mark.parametrize(
    ("values", "expected"), [((1, 2), "uint8"), ((5, 255), "uint8"), ((3, 300), "uint16")]
)
def test_masks_hold_the_files_own_values_in_the_smallest_type(
    make_run: Any, image: Volume, values: tuple[int, int], expected: str
) -> None:
    run = make_run(classes={values[0]: "liver", values[1]: "spleen"})

    labels = predict(run, image)

    assert labels.data.dtype == expected
    assert set(np.unique(labels.data)) <= {0, *values}
    assert len(np.unique(labels.data)) > 1
    assert labels.classes == run.classes


def test_probabilities_and_uncertainty_agree_with_the_mask(make_run: Any, image: Volume) -> None:
    run = make_run(plan={"spacing_dhw": (1.5, 1.0, 1.0)})
    settings = PredictConfig(probabilities=True, uncertainty=True)

    prediction = finish(predict_steps(run, image, settings))

    probabilities = prediction.probabilities.data
    assert np.allclose(probabilities.sum(axis=0), 1, atol=1e-5)
    assert np.array_equal(probabilities.argmax(axis=0), prediction.labels.data[0])
    assert prediction.probabilities.channels == ("background", "liver", "spleen")
    assert prediction.uncertainty.data.shape == image.data.shape
    assert 0 <= prediction.uncertainty.data.min() < prediction.uncertainty.data.max() <= 1 + 1e-5


def test_channels_are_put_in_order_by_their_names(make_run: Any, image: Volume) -> None:
    run = make_run(channels=("T1", "FLAIR"))
    data = np.concatenate([image.data, 5 * image.data[:, ::-1] ** 2])
    in_order = Volume(data, image.affine, channels=("T1", "FLAIR"))
    swapped = Volume(data[::-1], image.affine, channels=("FLAIR", "T1"))

    assert np.array_equal(predict(run, in_order).data, predict(run, swapped).data)


def test_a_missing_channel_is_named(make_run: Any, image: Volume) -> None:
    run = make_run(channels=("T1", "FLAIR"))

    with pytest.raises(InputError, match="'FLAIR' is missing"):
        bind_channels(run, image.replace(channels=("T1",)))


def test_a_wrong_number_of_channels_is_refused(make_run: Any, image: Volume) -> None:
    run = make_run()

    with pytest.raises(InputError, match="needs 1 image a case \\(MR\\), and 2 were found"):
        predict(run, image.replace(data=np.concatenate([image.data] * 2)))


@pytest.mark.parametrize("name", ["left kidney", "Hippocampus_R", "LeftLung", "kidney-l"])
def test_an_image_is_not_mirrored_where_a_class_tells_a_side(make_run: Any, name: str) -> None:
    run = make_run(classes={1: name, 2: "spleen"})

    assert mirror_axes(run, "RAS") == ()


@pytest.mark.parametrize("name", ["liver", "brightness", "Alright lesion", "frontal"])
def test_an_image_is_mirrored_across_left_and_right_only(make_run: Any, name: str) -> None:
    run = make_run(classes={1: name, 2: "spleen"})

    assert mirror_axes(run, "RAS") == (2,)
    assert mirror_axes(run, "SPL") == (0,)


def test_a_network_that_saw_nothing_mirrored_is_shown_nothing_mirrored(
    make_run: Any, image: Volume
) -> None:
    run = make_run(train={"augment": ["noise"]})

    prediction = finish(predict_steps(run, image, PredictConfig(tta=True)))

    assert mirror_axes(run, "RAS") == ()
    assert any("mirrored" in warning for warning in prediction.warnings)


def test_mirroring_changes_the_logits_not_the_grid(make_run: Any, image: Volume) -> None:
    labels = predict(make_run(), image, tta=True)

    assert labels.data.shape == image.data.shape


def test_a_run_validated_in_float32_is_never_used_in_half_precision(make_run: Any) -> None:
    run: Run = make_run()

    assert precision_for(run, torch.device("cuda")) == "float32"


def test_stopping_gives_no_half_mask(make_run: Any, image: Volume) -> None:
    assert finish(predict_steps(make_run(), image, should_stop=lambda: True)) is None


def test_a_flat_network_predicts_a_volume(make_run: Any, image: Volume) -> None:
    run = make_run(backbone="unet2d", dims=2, plan={"patch_size": (4, 24, 20), "dims": 2})

    labels = predict(run, image)

    assert labels.data.shape == image.data.shape


def test_a_single_slice_is_predicted(make_run: Any) -> None:
    data = np.random.default_rng(0).normal(size=(1, 1, 33, 26)).astype(np.float32)

    labels = predict(make_run(), Volume(data, np.eye(4)))

    assert labels.data.shape == data.shape


def test_voxels_that_are_not_finite_do_not_spoil_the_mask(make_run: Any, image: Volume) -> None:
    data = image.data.copy()
    data[0, 3, 4, 5], data[0, 8, 9, 10] = np.nan, np.inf

    labels = predict(make_run(), image.replace(data=data))

    assert set(np.unique(labels.data)) <= {0, 1, 2}
