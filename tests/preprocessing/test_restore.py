from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from napari_attnseg.preprocessing import restore
from napari_attnseg.preprocessing.pipeline import (
    network_grid,
    preprocess_label,
    restore_labels,
    restore_probabilities,
    restore_scalar,
)
from napari_attnseg.volume import Grid, Volume

CLASSES = {1: "liver", 7: "kidney", 137: "spleen"}
ORIENTATIONS = [
    "".join(letters)
    for order in itertools.permutations(("LR", "AP", "IS"))
    for letters in itertools.product(*order)
]


def as_logits(label: Volume, classes: int = 4) -> torch.Tensor:
    index = torch.from_numpy(label.data[0]).long()
    return F.one_hot(index, classes).movedim(-1, 0).float()  # (K, d, h, w)


def boundary(label: np.ndarray) -> np.ndarray:
    mask = np.zeros(label.shape, dtype=bool)
    for axis in range(3):
        for step in (-1, 1):
            mask |= np.roll(label, step, axis) != label
    return mask


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_without_resampling_a_label_comes_back_exactly(orientation, blobs, plan) -> None:
    label = blobs().reoriented(orientation)

    seen = preprocess_label(label, plan, CLASSES)
    restored = restore_labels(as_logits(seen), label.grid, plan, list(CLASSES))

    assert seen.orientation == "RAS"
    np.testing.assert_array_equal(restored.data, label.data)
    np.testing.assert_array_equal(restored.affine, label.affine)
    assert restored.data.dtype == np.uint8


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_with_resampling_only_boundary_voxels_may_change(orientation, blobs, plan) -> None:
    label = blobs((20, 36, 27), (0.6, 0.8, 1.5)).reoriented(orientation)

    seen = preprocess_label(label, plan, CLASSES)
    restored = restore_labels(as_logits(seen), label.grid, plan, CLASSES)

    changed = restored.data[0] != label.data[0]
    assert not changed[~boundary(label.data[0])].any()
    assert changed.mean() < 0.05
    np.testing.assert_array_equal(restored.affine, label.affine)


@pytest.mark.parametrize("planned", ["RAS", "RSA", "ASR", "LPI"])
def test_any_planned_order_leads_back(planned, blobs, plan) -> None:
    label = blobs().reoriented("PIR")
    plan = plan.replace(orientation=planned)

    seen = preprocess_label(label, plan, CLASSES)
    restored = restore_labels(as_logits(seen), label.grid, plan, CLASSES)

    assert seen.orientation == planned
    np.testing.assert_array_equal(restored.data, label.data)


@pytest.mark.parametrize("degrees", [0.0, 44.9, 45.0, 90.0, 135.0, 200.0])
def test_turned_volumes_lead_back_even_between_two_orientations(degrees, blobs, plan, oblique):
    label = blobs((9, 12, 15), (0.5, 0.5, 2.5))
    label = label.replace(affine=oblique((0.5, 0.5, 2.5), degrees))
    plan = plan.replace(spacing_dhw=(2.5, 0.5, 0.5))

    seen = preprocess_label(label, plan, CLASSES)
    restored = restore_labels(as_logits(seen), label.grid, plan, CLASSES)

    np.testing.assert_array_equal(restored.affine, label.affine)
    assert (restored.data == label.data).mean() > 0.9


@pytest.mark.parametrize("shape", [(1, 12, 15), (11, 1, 14), (2, 3, 5), (1, 1, 1)])
def test_slices_and_tiny_volumes_come_back(shape, plan) -> None:
    data = np.arange(np.prod(shape)).reshape(1, *shape) % 2
    label = Volume(data.astype(np.uint8), np.diag([1.0, 1.0, 8.0, 1.0]))
    plan = plan.replace(spacing_dhw=(2.0, 1.0, 1.0) if shape[0] == 1 else (8.0, 1.0, 1.0))

    seen = preprocess_label(label, plan, [1])
    restored = restore_labels(as_logits(seen, 2), label.grid, plan, [1])

    assert seen.shape_dhw == shape
    np.testing.assert_array_equal(restored.data, label.data)


