from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_attnseg.config import ModelConfig, TrainConfig
from napari_attnseg.losses import LOSSES
from napari_attnseg.models import build_model, network_config
from napari_attnseg.models.catalogue import count_parameters
from napari_attnseg.models.refinement import AutoEncoder
from napari_attnseg.training.batches import Batch
from napari_attnseg.training.learner import Learner

TRUNK = 86_736_064
AUTO_ENCODER = 6_970_496
LEAFLESS = 955_412
"""Weights of the published program that nothing depends on."""

NETWORKS = ("MS-Dual-Guided", "MS-Dual", "Dual", "MS-Dual-Guided (baseline)")
SIZE = (4, 12, 16)


def published(network: str = "MS-Dual-Guided") -> Any:
    with torch.device("meta"):
        return build_model(network_config(network))


def tiny(dims: int = 3, **options: Any) -> Any:
    torch.manual_seed(0)
    return build_model(ModelConfig("guided", dims=dims, out_channels=3, options=options))


def target_of(batch: int = 1) -> Tensor:
    return torch.randint(0, 3, (batch, *SIZE), generator=torch.Generator().manual_seed(1))


def test_the_network_has_the_published_number_of_weights_without_those_that_are_dead() -> None:
    model = published()

    trunk = [name for name in model.layer_names if name != "decoder2"]
    assert sum(count_parameters(model.layer(name)) for name in trunk) == TRUNK
    assert count_parameters(model) == 104_511_475 - LEAFLESS


def test_each_step_has_one_auto_encoder_for_all_scales() -> None:
    model = published()

    found = [one for one in model.modules() if isinstance(one, AutoEncoder)]
    assert [count_parameters(one) for one in found] == [AUTO_ENCODER] * 2


def test_in_volumes_an_auto_encoder_has_the_published_number_of_weights() -> None:
    config = network_config("MS-Dual-Guided", dims=3)
    with torch.device("meta"):
        model = build_model(config)

    found = [one for one in model.modules() if isinstance(one, AutoEncoder)]
    assert [count_parameters(one) for one in found] == [20_569_216] * 2


def test_each_ablation_has_fewer_weights_than_the_network_that_it_is_of() -> None:
    counts = [count_parameters(published(network)) for network in NETWORKS]

    assert counts == sorted(counts, reverse=True)
    assert len(set(counts)) == 4


@pytest.mark.parametrize("form", ["baseline", "dual", "multi-scale", "guided"])
@pytest.mark.parametrize("dims", [2, 3])
def test_every_weight_of_an_ablation_learns(form: str, dims: int) -> None:
    model = tiny(dims, form=form)

    model.auxiliary_loss(model(torch.rand(1, 1, *SIZE)), target_of(), F.cross_entropy).backward()

    for name, one in model.named_parameters():
        assert one.grad is not None, name
        assert one.grad.isfinite().all(), name


def test_the_loss_is_that_of_the_paper() -> None:
    model, target = tiny(), target_of()
    joined: list[Any] = []
    codes: list[Any] = []
    rebuilt: list[Any] = []

    def keep(_: Any, args: Any, found: Any) -> None:
        joined.append(args[0])
        codes.append(found[0])
        rebuilt.append(found[1])

    for refinement in model.refinements:
        refinement.coder.register_forward_hook(keep)

    output = model(torch.rand(1, 1, *SIZE))
    loss = model.auxiliary_loss(output, target, F.cross_entropy)

    scales = len(model.scales)
    maps = [*output.auxiliary["side"], *output.auxiliary["refined"]]
    assert len(maps) == 2 * scales
    segmentation = sum(F.cross_entropy(one, target) for one in maps)
    guided = sum(((a - b) ** 2).mean() for a, b in zip(codes, codes[scales:], strict=False))
    distance = sum(((a - b) ** 2).mean() for a, b in zip(joined, rebuilt, strict=True))
    torch.testing.assert_close(loss, segmentation + 0.25 * guided + 0.1 * distance)
    torch.testing.assert_close(output.parts["segmentation"], segmentation.detach())
    torch.testing.assert_close(output.parts["guided"], 0.25 * guided.detach())
    torch.testing.assert_close(output.parts["reconstruction"], 0.1 * distance.detach())


def test_training_logs_the_three_parts_of_the_loss_by_name() -> None:
    model = tiny()
    learner = Learner(
        model,
        LOSSES["dice-ce"],
        train=TrainConfig(),
        is_fine_tuning=False,
        precision="float32",
    )

    outcome = learner.step(Batch(torch.rand(2, 1, *SIZE), target_of(2)), number=0, rate=1e-3)

    assert set(outcome.parts) == {"segmentation", "guided", "reconstruction"}
    assert sum(outcome.parts.values()) == pytest.approx(outcome.loss, rel=1e-4)


def test_the_logits_are_the_mean_of_the_refined_ones() -> None:
    model = tiny().train()

    output = model(torch.rand(1, 1, *SIZE))

    refined = torch.stack(output.auxiliary["refined"]).mean(dim=0)
    torch.testing.assert_close(output.logits, refined)


def test_a_step_refines_each_scale_by_attention_under_the_mask_of_its_code() -> None:
    model = tiny().eval()
    refinement = model.refinements[0]
    maps = [torch.rand(1, model.width, 4, 8, 8) for _ in model.scales]
    whole = [torch.rand(1, model.width, 4, 8, 8)] * len(maps)

    with torch.no_grad():
        found = refinement(maps, whole)
        for index, one in enumerate(maps):
            joined = torch.cat([one, whole[index]], dim=1)
            branch = refinement.attentions[index]
            near, like = branch.near(joined), branch.like(joined)
            attended = branch.near_out(near + branch.positions(near))
            attended = attended + branch.like_out(like + branch.channels(like))
            mask = refinement.masks[index](refinement.coder(joined)[1])
            expected = refinement.out[index](attended * mask)
            torch.testing.assert_close(found.maps[index], expected)


def test_the_second_step_sees_the_whole_under_what_the_first_one_found() -> None:
    model = tiny().eval()
    asked: list[Any] = []
    for refinement in model.refinements:
        refinement.register_forward_hook(lambda _, args, out: asked.append((args, out)))

    with torch.no_grad():
        model(torch.rand(1, 1, *SIZE))

    (_, first_whole), first = asked[0]
    _, second_whole = asked[1][0]
    for index, one in enumerate(second_whole):
        torch.testing.assert_close(one, first.maps[index] * first_whole[index])


@pytest.mark.parametrize("size", [(5, 9, 7), (1, 1, 1), (3, 17, 30)])
def test_any_size_is_taken(size: tuple[int, ...]) -> None:
    model = tiny(widths=(4, 4, 4, 4, 4), depths=()).eval()

    assert model(torch.rand(1, 1, *size)).shape == (1, 3, *size)


def test_attention_between_positions_is_bounded() -> None:
    model = tiny(max_tokens=8).eval()
    keys: list[Any] = []
    for refinement in model.refinements:
        for branch in refinement.attentions:
            branch.positions.key.register_forward_hook(lambda *args: keys.append(args[-1]))

    with torch.no_grad():
        model(torch.rand(1, 1, *SIZE))

    assert len(keys) == 2 * len(model.scales)
    assert all(key[0, 0].numel() <= 8 for key in keys)
