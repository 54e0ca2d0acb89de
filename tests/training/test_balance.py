from __future__ import annotations

import pytest
import torch

from napari_attnseg.losses import IGNORE_INDEX
from napari_attnseg.training.balance import EVENNESS, LEAST_KEPT, Balance, thinned


def label() -> torch.Tensor:
    """One voxel in 100 is class 1, one in 25 class 2."""
    target = torch.zeros(2, 20, 25, 30, dtype=torch.int64)
    target.view(-1)[::100] = 1
    target.view(-1)[1::25] = 2
    return target


def count(target: torch.Tensor) -> list[int]:
    return torch.bincount(target.reshape(-1), minlength=256)[:3].tolist()


def test_common_classes_are_thinned_by_the_root_of_their_frequency() -> None:
    before, after = count(label()), count(thinned(label(), 0.5, seed=0))

    assert after[1] == before[1]
    assert after[2] == pytest.approx(before[2] / 2, rel=0.1)
    assert after[0] == pytest.approx(before[0] * (before[1] / before[0]) ** 0.5, rel=0.1)


def test_nothing_changes_but_to_ignored() -> None:
    after = thinned(label(), 0.5, seed=0)

    is_kept = after != IGNORE_INDEX
    assert torch.equal(after[is_kept], label()[is_kept])


def test_without_evenness_every_voxel_counts() -> None:
    assert torch.equal(thinned(label(), 0.0, seed=0), label())


def test_a_part_of_the_background_is_always_kept() -> None:
    target = torch.zeros(1, 40, 50, 60, dtype=torch.int64)
    target[0, 0, 0, 0] = 1

    kept = count(thinned(target, 0.5, seed=0))[0]

    assert kept == pytest.approx(LEAST_KEPT * target.numel(), rel=0.1)


def test_it_depends_on_the_seed_alone() -> None:
    assert torch.equal(thinned(label(), 0.5, seed=5), thinned(label(), 0.5, seed=5))
    assert not torch.equal(thinned(label(), 0.5, seed=5), thinned(label(), 0.5, seed=6))


@pytest.mark.parametrize("value", [0, 1, IGNORE_INDEX])
def test_a_batch_of_one_class_is_left_alone(value: int) -> None:
    target = torch.full((1, 3, 5, 7), value)

    assert torch.equal(thinned(target, 0.5, seed=0), target)


def as_logits(labels: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.one_hot(labels, 3).movedim(-1, 1).float()


def test_once_all_classes_are_found_thinning_fades() -> None:
    balance = Balance(2)
    for _ in range(20):
        balance.note(as_logits(label()), label(), 0.1)

    assert balance.found_at == 0.1
    assert balance.evenness(0.1) == EVENNESS
    assert balance.evenness(0.15) == pytest.approx(EVENNESS / 2)
    assert balance.evenness(0.2) == 0


def test_while_one_class_is_missed_thinning_stays_until_its_time_is_over() -> None:
    balance = Balance(2)
    missed = torch.where(label() == 1, 0, label())
    for _ in range(20):
        balance.note(as_logits(missed), label(), 0.1)

    assert balance.found_at is None
    assert balance.dice[1] > 0.8
    assert balance.evenness(0.39) == EVENNESS
    assert 0 < balance.evenness(0.6) < EVENNESS
    assert balance.evenness(0.7) == 0


def test_voxels_that_are_not_learned_from_do_not_count_as_missed() -> None:
    balance = Balance(2)
    target = torch.where(label() == 1, IGNORE_INDEX, label())
    balance.note(as_logits(label()), target, 0.1)

    assert balance.dice == [0.0, pytest.approx(0.1)]