@pytest.mark.parametrize("slab_voxels", [1, 500, 800, 2**20])
@pytest.mark.parametrize("shape", [(11, 25, 30), (18, 19, 24), (16, 21, 22), (17, 20, 23)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_labels_are_the_largest_of_the_enlarged_logits(
    slab_voxels, shape, dtype, plan, monkeypatch
):
    monkeypatch.setattr(restore, "SLAB_VOXELS", slab_voxels)
    native = Grid((17, 20, 23), np.eye(4))
    target = tuple(a / b for a, b in zip(native.shape_dhw, shape, strict=True))
    logits = torch.randn(5, *shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    before = logits.clone()

    restored = restore_labels(logits, native, plan.replace(spacing_dhw=target), [2, 300, 4, 5])

    full = F.interpolate(logits.float()[None], (17, 20, 23), mode="trilinear")[0]
    best = full.topk(2, dim=0).values
    clear = (best[0] - best[1] > 1e-5).numpy()
    expected = np.array([0, 2, 300, 4, 5])[full.argmax(dim=0).numpy()]
    np.testing.assert_array_equal(restored.data[0][clear], expected[clear])
    assert restored.data.dtype == np.uint16
    assert clear.mean() > 0.99 or dtype != torch.float32
    assert torch.equal(logits, before)


def test_more_than_256_channels_are_told_apart(plan) -> None:
    native = Grid((4, 10, 10), np.eye(4))
    index = torch.arange(400).reshape(4, 10, 10)
    logits = F.one_hot(index, 400).movedim(-1, 0).float()

    restored = restore_labels(logits, native, plan, range(1, 400))

    np.testing.assert_array_equal(restored.data[0], index.numpy())


def test_the_largest_probability_is_that_of_the_label(plan) -> None:
    native = Grid((9, 14, 11), np.diag([0.7, 0.8, 1.4, 1.0])).reoriented("PIR")
    size = network_grid(native, plan).shape_dhw
    logits = torch.randn(4, *size, generator=torch.Generator().manual_seed(0)) * 4

    probabilities = restore_probabilities(logits, native, plan)
    labels = restore_labels(logits, native, plan, [1, 2, 3])

    np.testing.assert_allclose(probabilities.data.sum(axis=0), 1, atol=1e-5)
    np.testing.assert_array_equal(probabilities.data.argmax(axis=0), labels.data[0])
    assert labels.grid.difference(probabilities.grid) is None


@pytest.mark.parametrize("orientation", ["RAS", "PIR", "LSA"])
def test_a_scalar_keeps_its_place_in_the_patient(orientation, plan, oblique) -> None:
    native = Grid((16, 21, 26), oblique((0.7, 0.8, 1.4))).reoriented(orientation)
    grid = network_grid(native, plan)
    ramp = np.array([1.0, -2.0, 0.5])
    values = grid.world(np.stack(np.indices(grid.shape_dhw), axis=-1)) @ ramp

    restored = restore_scalar(values, native, plan)

    expected = native.world(np.stack(np.indices(native.shape_dhw), axis=-1)) @ ramp
    inner = (slice(2, -2),) * 3
    np.testing.assert_allclose(restored.data[0][inner], expected[inner], atol=1e-3)


def test_half_precision_around_it_does_not_reach_it(plan) -> None:
    native = Grid((13, 20, 23), np.eye(4))
    logits = torch.randn(5, 11, 20, 23, generator=torch.Generator().manual_seed(0))
    plan = plan.replace(spacing_dhw=(13 / 11, 1.0, 1.0))

    with torch.autocast("cpu", dtype=torch.bfloat16):
        restored = restore_labels(logits, native, plan, [1, 2, 3, 4])

    expected = restore_labels(logits, native, plan, [1, 2, 3, 4])
    np.testing.assert_array_equal(restored.data, expected.data)


def test_logits_of_another_volume_are_refused(plan) -> None:
    with pytest.raises(ValueError, match="do not belong together"):
        restore_labels(torch.zeros(2, 5, 6, 8), Grid((5, 6, 7), np.eye(4)), plan, [1])


def test_a_wrong_number_of_values_is_refused(plan) -> None:
    with pytest.raises(ValueError, match="3 channels"):
        restore_labels(torch.zeros(3, 5, 6, 7), Grid((5, 6, 7), np.eye(4)), plan, [1])
