from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from napari_attnseg.config import ModelConfig
from napari_attnseg.models import ModelError, ModelOutput, build_model
from napari_attnseg.models.catalogue import count_parameters
from napari_attnseg.training.start import at_stage

CLASSES = 3


def published(preset: str = "paper", **options: Any) -> Any:
    config = ModelConfig("hdenseunet", dims=3, preset=preset, out_channels=3, options=options)
    with torch.device("meta"):
        return build_model(config)


def tiny(dims: int = 3, **options: Any) -> Any:
    torch.manual_seed(0)
    return build_model(ModelConfig("hdenseunet", dims=dims, out_channels=CLASSES, options=options))


def weights_of(parts: list[Any]) -> int:
    return sum(count_parameters(part) for part in parts)


def test_the_hybrid_network_and_its_parts_have_the_published_numbers_of_weights() -> None:
    model = published()

    volumes = [model.volumes, *(model.layer(name) for name in model.volumes.layer_names)]
    fusion = [model.layer("fusion"), model.head]
    assert weights_of(model._slice_parts()) == 49_527_843
    assert weights_of(volumes) == 15_977_467
    assert weights_of(fusion) == 110_979
    assert count_parameters(model) == 65_616_289


def test_the_released_hybrid_network_has_no_skips_and_the_published_number_of_weights() -> None:
    model = published("released")

    assert weights_of(model._slice_parts()) == 44_862_339
    assert count_parameters(model) == 60_950_785
    assert model.shown_again.scale == 250.0


def test_the_network_of_slices_alone_has_the_published_number_of_weights() -> None:
    config = ModelConfig("hdenseunet", dims=2, preset="paper", in_channels=3, out_channels=3)

    with torch.device("meta"):
        assert count_parameters(build_model(config)) == 49_527_843


def test_volumes_are_pooled_twice_along_the_slices_as_published() -> None:
    model = published()

    strides = [model.layer_grid(f"encoder{n}", (16, 64, 64)).stride_dhw for n in (1, 2, 3, 4)]
    assert strides == [(2, 2, 2), (4, 4, 4), (4, 8, 8), (4, 16, 16)]
    assert model.layer_grid("slice_bottleneck", (16, 64, 64)).stride_dhw == (1, 32, 32)
    assert model.size_multiple == (4, 32, 32)


def test_slices_are_scored_as_images_of_three_slices_are() -> None:
    model = tiny().eval()
    stem: Any = model.layer("slice_encoder1").block.features.conv0
    x = torch.rand(2, 1, 5, 8, 12)

    with torch.no_grad():
        found = stem(x)  # (B, C, D, h, w)

    padded = torch.cat([x[:, :, :1], x, x[:, :, -1:]], dim=2)
    for slice_number in range(5):
        image = padded[:, 0, slice_number : slice_number + 3]  # three slices as channels
        expected = F.conv2d(image, stem.weight[:, 0], stride=2, padding=1)
        torch.testing.assert_close(found[:, :, slice_number], expected)


def test_the_network_of_slices_sees_one_slice_on_either_side() -> None:
    model = tiny(stage="2d", norm="batch").eval()
    x = torch.rand(1, 1, 7, 8, 12, requires_grad=True)

    model(x)[:, 1, 3].sum().backward()

    assert x.grad is not None
    seen = x.grad.abs().sum(dim=(0, 1, 3, 4)) > 0
    assert seen.tolist() == [False, False, True, True, True, False, False]


@pytest.mark.parametrize("scale", [1.0, 250.0])
def test_volumes_are_shown_the_image_and_the_scaled_scores_of_slices(scale: float) -> None:
    model = tiny(logit_scale=scale).eval()
    shown: list[Any] = []
    model.layer("encoder1").register_forward_pre_hook(lambda _, args: shown.append(args[0]))
    x = torch.rand(1, 1, 4, 8, 12)

    with torch.no_grad():
        model(x)
        scores = model.slices.score(model.slices.features(model.stages, x))

    torch.testing.assert_close(shown[0], torch.cat([x, scale * scores], dim=1))


