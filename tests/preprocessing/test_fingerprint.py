from __future__ import annotations

import json

import numpy as np
import pytest

from napari_attnseg.preprocessing.fingerprint import Fingerprint, fingerprint
from napari_attnseg.volume import GridMismatchError, Volume


def image(shape=(9, 12, 15), *, seed=0, affine=None, channels=1) -> Volume:
    data = np.random.default_rng(seed).normal(100, 20, size=(channels, *shape))
    return Volume(data, np.diag([0.5, 0.6, 3.0, 1.0]) if affine is None else affine)


def label_of(one: Volume) -> Volume:
    data = np.zeros(one.shape_dhw, dtype=np.int16)
    data[2:5, 3:7, 4:9] = 7
    data[6:8, 3:7, 4:9] = 137
    return one.on_grid(data)


def test_sizes_and_spacings_count_along_s_a_r_however_a_case_is_stored() -> None:
    one = image()

    facts = fingerprint([(one, None), (one.reoriented("PIR"), None)])

    assert facts.shapes_dhw == ((9, 12, 15), (9, 12, 15))
    np.testing.assert_allclose(facts.spacings_dhw, [(3.0, 0.6, 0.5)] * 2)


def test_class_frequencies_are_counted_over_all_cases() -> None:
    one = image()

    facts = fingerprint([(one, label_of(one)), (one, None), (one, label_of(one))])

    assert facts.class_values == (0, 7, 137)
    assert facts.class_voxels == (2 * (9 * 12 * 15 - 60 - 40), 120, 80)
    assert facts.class_cases == (2, 2, 2)


def test_foreground_intensities_are_those_of_labelled_voxels() -> None:
    one = image()
    label = label_of(one)
    one.data[0][label.data[0] > 0] += 1000

    facts = fingerprint([(one, label)], channels=["CT"])

    inside = one.data[0][label.data[0] > 0]
    expected = np.percentile(inside, (0.5, 50, 99.5))
    np.testing.assert_allclose(facts.channels[0].foreground[:3], expected)
    assert facts.channels[0].foreground[3] == pytest.approx(inside.mean(), rel=1e-3)
    assert facts.channels[0].name == "CT"


def test_it_survives_json() -> None:
    one = image(channels=2)
    facts = fingerprint([(one, label_of(one))], channels=("T1", "T2"))

    text = json.dumps(facts.to_dict())

    assert Fingerprint.from_dict(json.loads(text)) == facts


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf, 1e300])
def test_images_without_contrast_give_finite_facts(value) -> None:
    one = image()
    one.data[:] = value

    facts = fingerprint([(one, label_of(one))])

    assert np.isfinite(facts.channels[0].foreground).all()
    assert np.isfinite(facts.channels[0].cases).all()


def test_no_case_is_refused() -> None:
    with pytest.raises(ValueError, match="no case"):
        fingerprint([])


def test_cases_with_different_channels_are_refused() -> None:
    with pytest.raises(ValueError, match="2 channels and another 1"):
        fingerprint([(image(), None), (image(channels=2), None)])


def test_a_label_on_another_grid_is_refused() -> None:
    one = image()
    moved = label_of(one).replace(affine=one.affine + np.eye(4)[[3, 3, 3, 0]].T * 5)

    with pytest.raises(GridMismatchError, match="different grids"):
        fingerprint([(one, moved)])
