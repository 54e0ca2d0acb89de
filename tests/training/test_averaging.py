from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from napari_attnseg.training.averaging import AveragedWeights


def test_the_average_follows_its_equation() -> None:
    model = nn.Linear(3, 2)
    averaged = AveragedWeights(model)
    expected = model.weight.detach().clone()

    for step in range(1, 6):
        model.weight.data += torch.rand(2, 3)
        averaged.update(model, step)
        decay = (1 + step) / (10 + step)
        expected = decay * expected + (1 - decay) * model.weight.detach()

    assert torch.allclose(averaged.values["weight"], expected)


def test_counters_are_taken_over_as_they_are() -> None:
    model = nn.BatchNorm3d(4)
    averaged = AveragedWeights(model)
    model(torch.rand(2, 4, 3, 5, 7))

    averaged.update(model, 1)

    assert averaged.values["num_batches_tracked"] == 1


def test_the_model_gets_its_own_weights_back_even_after_an_error() -> None:
    model = nn.Linear(3, 2).train()
    averaged = AveragedWeights(model)
    model.weight.data += 1
    own = model.weight.detach().clone()

    seen: list[Tensor] = []

    def fail() -> None:
        with averaged.used_by(model):
            assert not model.training
            seen.append(model.weight.detach().clone())
            raise KeyError

    with pytest.raises(KeyError):
        fail()

    assert torch.equal(seen[0], averaged.values["weight"])

    assert torch.equal(model.weight, own)
    assert model.training
