from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import affine_transform

from napari_attnseg.config import ConfigError
from napari_attnseg.losses import IGNORE_INDEX
from napari_attnseg.training.augment import Augmentation, resample
from napari_attnseg.training.sides import Mirroring

PATCH = (6, 8, 10)


def volume(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    image = torch.from_numpy(rng.random((2, 16, 20, 24), dtype=np.float32))
    label = torch.from_numpy(rng.integers(0, 4, (16, 20, 24)).astype(np.uint8))
    return image, label


def centre_of(start: tuple[int, int, int]) -> np.ndarray:
    return np.array(start) + (np.array(PATCH) - 1) / 2


def test_without_changes_a_patch_is_the_crop() -> None:
    image, label = volume()
    plain = Augmentation((), (1.0, 1.0, 1.0), Mirroring(2))

    patch, target = plain.cut(image, label, centre_of((3, 5, 7)), PATCH, np.random.default_rng(0))

    assert torch.allclose(patch, image[:, 3:9, 5:13, 7:17], atol=1e-5)
    assert torch.equal(target, label[3:9, 5:13, 7:17].long())


def test_an_affine_patch_is_what_scipy_makes_of_it() -> None:
    image, label = volume()
    linear = np.array([[0.913, 0.107, 0.011], [-0.203, 1.107, 0.053], [0.017, 0.109, 0.807]])
    centre = np.array([8.03, 9.51, 11.07])

    patch, target = resample(image, label, centre, linear, PATCH)

    offset = centre - linear @ ((np.array(PATCH) - 1) / 2)
    expected = affine_transform(image[1].numpy(), linear, offset, output_shape=PATCH, order=1)
    labels = affine_transform(label.numpy(), linear, offset, output_shape=PATCH, order=0)
    assert np.allclose(patch[1].numpy(), expected, atol=1e-3)
    assert (target.numpy() == labels).mean() > 0.99


def test_beyond_the_volume_the_border_goes_on_and_nothing_is_learned() -> None:
    image, label = volume()

    patch, target = resample(image, label, centre_of((-2, 5, 19)), np.eye(3), PATCH)

    assert torch.allclose(patch[:, :2], patch[:, 2:3].expand(-1, 2, -1, -1), atol=1e-5)
    assert (target[:2] == IGNORE_INDEX).all()
    assert (target[..., 5:] == IGNORE_INDEX).all()
    assert torch.equal(target[2:, :, :5], label[:4, 5:13, 19:].long())


def test_a_mirrored_patch_swaps_the_pair() -> None:
    image, label = volume()
    flips = Augmentation(("flip",), (1.0, 1.0, 1.0), Mirroring(2, ((1, 3),)))
    centre = centre_of((3, 5, 7))

    cut = [flips.cut(image, label, centre, PATCH, np.random.default_rng(n)) for n in range(8)]

    crop, truth = image[:, 3:9, 5:13, 7:17], label[3:9, 5:13, 7:17].long()
    swapped = torch.tensor([0, 3, 2, 1])[truth].flip(2)
    mirrored = [torch.allclose(patch, crop.flip(3), atol=1e-5) for patch, _ in cut]
    assert 0 < sum(mirrored) < 8
    for is_mirrored, (_, target) in zip(mirrored, cut, strict=True):
        assert torch.equal(target, swapped if is_mirrored else truth)


def test_sided_classes_without_partner_are_never_mirrored() -> None:
    image, label = volume()
    flips = Augmentation(("flip",), (1.0, 1.0, 1.0), Mirroring(None))

    for n in range(8):
        rng = np.random.default_rng(n)
        _, target = flips.cut(image, label, centre_of((3, 5, 7)), PATCH, rng)
        assert torch.equal(target, label[3:9, 5:13, 7:17].long())


def test_turns_keep_lengths_in_mm() -> None:
    spacing = (2.0, 1.0, 1.5)
    turning = Augmentation(("affine",), spacing, Mirroring(None), scales=(1.0, 1.0))

    for n in range(20):
        linear = turning._linear(False, np.random.default_rng(n))
        in_mm = np.diag(spacing) @ linear @ np.diag(1 / np.array(spacing))
        assert np.allclose(in_mm @ in_mm.T, np.eye(3), atol=1e-9)


def test_thick_slices_are_turned_in_their_plane_only() -> None:
    turning = Augmentation(("affine",), (5.0, 1.0, 1.0), Mirroring(None))

    for n in range(20):
        linear = turning._linear(False, np.random.default_rng(n))
        assert np.allclose(linear[0, 1:], 0)
        assert np.allclose(linear[1:, 0], 0)


def test_everything_together_depends_on_the_generator_alone() -> None:
    image, label = volume()
    names = ("affine", "flip", "intensity", "noise")
    full = Augmentation(names, (1.0, 1.0, 1.0), Mirroring(2))

    one, other = (
        full.cut(image, label, centre_of((3, 5, 7)), PATCH, np.random.default_rng(3))
        for _ in range(2)
    )

    assert torch.equal(one[0], other[0])
    assert torch.equal(one[1], other[1])
    assert torch.isfinite(one[0]).all()


def test_the_case_itself_is_left_alone() -> None:
    image, label = volume()
    before = image.clone(), label.clone()
    full = Augmentation(("intensity", "noise"), (1.0, 1.0, 1.0), Mirroring(2))

    for n in range(5):
        full.cut(image, label, centre_of((3, 5, 7)), PATCH, np.random.default_rng(n))

    assert torch.equal(image, before[0])
    assert torch.equal(label, before[1])


def test_a_single_slice_can_be_cut() -> None:
    image, label = volume()
    full = Augmentation(("affine", "flip"), (1.0, 1.0, 1.0), Mirroring(2))

    patch, target = full.cut(
        image, label, np.array([4.0, 9.5, 9.5]), (1, 8, 10), np.random.default_rng(0)
    )

    assert patch.shape == (2, 1, 8, 10)
    assert target.shape == (1, 8, 10)


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(ConfigError, match="no augmentation 'blur'"):
        Augmentation(("blur",), (1.0, 1.0, 1.0), Mirroring(2))
