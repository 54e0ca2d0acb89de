"""Dice and IoU against counts by hand, a plain loop and MONAI."""

from __future__ import annotations

import numpy as np
import pytest

from napari_attnseg.metrics import Overlap, overlap

SHAPE = (5, 7, 9)


def by_loop(prediction, reference, value):
    first, second = prediction == value, reference == value
    return Overlap(int(first.sum()), int(second.sum()), int((first & second).sum()))


def test_two_half_overlapping_boxes_have_a_dice_of_a_half_and_an_iou_of_a_third():
    prediction, reference = np.zeros((2, 4, 6, 8), np.uint8)
    prediction[:, :, 0:4], reference[:, :, 2:6] = 1, 1

    found = overlap(prediction, reference, [1])[1]

    assert found.dice == 0.5
    assert found.iou == pytest.approx(1 / 3)


def test_both_empty_is_none_and_one_empty_is_zero():
    empty, full = np.zeros(SHAPE, np.uint8), np.ones(SHAPE, np.uint8)

    assert overlap(empty, empty, [1])[1].dice is None
    assert overlap(empty, empty, [1])[1].iou is None
    assert overlap(full, empty, [1])[1].dice == 0
    assert overlap(empty, full, [1])[1].iou == 0


@pytest.mark.parametrize(
    "values",
    [
        [0, 1, 2],
        [0, 1, 2, 15],
        [0, 1, 16],
        [0, 7, 255],
        [0, 137, 530],
        [0, 3, 70000],
        [0, 1 << 40],
    ],
)
@pytest.mark.parametrize("types", [("uint8", "uint8"), ("int16", "uint8"), ("uint64", "int64")])
def test_counts_are_those_of_a_plain_loop(values, types):
    random = np.random.default_rng(0)
    kept = [one for one in values if all(one <= np.iinfo(dtype).max for dtype in types)]
    prediction, reference = (random.choice(kept, SHAPE).astype(dtype) for dtype in types)

    found = overlap(prediction, reference, values)

    assert found == {value: by_loop(prediction, reference, value) for value in values}


def test_negative_values_are_counted_too():
    random = np.random.default_rng(0)
    prediction, reference = random.integers(-3, 4, size=(2, *SHAPE))

    found = overlap(prediction, reference, [-2, 0, 3])

    assert found == {value: by_loop(prediction, reference, value) for value in (-2, 0, 3)}


def test_117_classes_are_counted():
    random = np.random.default_rng(0)
    prediction, reference = random.integers(0, 118, size=(2, 9, 11, 13), dtype=np.uint8)

    found = overlap(prediction, reference, range(1, 118))

    assert found == {value: by_loop(prediction, reference, value) for value in range(1, 118)}


def test_a_value_that_is_not_asked_for_counts_as_background():
    prediction, reference = np.full(SHAPE, 9, np.uint8), np.ones(SHAPE, np.uint8)

    found = overlap(prediction, reference, [1])

    assert list(found) == [1]
    assert found[1].dice == 0


def test_no_values_give_no_scores():
    assert overlap(np.ones(SHAPE, int), np.ones(SHAPE, int), []) == {}


def test_masks_and_views_are_counted():
    random = np.random.default_rng(0)
    mask = random.random(SHAPE) > 0.5
    turned = mask.transpose(2, 1, 0)[::-1]

    assert overlap(mask, mask, [1])[1].dice == 1
    assert overlap(turned, turned, [1])[1].intersection == mask.sum()


def test_dice_is_that_of_monai():
    torch = pytest.importorskip("torch")
    from monai.metrics import DiceMetric, MeanIoU

    random = np.random.default_rng(0)
    prediction, reference = random.integers(0, 4, size=(2, *SHAPE))
    one_hot = [
        torch.nn.functional.one_hot(torch.tensor(one), 4) for one in (prediction, reference)
    ]
    theirs = [one.permute(3, 0, 1, 2)[None].float() for one in one_hot]

    found = overlap(prediction, reference, [1, 2, 3])

    dice = DiceMetric(include_background=False)(*theirs)[0].tolist()
    iou = MeanIoU(include_background=False)(*theirs)[0].tolist()
    assert [one.dice for one in found.values()] == pytest.approx(dice, abs=1e-6)
    assert [one.iou for one in found.values()] == pytest.approx(iou, abs=1e-6)


def test_other_shapes_and_types_are_refused():
    with pytest.raises(ValueError, match="the same"):
        overlap(np.zeros(SHAPE, int), np.zeros(SHAPE[::-1], int), [1])
    with pytest.raises(ValueError, match="integers; found float32"):
        overlap(np.zeros(SHAPE, np.float32), np.zeros(SHAPE, np.float32), [1])
