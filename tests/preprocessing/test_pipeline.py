from __future__ import annotations

import numpy as np
import pytest
import SimpleITK

from napari_attnseg.preprocessing.pipeline import (
    IGNORED,
    network_grid,
    normalise,
    preprocess,
    preprocess_label,
)
from napari_attnseg.preprocessing.plan import ChannelPlan
from napari_attnseg.volume import Grid, Volume, affine_for_itk

CT = ChannelPlan(name="CT", kind="ct", low=-100.0, high=300.0, mean=50.0, std=80.0)
ZSCORE = ChannelPlan(name="T1")


def as_sitk(volume: Volume) -> SimpleITK.Image:
    image = SimpleITK.GetImageFromArray(volume.data[0])
    affine = affine_for_itk(volume.affine)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(affine[:3, 3].tolist())
    image.SetDirection((affine[:3, :3] / spacing).ravel().tolist())
    return image


def noise(shape=(11, 14, 17), seed=0) -> np.ndarray:
    return np.random.default_rng(seed).normal(100, 20, size=shape).astype(np.float32)


@pytest.mark.parametrize("orientation", ["RAS", "LPS", "PIR", "ASL"])
@pytest.mark.parametrize("spacing", [(1.7, 1.6, 2.9), (1.3, 1.0, 1.9), (1.5, 1.005, 1.0)])
def test_an_enlarged_image_is_that_of_simpleitk(orientation, spacing, plan, oblique) -> None:
    image = Volume(noise()[None], oblique(spacing)).reoriented(orientation)

    seen = preprocess(image, plan)

    grid = Volume(np.zeros_like(seen.data), seen.affine)
    oracle = SimpleITK.Resample(
        as_sitk(image), as_sitk(grid), SimpleITK.Transform(), SimpleITK.sitkLinear
    )
    expected = SimpleITK.GetArrayFromImage(oracle)
    scaled = normalise(expected, ZSCORE)
    inner = (slice(3, -3),) * 3
    correlation = np.corrcoef(seen.data[0][inner].ravel(), scaled[inner].ravel())[0, 1]
    assert seen.orientation == "RAS"
    assert correlation > 0.99999


@pytest.mark.parametrize("spacing", [(0.4, 0.6, 2.6), (0.5, 0.5, 7.5), (1.9, 0.7, 1.0)])
def test_a_ramp_in_the_patient_stays_that_ramp(spacing, plan, oblique) -> None:
    native = Grid((13, 24, 31), oblique(spacing)).reoriented("SPL")
    direction = np.array([0.3, -1.0, 2.0])
    values = native.world(np.stack(np.indices(native.shape_dhw), axis=-1)) @ direction
    plan = plan.replace(channels=(CT.replace(low=-1e4, high=1e4, mean=0.0, std=1.0),))

    seen = preprocess(Volume(values[None], native.affine), plan)

    places = np.stack(np.indices(seen.shape_dhw), axis=-1)
    inside = native.voxel(seen.grid.world(places))
    limits = np.array(native.shape_dhw) - 1
    real = ((inside >= -1e-6) & (inside <= limits + 1e-6)).all(axis=-1)
    expected = seen.grid.world(places) @ direction
    np.testing.assert_allclose(seen.data[0][real], expected[real], atol=2e-3)
    assert real.mean() > 0.5


def test_the_network_grid_covers_the_same_box(plan, oblique) -> None:
    native = Grid((13, 24, 31), oblique((0.4, 0.6, 2.6)))

    grid = network_grid(native, plan)

    ends = [grid.world(np.array(e)) for e in ((-0.5,) * 3, np.array(grid.shape_dhw) - 0.5)]
    theirs = [native.world(np.array(e)) for e in ((-0.5,) * 3, np.array(native.shape_dhw) - 0.5)]
    np.testing.assert_allclose(ends, theirs, atol=1e-9)


def test_nearly_the_planned_spacing_is_not_resampled(plan) -> None:
    image = Volume(noise((50, 60, 70))[None], np.diag([1.005, 0.995, 1.0, 1.0]))

    seen = preprocess(image, plan)

    assert seen.shape_dhw == (50, 60, 70)
    np.testing.assert_array_equal(seen.affine, image.affine)
    np.testing.assert_array_equal(seen.data[0], normalise(image.data[0], ZSCORE))


@pytest.mark.parametrize(
    "dtype", ["uint8", "int16", "uint16", "int64", "uint64", "float64", "bool"]
)
def test_every_type_is_normalised_to_float32(dtype, plan) -> None:
    image = Volume((noise() / 2).astype(dtype)[None], np.eye(4))

    seen = preprocess(image, plan)

    assert seen.data.dtype == np.float32
    assert np.isfinite(seen.data).all()


def test_z_scores_have_mean_0_and_deviation_1() -> None:
    result = normalise(noise((20, 21, 22)), ZSCORE)

    assert result.mean() == pytest.approx(0, abs=0.02)
    assert result.std() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize(("factor", "shift"), [(1e-3, 0), (1e4, 0), (7, -3e5), (1e30, 0)])
