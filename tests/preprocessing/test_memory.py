from __future__ import annotations

import pytest
import torch

from napari_attnseg.config import ModelConfig
from napari_attnseg.losses import LOSSES
from napari_attnseg.models import build_model
from napari_attnseg.preprocessing.memory import available_memory, step_memory

TWICE = ((1, 1, 1), (2, 2, 2), (2, 2, 2))


def test_a_machine_has_some_memory_but_not_all() -> None:
    assert 2**20 < available_memory("cpu") < 2**50


@pytest.mark.parametrize(
    ("dims", "patch", "widths", "strides"),
    [
        (3, (24, 32, 40), (16, 32, 64), TWICE),
        (3, (16, 32, 24), (32, 64, 128), TWICE),
        (2, (5, 64, 48), (24, 48, 96), ((1, 1, 1), (1, 2, 2), (1, 2, 2))),
    ],
)
def test_the_estimate_is_what_a_step_keeps(dims, patch, widths, strides) -> None:
    options = {"widths": widths, "strides": strides}
    config = ModelConfig("unet3d", dims=dims, preset="plan", out_channels=3, options=options)
    model = build_model(config).train()
    own = {parameter.data_ptr() for parameter in model.parameters()}
    kept = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = (storage.nbytes(), tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output = model(torch.randn(2, 1, *patch))
        model.auxiliary_loss(output, torch.zeros(2, *patch, dtype=torch.long), LOSSES["dice-ce"])
    weights = 16 * sum(parameter.numel() for parameter in model.parameters())
    actual = sum(size for size, _ in kept.values()) + weights

    estimate = step_memory(patch, 2, widths, strides, dims=dims, classes=3) - 64 * 2**20
    assert 0.8 * actual < estimate < 1.6 * actual
