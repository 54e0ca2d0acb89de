from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from napari_attnseg.preprocessing.resample import resample, resample_labels, weights


@pytest.mark.parametrize(
    ("inputs", "outputs"), [(5, 12), (12, 5), (9, 9), (7, 1), (1, 4), (13, 12)]
)
def test_weights_are_not_negative_and_add_to_one(inputs, outputs) -> None:
    matrix = weights(inputs, outputs)

    assert matrix.shape == (outputs, inputs)
    assert (matrix >= -1e-7).all()
    np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-6)


def test_enlarging_is_that_of_torch() -> None:
    array = np.random.default_rng(0).normal(size=(2, 5, 6, 7)).astype(np.float32)

    result = resample(array, (9, 7, 20))

    oracle = F.interpolate(torch.from_numpy(array)[None], (9, 7, 20), mode="trilinear")[0]
    np.testing.assert_allclose(result, oracle.numpy(), atol=1e-6)


def test_halving_is_the_mean_of_eight_voxels() -> None:
    array = np.random.default_rng(0).normal(size=(4, 6, 8)).astype(np.float32)

    result = resample(array, (2, 3, 4))

    oracle = array.reshape(2, 2, 3, 2, 4, 2).mean(axis=(1, 3, 5))
    np.testing.assert_allclose(result, oracle, atol=1e-6)


@pytest.mark.parametrize("shape", [(3, 7, 10), (4, 5, 6), (5, 3, 11), (8, 9, 12)])
def test_a_ramp_stays_a_ramp_wherever_no_voxel_lies_beyond_the_ends(shape) -> None:
    d, h, w = np.indices((8, 9, 12)).astype(np.float32)

    result = resample(2 * d - 3 * h + 5 * w, shape)

    places = [
        np.clip((np.arange(n) + 0.5) * m / n - 0.5, 0, m - 1)
        for n, m in zip(shape, (8, 9, 12), strict=True)
    ]
    d, h, w = np.meshgrid(*places, indexing="ij")
    np.testing.assert_allclose(result, 2 * d - 3 * h + 5 * w, atol=1e-4)


@pytest.mark.parametrize("place", range(9, 12))
def test_a_thin_plate_does_not_vanish_between_samples(place) -> None:
    array = np.zeros((30, 4, 5), dtype=np.float32)
    array[place] = 1

    result = resample(array, (10, 4, 5))

    assert result[3].min() >= 0.25 - 1e-6


def test_labels_go_to_the_class_that_fills_most_of_a_voxel() -> None:
    rng = np.random.default_rng(1)
    label = np.kron(rng.integers(0, 4, size=(3, 4, 5)), np.ones((3, 2, 4))).astype(np.uint8)
    shape = (7, 11, 13)

    result = resample_labels(label, shape)

    shares = np.stack([resample(label == value, shape) for value in range(4)])
    first, second = np.sort(shares, axis=0)[[-1, -2]]
    clear = first - second > 1e-5
    assert (result == shares.argmax(axis=0))[clear].all()
    assert clear.mean() > 0.8


def test_labels_keep_values_and_type() -> None:
    label = np.zeros((6, 7, 8), dtype=np.uint8)
    label[1:5, 1:6, 2:7] = 255

    result = resample_labels(label, (9, 7, 12))

    assert result.dtype == np.uint8
    assert set(np.unique(result)) == {0, 255}