def test_the_features_of_both_networks_are_added_before_they_are_scored() -> None:
    model = tiny().eval()
    seen: dict[str, Any] = {}
    for name in ("slice_decoder0", "decoder0"):
        model.layer(name).register_forward_hook(
            lambda *args, name=name: seen.__setitem__(name, args[-1])
        )

    with torch.no_grad():
        logits = model(torch.rand(1, 1, 4, 8, 12))
        expected = model.head(model.layer("fusion")(seen["slice_decoder0"] + seen["decoder0"]))

    torch.testing.assert_close(logits, expected)


def learned_in(stage: str) -> set[str]:
    """Return which parts have gradients after a backward pass, by their first names."""
    model = tiny(stage=stage)
    x, target = torch.rand(2, 1, 4, 8, 12), torch.randint(0, CLASSES, (2, 4, 8, 12))
    model.auxiliary_loss(model(x), target, F.cross_entropy).backward()
    names = {name for name, one in model.named_parameters() if one.grad is not None}
    return {".".join(name.split(".")[:2]) for name in names}


def test_first_only_the_network_of_slices_learns() -> None:
    learned = learned_in("2d")

    assert learned == {
        "stages.slice_encoder1",
        "stages.slice_bottleneck",
        "stages.slice_decoder1",
        "stages.slice_decoder0",
        "slices.rises",
        "slices.score",
    }


def test_then_all_but_the_network_of_slices_learns() -> None:
    everything, first = learned_in("hybrid"), learned_in("2d")

    assert learned_in("3d") == everything - first


def test_what_does_not_learn_keeps_its_statistics() -> None:
    model = tiny(stage="3d", norm="batch").train()
    before = {name: one.clone() for name, one in model.named_buffers()}

    model(torch.rand(2, 1, 4, 8, 12))

    changed = {name for name, one in model.named_buffers() if not torch.equal(one, before[name])}
    assert changed
    assert not any("slice_" in name for name in changed)


@pytest.mark.parametrize(("before", "after"), [("2d", "3d"), ("3d", "hybrid")])
def test_each_stage_goes_on_from_the_weights_of_the_one_before(before: str, after: str) -> None:
    model = tiny(stage=after)

    model.load_state_dict(tiny(stage=before).state_dict())

    assert model.options.stage == after


def test_a_run_can_be_gone_on_with_at_another_stage_and_else_as_it_was() -> None:
    config = ModelConfig("hdenseunet", options={"stage": "2d", "logit_scale": 2.0})

    assert at_stage(config, {}) == config
    assert at_stage(config, {"dims": 2}) == config
    later = at_stage(config, {"options": {"stage": "3d"}})
    assert later.options == {"stage": "3d", "logit_scale": 2.0}


def test_a_stage_that_there_is_not_is_refused() -> None:
    with pytest.raises(ModelError, match="stage is '4d'; choose one of 2d, 3d, hybrid"):
        tiny(stage="4d")


def test_the_first_stage_explains_only_what_it_runs() -> None:
    names = tiny(stage="2d").layer_names

    assert names == ["slice_encoder1", "slice_bottleneck", "slice_decoder1", "slice_decoder0"]


def test_the_scores_of_both_networks_weigh_as_set() -> None:
    model = tiny(branch_weight=0.25)
    output = ModelOutput(torch.tensor(1.0), {"branches": [torch.tensor(2.0), torch.tensor(6.0)]})

    loss = model.auxiliary_loss(output, torch.tensor(0.0), lambda logits, _: logits)

    torch.testing.assert_close(loss, torch.tensor(1.0 + 0.25 * (2.0 + 6.0)))


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_a_few_slices_suffice(depth: int) -> None:
    logits = build_model(
        ModelConfig("hdenseunet", out_channels=3, preset="plan", options={"widths": (4, 4, 4, 4)})
    ).eval()(torch.rand(1, 1, depth, 11, 9))

    assert logits.shape == (1, 3, depth, 11, 9)
