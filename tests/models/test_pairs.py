from __future__ import annotations

import copy
import json
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load, save
from torch import Tensor

from napari_attnseg.config import ModelConfig
from napari_attnseg.models import ModelError, SegmentationModel, build_model, record
from napari_attnseg.models.attention import ATTENTION
from napari_attnseg.models.sites import AttentionSite


def learns(model: SegmentationModel, x: Tensor) -> None:
    """Check the shape of the logits, and that each weight gets a finite gradient."""
    target = torch.randint(0, 3, (x.shape[0], *x.shape[2:]))
    model.zero_grad()

    output = model(x)
    model.auxiliary_loss(output, target, F.cross_entropy).backward()

    assert output.logits.shape == (x.shape[0], 3, *x.shape[2:])
    for name, weight in model.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.isfinite().all(), name


def stays_the_same(model: SegmentationModel, x: Tensor) -> None:
    """Check that it gives the same again, when copied, and when saved and built again."""
    settings = json.loads(json.dumps(model.config.to_dict()))

    again = build_model(ModelConfig.from_dict(settings)).eval()
    again.load_state_dict(load(save(model.state_dict())))
    twin = copy.deepcopy(model)

    with torch.no_grad():
        expected = model(x)
        for network in (model, again, twin):
            torch.testing.assert_close(network(x), expected, rtol=0, atol=0)
    assert again.config == model.config


def shows_its_maps(model: SegmentationModel, x: Tensor) -> None:
    """Check kinds, bounds, layers and batch of recorded maps, and that recording changes nothing.

    Evaluation keeps nothing from one pass to the next.
    """
    with torch.no_grad():
        unwatched = model(x)

    with torch.no_grad(), record(model) as recorded:
        watched = model(x)

    torch.testing.assert_close(watched, unwatched, rtol=0, atol=0)
    assert {one.kind for one in recorded} == set(ATTENTION[model.config.attention].kinds)
    for one in recorded:
        low, high = one.bounds or (-torch.inf, torch.inf)
        assert one.tensor.isfinite().all()
        assert low <= one.tensor.min() <= one.tensor.max() <= high
        assert one.layer in model.layer_names
        assert one.tensor.shape[0] == x.shape[0]


def can_do_without(model: SegmentationModel, x: Tensor) -> None:
    """Check that without its attention it is the network that was built without any."""
    plain = build_model(model.config.replace(attention="none", sites=())).eval()
    weights = {name: one for name, one in model.state_dict().items() if ".module." not in name}
    plain.load_state_dict(weights)

    for module in model.modules():
        if isinstance(module, AttentionSite) and module.module is not None:
            module.module = torch.nn.Identity()

    with torch.no_grad():
        torch.testing.assert_close(model(x), plain(x), rtol=0, atol=0)


def test_a_pair_learns_in_all_its_weights(case: Any) -> None:
    learns(case.model(), case.input())


def test_a_pair_gives_the_same_after_saving_and_building_again(case: Any) -> None:
    stays_the_same(case.model().eval(), case.input())


def test_a_pair_shows_the_kinds_of_map_that_it_says_within_their_bounds(case: Any) -> None:
    shows_its_maps(case.model().eval(), case.input())


def test_attention_can_be_swapped_for_the_identity(case: Any) -> None:
    can_do_without(case.model().eval(), case.input())


@pytest.mark.slow
def test_a_pair_keeps_its_promises_at_every_place_and_on_every_size(case: Any) -> None:
    model = case.model()
    for x in case.every_input():
        learns(model, x)
    model.eval()
    for x in case.every_input():
        shows_its_maps(model, x)
    stays_the_same(model, case.input())
    can_do_without(model, case.input())


def test_a_pair_that_makes_no_sense_is_refused_with_a_sentence(refused: Any) -> None:
    with pytest.raises(ModelError, match=r"^[A-Z].+\.$"):
        build_model(refused.config)
