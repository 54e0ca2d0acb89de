from __future__ import annotations

import pytest
import torch

from napari_attnseg.losses import IGNORE_INDEX, LOSSES
from napari_attnseg.losses.cross_entropy import cross_entropy_loss
from napari_attnseg.losses.dice import dice_loss
from napari_attnseg.losses.focal import focal_loss

NAMES = ("ce", "dice", "dice-ce", "dice-focal", "focal")


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(2, 4, 5, 6, 7, generator=generator) * 3
    return logits, torch.randint(0, 4, (2, 5, 6, 7), generator=generator)


def test_the_promised_losses_are_registered() -> None:
    assert set(NAMES) <= set(LOSSES)


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_a_loss_is_a_float32_scalar_with_a_gradient(name, batch) -> None:
    logits, target = batch
    logits.requires_grad_()

    loss = LOSSES[name](logits, target)
    loss.backward()

    assert loss.shape == ()
    assert loss.dtype == torch.float32
    assert torch.isfinite(logits.grad).all()
    assert logits.grad.abs().sum() > 0


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_ignored_voxels_get_no_gradient_and_do_not_change_the_value(name, batch) -> None:
    logits, target = batch
    target[:, 2:] = IGNORE_INDEX
    logits.requires_grad_()

    loss = LOSSES[name](logits, target)
    loss.backward()

    assert (logits.grad[:, :, 2:] == 0).all()
    kept = LOSSES[name](logits[:, :, :2], target[:, :2])
    torch.testing.assert_close(loss, kept)


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_a_batch_of_ignored_voxels_costs_nothing(name, batch) -> None:
    logits, target = batch
    logits.requires_grad_()

    loss = LOSSES[name](logits, torch.full_like(target, IGNORE_INDEX))
    loss.backward()

    assert loss == 0
    assert (logits.grad == 0).all()


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_another_ignored_value_may_be_chosen(name, batch) -> None:
    logits, target = batch
    other = torch.where(target == 3, 9, target)

    loss = LOSSES[name](logits, other, ignore_index=9)

    expected = LOSSES[name](logits, torch.where(target == 3, IGNORE_INDEX, target))
    torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_empty_classes_and_certain_networks_stay_finite(name, batch) -> None:
    logits, target = batch
    logits = (logits * 1000).requires_grad_()

    loss = LOSSES[name](logits, torch.zeros_like(target))
    loss.backward()

    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("name", sorted(LOSSES))
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_logits_are_reckoned_in_float32(name, dtype, batch) -> None:
    logits, target = batch
    half = logits.to(dtype)

    loss = LOSSES[name](half, target)

    torch.testing.assert_close(loss, LOSSES[name](half.float(), target))


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_a_perfect_answer_costs_nearly_nothing(name, batch) -> None:
    _, target = batch
    logits = torch.nn.functional.one_hot(target, 4).movedim(-1, 1).float() * 50

    assert LOSSES[name](logits, target) < 1e-4


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_slices_of_a_2d_network_are_accepted(name, batch) -> None:
    logits, target = batch

    loss = LOSSES[name](logits[:, :, 0], target[:, 0])

    torch.testing.assert_close(loss, LOSSES[name](logits[:, :, :1], target[:, :1]))


@pytest.mark.parametrize("include_background", [False, True])
def test_dice_is_that_of_monai_over_the_batch(include_background, batch) -> None:
    from monai.losses import DiceLoss

    logits, target = batch
    oracle = DiceLoss(
        include_background=include_background, to_onehot_y=True, softmax=True, batch=True
    )

    loss = dice_loss(logits, target, include_background=include_background)

    torch.testing.assert_close(loss, oracle(logits, target[:, None]))


def test_dice_of_two_half_overlapping_boxes_is_a_half() -> None:
    target = torch.zeros(1, 4, 6, 8, dtype=torch.int64)
    target[:, :, :, :4] = 1
    predicted = torch.roll(target, 2, dims=3)
    logits = torch.nn.functional.one_hot(predicted, 2).movedim(-1, 1).float() * 100

    assert dice_loss(logits, target).item() == pytest.approx(0.5, abs=1e-5)


def test_cross_entropy_is_that_of_torch(batch) -> None:
    logits, target = batch
    target[0, 1] = IGNORE_INDEX

    loss = cross_entropy_loss(logits, target)

    oracle = torch.nn.functional.cross_entropy(logits, target, ignore_index=IGNORE_INDEX)
    torch.testing.assert_close(loss, oracle)


@pytest.mark.parametrize("gamma", [1.0, 2.0, 3.0])
def test_focal_is_that_of_monai_per_voxel(gamma, batch) -> None:
    from monai.losses import FocalLoss

    logits, target = batch
    oracle = FocalLoss(gamma=gamma, to_onehot_y=True, use_softmax=True, reduction="none")

    loss = focal_loss(logits, target, gamma=gamma)

    torch.testing.assert_close(loss, oracle(logits, target[:, None]).sum() / target.numel())


def test_focal_without_focus_is_the_cross_entropy(batch) -> None:
    torch.testing.assert_close(focal_loss(*batch, gamma=0.0), cross_entropy_loss(*batch))


@pytest.mark.parametrize(("name", "parts"), [("dice-ce", "dice ce"), ("dice-focal", "dice focal")])
def test_a_combined_loss_is_the_sum_of_its_parts(name, parts, batch) -> None:
    loss = LOSSES[name](*batch)

    torch.testing.assert_close(loss, sum(LOSSES[part](*batch) for part in parts.split()))
