from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_attnseg.cohort.anatomy import CLASSES, Waves, rotation
from napari_attnseg.cohort.phantoms import phantom, write_phantoms
from napari_attnseg.io import read_volume
from napari_attnseg.volume import require_same_grid

SMALL = (14, 18, 22)
LIVER, LESION = 1, 4


def test_a_phantom_is_the_same_for_the_same_seed() -> None:
    first, second = phantom(3, size=SMALL), phantom(3, size=SMALL)

    assert (first[0].data == second[0].data).all()
    assert (first[1].data == second[1].data).all()


def test_phantoms_of_different_seeds_differ_in_shape_and_brightness() -> None:
    (image, label), (other_image, other_label) = (phantom(n, size=SMALL) for n in (1, 2))

    assert (label.data != other_label.data).mean() > 0.02
    assert abs(np.median(image.data) - np.median(other_image.data)) > 1


@pytest.mark.parametrize("seed", range(4))
def test_every_organ_is_there_and_sized_like_an_organ(seed: int) -> None:
    _, label = phantom(seed, size=(30, 36, 46))

    ml = np.bincount(label.data.ravel(), minlength=5) * label.grid.voxel_volume_ml
    assert 250 < ml[1] < 1500
    assert 50 < ml[2] < 500
    assert 20 < ml[3] < 400


def test_a_lesion_is_there_when_asked_for_and_lies_within_the_liver() -> None:
    _, without = phantom(5, size=(30, 36, 46), lesion=False)
    _, with_one = phantom(5, size=(30, 36, 46), lesion=True)

    assert LESION not in without.data
    place = with_one.data == LESION
    assert place.sum() > 10
    assert (without.data[place] == LIVER).mean() > 0.9


def test_the_seed_decides_about_the_lesion_if_nobody_does() -> None:
    found = {LESION in phantom(seed, size=SMALL)[1].data for seed in range(12)}

    assert found == {True, False}


@pytest.mark.parametrize("orientation", ["LPS", "PIR", "SAL"])
def test_another_storage_order_holds_the_same_body(orientation: str) -> None:
    image, label = phantom(2, size=SMALL)

    stored, stored_label = phantom(2, size=SMALL, orientation=orientation)

    assert stored.orientation == orientation
    assert (stored.reoriented("RAS").data == image.data).all()
    assert (stored_label.reoriented("RAS").data == label.data).all()


def test_the_liver_lies_on_the_patients_right_whatever_the_grid() -> None:
    _, label = phantom(4, size=SMALL, orientation="PIL", oblique=True)

    places = label.grid.world(np.argwhere(label.data[0] == LIVER))

    assert label.grid.is_oblique
    assert places[:, 0].mean() > 15


def test_an_oblique_grid_sees_the_same_body_at_the_same_places() -> None:
    _, straight = phantom(6, size=(30, 36, 46))
    _, oblique = phantom(6, size=(30, 36, 46), oblique=True)

    for value in (1, 2, 3):
        middle, other = (
            one.grid.world(np.argwhere(one.data[0] == value)).mean(axis=0)
            for one in (straight, oblique)
        )
        assert np.linalg.norm(middle - other) < 6


def test_an_anisotropic_phantom_has_thick_slices_over_the_same_field() -> None:
    image, _ = phantom(1, size=SMALL, anisotropic=True)

    d, h, w = image.spacing_dhw
    assert d > 1.5 * max(h, w) > 0
    assert np.allclose(np.array(image.shape_dhw) * image.spacing_dhw, (180, 220, 280))


def test_two_channels_show_different_contrasts_on_one_grid() -> None:
    image, label = phantom(1, size=SMALL, channels=2)

    liver = [image.data[n][label.data[0] == LIVER].mean() / image.data[n].max() for n in (0, 1)]
    assert image.channels == ("T1", "T2")
    assert abs(liver[0] - liver[1]) > 0.05
    require_same_grid(image.grid, label.grid, names=("image", "label"))


def test_more_channels_than_there_are_contrasts_are_refused() -> None:
    with pytest.raises(ValueError, match="not 3"):
        phantom(0, size=SMALL, channels=3)


def test_a_written_data_set_is_a_decathlon_of_differing_scans(tmp_path: Path) -> None:
    cohort = write_phantoms(tmp_path, cases=4, seed=1, unlabelled=1)

    images = [read_volume(case.images["T1"]) for case in cohort.cases]
    assert cohort.classes == CLASSES
    assert cohort.warnings == ()
    assert [case.label is None for case in cohort.cases] == [False, False, False, False, True]
    assert {image.orientation for image in images} >= {"RAS", "LPS"}
    assert any(image.grid.is_oblique for image in images)
    assert len({image.spacing_dhw for image in images}) > 2


def test_both_channels_of_a_written_case_lie_in_one_file(tmp_path: Path) -> None:
    (case,) = write_phantoms(tmp_path, cases=1, channels=2).cases

    assert list(case.images) == ["T1", "T2"]
    assert len(set(case.images.values())) == 1
    assert read_volume(case.images["T1"]).data.shape[0] == 2


def test_waves_are_the_sum_of_their_cosines() -> None:
    waves = Waves.draw(np.random.default_rng(0), 20, 40, 3)
    point = np.array([[3.0, -4.0, 5.0]], dtype=np.float32)

    by_hand = sum(
        np.cos(vector @ point[0] + phase)
        for vector, phase in zip(waves.vectors, waves.phases, strict=True)
    )

    assert waves(point)[0] == pytest.approx(by_hand / 3**0.5, rel=1e-5)


def test_a_rotation_keeps_lengths_and_hands() -> None:
    turn = rotation((20, -10, 35))

    assert np.allclose(turn @ turn.T, np.eye(3))
    assert np.linalg.det(turn) == pytest.approx(1)
