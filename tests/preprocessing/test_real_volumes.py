from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from napari_attnseg.io import read_volume
from napari_attnseg.preprocessing.fingerprint import fingerprint
from napari_attnseg.preprocessing.pipeline import preprocess, preprocess_label, restore_labels
from napari_attnseg.preprocessing.plan import Plan, make_plan
from napari_attnseg.volume import Volume

SPLEEN = "spleen/ct_scan/{}sub-spleen2/ct/sub-spleen2_ct{}.nii.gz"
PAIRS = {
    "oblique, thick slices": ("cord/t2s.nii.gz", "cord/t2s_gmseg_manual.nii.gz"),
    "left-handed": ("cord/t2.nii.gz", "cord/t2_seg-manual_labeled.nii.gz"),
    "ct": (SPLEEN.format("", ""), SPLEEN.format("derivatives/labels/", "_seg-manual")),
    "many labels": (
        "totalsegmentator/example_ct_sm.nii.gz",
        "totalsegmentator/example_seg.nii.gz",
    ),
}
DAMAGED = ("nan_block", "all_nan", "constant", "huge_values", "one_outlier", "image_one_slice")


def there_and_back(label: Volume, plan: Plan, values: list[int]) -> Volume:
    seen = preprocess_label(label, plan, values)
    index = torch.from_numpy(seen.data[0]).long()
    logits = F.one_hot(index, len(values) + 1).movedim(-1, 0).half()
    return restore_labels(logits, label.grid, plan, values)


@pytest.mark.parametrize("paths", PAIRS.values(), ids=PAIRS.keys())
def test_a_label_comes_back_to_the_voxel(shared_data: Path, paths) -> None:
    image = read_volume(shared_data / paths[0])
    label = read_volume(shared_data / paths[1], labels=True)
    plan = make_plan(fingerprint([(image, label)]), memory_bytes=2**31)
    values = [int(value) for value in np.unique(label.data) if value]

    restored = there_and_back(label, plan, values)

    np.testing.assert_array_equal(restored.data, label.data)
    assert restored.grid.difference(image.grid) is None


def test_a_label_comes_back_nearly_from_other_voxels(shared_data: Path) -> None:
    label = read_volume(shared_data / PAIRS["ct"][1], labels=True)
    plan = Plan(spacing_dhw=(2.0, 1.2, 1.0))

    restored = there_and_back(label, plan, [1])

    shared = np.logical_and(restored.data, label.data).sum()
    assert 2 * shared / ((restored.data > 0).sum() + (label.data > 0).sum()) > 0.98


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_images_become_finite_input(shared_data: Path, name) -> None:
    image = read_volume(shared_data / "hostile" / f"{name}.nii.gz")
    plan = make_plan(fingerprint([(image, None)]), memory_bytes=2**31)

    seen = preprocess(image, plan)

    assert np.isfinite(seen.data).all()
    assert np.abs(seen.data).max() < 30


def test_an_outlier_leaves_the_rest_of_a_real_image_as_it_was(shared_data: Path) -> None:
    good = read_volume(shared_data / "hostile" / "ok_image.nii.gz")
    outlier = read_volume(shared_data / "hostile" / "one_outlier.nii.gz")
    plan = make_plan(fingerprint([(good, None)]), memory_bytes=2**31)

    difference = np.abs(preprocess(outlier, plan).data - preprocess(good, plan).data)

    assert (difference > 0.02).sum() <= 1


def test_the_same_anatomy_stored_the_other_way_round_is_seen_the_same(shared_data: Path) -> None:
    good = read_volume(shared_data / "hostile" / "ok_image.nii.gz")
    flipped = read_volume(shared_data / "hostile" / "same_world_flipped_storage.nii.gz")
    plan = make_plan(fingerprint([(good, None)]), memory_bytes=2**31)

    seen = preprocess(flipped, plan)

    expected = preprocess(good, plan)
    assert seen.grid.difference(expected.grid) is None
    np.testing.assert_allclose(seen.data, expected.data, atol=1e-5)
