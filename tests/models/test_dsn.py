from __future__ import annotations

import pytest
import torch

from napari_attnseg.config import ModelConfig
from napari_attnseg.models import build_model
from napari_attnseg.models.catalogue import count_parameters


def test_the_released_network_has_the_published_number_of_weights() -> None:
    with torch.device("meta"):
        model = build_model(ModelConfig("dsn", preset="light", out_channels=11))

    assert count_parameters(model) == 1_050_793


@pytest.mark.parametrize("dims", [2, 3])
def test_every_decoder_level_but_the_finest_gives_scores_of_its_own(dims: int) -> None:
    options = {"widths": (2, 3, 4, 5)}
    model = build_model(ModelConfig("dsn", dims=dims, preset="light", options=options))

    output = model(torch.rand(2, 1, 3, 9, 14))

    sides = output.auxiliary["deep_supervision"]
    assert [one.shape for one in sides] == [(2, 2, 3, 9, 14)] * 2


def test_every_voxel_of_coarse_scores_depends_on_the_image() -> None:
    torch.manual_seed(0)
    model = build_model(ModelConfig("dsn", preset="light", options={"widths": (2, 2, 4, 4)}))
    x = torch.randn(1, 1, 8, 16, 24)

    first, second = (model(x + shift).auxiliary["deep_supervision"][1] for shift in (0.0, x))

    assert bool((first != second).all())


def test_coarse_scores_are_learned_from() -> None:
    torch.manual_seed(0)
    model = build_model(ModelConfig("dsn", out_channels=3))
    output = model(torch.rand(1, 1, 8, 12, 16))
    target = torch.zeros(1, 8, 12, 16, dtype=torch.int64)

    loss = model.auxiliary_loss(output, target, torch.nn.functional.cross_entropy)

    maps = [output.logits, *output.auxiliary["deep_supervision"]]
    main, side = (torch.nn.functional.cross_entropy(one, target) for one in maps)
    torch.testing.assert_close(loss, (main + 0.5 * side) / 1.5)


def test_only_the_finest_scores_are_given_in_evaluation() -> None:
    model = build_model(ModelConfig("dsn")).eval()

    assert model(torch.rand(1, 1, 4, 8, 12)).shape == (1, 2, 4, 8, 12)