def test_z_scores_do_not_depend_on_the_scale_of_a_case(factor, shift) -> None:
    channel = noise().astype(np.float64)

    result = normalise(channel * factor + shift, ZSCORE)

    np.testing.assert_allclose(result, normalise(channel, ZSCORE), atol=1e-4)


@pytest.mark.parametrize("outlier", [1e6, -1e9, 3e38, np.inf, -np.inf, np.nan])
def test_one_outlier_does_not_flatten_the_image(outlier) -> None:
    channel = noise((20, 21, 22))
    damaged = channel.copy()
    damaged[3, 4, 5] = outlier

    result = normalise(damaged, ZSCORE)

    expected = normalise(channel, ZSCORE)
    expected[3, 4, 5] = result[3, 4, 5]
    np.testing.assert_allclose(result, expected, atol=0.02)
    assert abs(result[3, 4, 5]) < 10


def test_a_small_bright_lesion_stays_brighter_than_all_else() -> None:
    channel = noise((40, 41, 42))
    channel[3:6, 4:7, 5:8] = 200

    result = normalise(channel, ZSCORE)

    assert result[4, 5, 6] > np.percentile(result, 99.9)


def test_voxels_that_are_not_finite_become_the_darkest_of_the_body(plan) -> None:
    channel = noise((20, 21, 22))
    channel[:, :, :8] = np.nan
    channel[0] = np.inf

    result = normalise(channel, ZSCORE)

    missing = ~np.isfinite(channel)
    assert np.unique(result[missing]).size == 1
    assert result[missing][0] == pytest.approx(np.percentile(result[~missing], 0.5), abs=0.01)
    assert result[~missing].mean() == pytest.approx(0, abs=0.02)


@pytest.mark.parametrize("value", [0, 7.5, -1e30, np.nan, np.inf])
@pytest.mark.parametrize("channel", [ZSCORE, ZSCORE.replace(has_fill=True)])
def test_an_image_without_contrast_becomes_0(value, channel) -> None:
    result = normalise(np.full((3, 4, 5), value), channel)

    assert (result == 0).all()


def test_a_stripped_background_does_not_shift_the_scale() -> None:
    brain = noise((20, 21, 22))
    stripped = np.zeros((20, 42, 44), dtype=np.float32)
    stripped[:, :21, :22] = brain

    result = normalise(stripped, ZSCORE.replace(has_fill=True))

    np.testing.assert_allclose(result[:, :21, :22], normalise(brain, ZSCORE), atol=1e-5)
    assert (result[:, 21:] == result[0, 30, 0]).all()
    assert -5 < result[0, 30, 0] < -1


def test_ct_keeps_hounsfield_units_comparable() -> None:
    channel = np.array([-1000.0, -100, 50, 130, 300, 3000, np.nan]).reshape(1, 1, 7)

    result = normalise(channel, CT)

    expected = [-150 / 80, -150 / 80, 0, 1, 250 / 80, 250 / 80, -150 / 80]
    np.testing.assert_allclose(result[0, 0], expected, rtol=1e-6)


def test_channels_are_normalised_each_by_its_own(plan) -> None:
    data = np.stack([noise(), noise(seed=1) * 1000, noise(seed=2)])
    plan = plan.replace(channels=(ZSCORE, ZSCORE, CT))

    seen = preprocess(Volume(data, np.eye(4)), plan)

    for index, channel in enumerate(plan.channels):
        np.testing.assert_array_equal(seen.data[index], normalise(data[index], channel))


def test_a_wrong_number_of_channels_is_refused(plan) -> None:
    with pytest.raises(ValueError, match=r"2 channels.*trained on 1 \(T1\)"):
        preprocess(Volume(np.zeros((2, 3, 4, 5)), np.eye(4)), plan)


def test_label_values_become_positions_and_ignored_voxels_255(plan) -> None:
    data = np.array([[[[0, 137, 7, 1, 9, 9]]]], dtype=np.int32)

    seen = preprocess_label(
        Volume(data, np.eye(4)), plan, {1: "a", 7: "b", 137: "c"}, ignore_label=9
    )

    assert seen.data.tolist() == [[[[0, 3, 2, 1, IGNORED, IGNORED]]]]
    assert seen.data.dtype == np.uint8


def test_a_value_that_is_no_class_is_refused(plan) -> None:
    label = Volume(np.full((1, 2, 3, 4), 5), np.eye(4))

    with pytest.raises(ValueError, match="value 5, which is no class; the classes are 1, 2"):
        preprocess_label(label, plan, [1, 2])


def test_image_and_label_share_the_network_grid(plan, blobs) -> None:
    label = blobs((9, 20, 31), (0.5, 0.7, 3.0)).reoriented("LSA")
    image = label.replace(data=noise(label.shape_dhw)[None])

    seen = preprocess(image, plan)

    target = preprocess_label(label, plan, [1, 7, 137])
    assert seen.grid.difference(target.grid) is None
