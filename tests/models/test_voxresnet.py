from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_attnseg.config import ModelConfig, TrainConfig
from napari_attnseg.models import ModelOutput, build_model
from napari_attnseg.models.catalogue import count_parameters
from napari_attnseg.models.sizing import multiply_adds
from napari_attnseg.training.batches import Batch
from napari_attnseg.training.learner import Learner


def on_meta(config: ModelConfig) -> Any:
    with torch.device("meta"):
        return build_model(config)


def test_the_paper_preset_has_the_published_number_of_weights() -> None:
    model = on_meta(ModelConfig("voxresnet", preset="paper", out_channels=4))
    trunk = [name for name in model.layer_names if not name.startswith("decoder")]

    assert count_parameters(model) == 6_930_000
    assert sum(count_parameters(model.layer(name)) for name in trunk) == 1_635_040


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("size", [(8, 16, 24), (3, 9, 13), (1, 1, 1)])
def test_the_scores_of_four_levels_add_up_to_the_logits(dims: int, size: Any) -> None:
    config = ModelConfig("voxresnet", dims=dims, preset="paper", options={"widths": (2, 3, 3, 3)})
    output = build_model(config)(torch.rand(2, 1, *size))

    scores = output.auxiliary["scores"]

    assert [one.shape for one in scores] == [(2, 2, *size)] * 4
    torch.testing.assert_close(output.logits, torch.stack(scores).sum(dim=0))


def test_the_scores_of_levels_fade_from_one_to_a_thousandth() -> None:
    model = build_model(ModelConfig("voxresnet"))
    output = ModelOutput(torch.tensor(1.0), {"scores": [torch.tensor(2.0), torch.tensor(3.0)]})

    losses = []
    for progress in (0.0, 0.5, 1.0):
        model.training_progress = progress
        losses.append(float(model.auxiliary_loss(output, torch.tensor(0), lambda one, _: one)))

    assert losses == pytest.approx([1 + 5, 1 + 5 * 1e-3**0.5, 1 + 5e-3])


def test_a_training_tells_the_network_how_far_it_has_come() -> None:
    model = build_model(ModelConfig("voxresnet", options={"widths": (2, 2)}))
    learner = Learner(
        model,
        lambda logits, target, ignore_index: F.cross_entropy(logits, target),
        train=TrainConfig(),
        is_fine_tuning=False,
        precision="float32",
    )
    batch = Batch(torch.rand(1, 1, 4, 4, 4), torch.zeros(1, 4, 4, 4, dtype=torch.int64))

    learner.step(batch, number=3, rate=1e-3, progress=0.25)

    assert model.training_progress == 0.25


def test_a_network_may_learn_from_the_sum_alone() -> None:
    model = build_model(ModelConfig("voxresnet", options={"auxiliary": False}))

    assert model(torch.rand(1, 1, 4, 8, 8)).auxiliary == {}


def plain_level(weights: dict[str, Tensor], x: Tensor) -> Tensor:
    """Return what a level of one module gives, without normalisation."""

    def conv(y: Tensor, name: str, stride: int = 1) -> Tensor:
        weight, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
        return F.conv3d(y.relu(), weight, bias, stride=stride, padding=1)

    y = conv(x, "2", stride=2)
    return y + conv(conv(y, "3.units.2"), "3.units.5")


def test_a_level_steps_and_adds_what_its_modules_make_of_it() -> None:
    torch.manual_seed(0)
    options = {"widths": (2, 3), "norm": "none"}
    model = build_model(ModelConfig("voxresnet", options=options)).double()
    block = model.layer("bottleneck").block
    x = torch.randn(2, 2, 4, 6, 8, dtype=torch.float64)

    torch.testing.assert_close(block(x), plain_level(block.state_dict(), x), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("widths", [(16, 32, 64, 128), (32, 64, 128, 256, 320)], ids=str)
def test_a_planned_network_costs_about_as_much_as_the_planned_unet(
    widths: tuple[int, ...], dims: int
) -> None:
    size = (1 if dims == 2 else 32, 32, 32)
    settings: dict[str, Any] = {"dims": dims, "preset": "plan", "options": {"widths": widths}}

    unet, found = (
        multiply_adds(on_meta(ModelConfig(name, **settings)), size)
        for name in ("unet3d", "voxresnet")
    )

    assert 0.8 < found / unet < 1.25
