"""Class activation attention: what it learns from, and what it raises."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_attnseg.config import ModelConfig
from napari_attnseg.models import ModelOutput, build_model, record
from napari_attnseg.models.attention import ATTENTION
from napari_attnseg.models.attention.presence import PresenceScores
from napari_attnseg.models.backbones import BACKBONES


def made(channels: int = 2, classes: int = 3, **options: Any) -> Any:
    build: Any = ATTENTION["presence"]
    return build(channels, classes=classes, **options)


def test_it_raises_the_skip_where_a_class_is_seen() -> None:
    module = made(channels=2, classes=3, dims=2, pooling="avg")
    module.head.weight.data = torch.tensor([[1.0, 0.0], [0.0, -1.0]]).reshape(2, 2, 1, 1)
    module.bias.data = torch.tensor([0.0, 0.5])
    g = torch.tensor([[[[4.0, 0.0]], [[2.0, -2.0]]]])
    x = torch.ones(1, 2, 1, 2)

    y = module(x, g)

    # class 1: maps (4, 0), mean 2; class 2: maps (-2, 2), mean 0 and bias 0.5
    first, second = torch.sigmoid(torch.tensor([2.0, 0.5]))
    expected = torch.stack([1 + first, 1 + second]).expand(1, 2, 1, 2)
    torch.testing.assert_close(y, expected)


def test_presence_can_be_pooled_between_mean_and_maximum() -> None:
    module = made(channels=1, classes=2, dims=2)
    nn.init.ones_(module.head.weight)
    seen: list[Tensor] = []
    module.presence.register_forward_hook(lambda *args: seen.append(args[-1]))

    module(torch.rand(1, 1, 1, 2), torch.tensor([[[[1.0, -1.0]]]]))

    expected = torch.tensor([[4.0, -4.0]]).exp().mean(dim=1, keepdim=True).log() / 4
    torch.testing.assert_close(seen[0], expected)


def test_where_no_class_is_seen_the_skip_passes_as_it_is() -> None:
    module = made()
    module.head.weight.data.fill_(-1)
    x, g = torch.rand(2, 2, 4, 5, 6), torch.rand(2, 2, 2, 3, 3)

    torch.testing.assert_close(module(x, g), x)


def test_presence_is_learned_from_the_classes_of_the_label_map() -> None:
    scores = torch.tensor([[2.0, -1.0], [0.5, 3.0]])
    target = torch.zeros(2, 3, 4, 5, dtype=torch.long)
    target[0, 1, 2, 3], target[1, 0, 0, 0] = 1, 2

    loss = PresenceScores(1.0).loss(scores, target)

    log = torch.nn.functional.logsigmoid
    terms = [log(scores[0, 0]), log(-scores[0, 1]), log(-scores[1, 0]), log(scores[1, 1])]
    torch.testing.assert_close(loss, -torch.stack(terms).mean())


def test_what_may_hide_where_nothing_is_labelled_does_not_count() -> None:
    scores = torch.tensor([[2.0, -1.0]], requires_grad=True)
    target = torch.full((1, 2, 3, 4), 255)
    target[0, 0, 0, 0] = 1

    loss = PresenceScores(1.0).loss(scores, target)
    loss.backward()

    torch.testing.assert_close(loss, -torch.nn.functional.logsigmoid(scores[0, 0]))
    assert scores.grad is not None
    assert scores.grad[0, 1] == 0


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("name", sorted(set(BACKBONES)))
def test_every_backbone_adds_the_loss_of_presence_to_its_own(name: str, dims: int) -> None:
    if dims not in BACKBONES[name].dims or "skip" not in BACKBONES[name].sites:
        pytest.skip("no skips in these dimensions")
    config = ModelConfig(
        name, "presence", dims=dims, out_channels=3, attention_options={"weight": 0.5}
    )
    model = build_model(config)
    output = model(torch.rand(2, 1, 4, 32, 32))
    target = torch.randint(0, 3, (2, 4, 32, 32))
    markers = {k: one for k, one in model.named_modules() if isinstance(one, PresenceScores)}
    own = {k: one for k, one in output.auxiliary.items() if k not in markers}

    whole = model.auxiliary_loss(output, target, F.cross_entropy)
    without = model.auxiliary_loss(ModelOutput(output.logits, own), target, F.cross_entropy)

    assert markers
    assert set(markers) <= set(output.auxiliary)
    volumes = target.flatten(0, 1) if dims == 2 else target
    losses = [one.loss(output.auxiliary[k], volumes) for k, one in markers.items()]
    torch.testing.assert_close(whole - without, 0.5 * torch.stack(losses).sum())


def test_a_network_that_evaluates_keeps_no_scores() -> None:
    model = build_model(ModelConfig(attention="presence"))
    model(torch.rand(1, 1, 4, 8, 12))

    assert not any(one._forward_hooks for one in model.modules())
    assert isinstance(model.eval()(torch.rand(1, 1, 4, 8, 12)), Tensor)


@pytest.mark.parametrize("classes", [1, 2, 4])
def test_each_class_has_a_map_of_its_own(classes: int) -> None:
    config = ModelConfig(attention="presence", sites=("skip:0",), out_channels=classes)
    model = build_model(config).eval()
    with torch.no_grad(), record(model) as recorded:
        model(torch.rand(2, 1, 4, 8, 12))

    names = [one.name for one in recorded]
    shown = [f"skip0.presence.class{one}" for one in range(1, max(2, classes))]
    assert names == [*shown, "skip0.presence.spatial"]
    assert all(one.volume().shape == (2, 1, 4, 8, 12) for one in recorded)


def test_the_map_of_a_class_is_highest_where_the_class_is() -> None:
    torch.manual_seed(0)
    config = ModelConfig(
        attention="presence",
        sites=("skip:0",),
        options={"widths": (8, 8)},
        attention_options={"weight": 1.0},
    )
    model = build_model(config)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    generator = torch.Generator().manual_seed(1)

    def cases() -> tuple[Tensor, Tensor]:
        x = 0.3 * torch.randn(4, 1, 8, 12, 16, generator=generator)
        target = torch.zeros(4, 8, 12, 16, dtype=torch.long)
        for index in (0, 2):
            d, h, w = (
                int(torch.randint(0, n - 4, (1,), generator=generator)) for n in (8, 12, 16)
            )
            target[index, d : d + 4, h : h + 4, w : w + 4] = 1
        return x + 2 * target[:, None], target

    for _ in range(40):
        x, target = cases()
        optimizer.zero_grad()
        model.auxiliary_loss(model(x), target, F.cross_entropy).backward()
        optimizer.step()
    x, target = cases()
    with torch.no_grad(), record(model.eval()) as recorded:
        model(x)

    shown = recorded[0].tensor
    inside = shown[target[:, None] == 1].mean()
    outside = shown[target[:, None] == 0].mean()
    assert recorded[0].name.endswith("class1")
    assert inside > outside + shown.std()


def test_a_gradient_reaches_the_head_through_the_gate_too() -> None:
    module = made()
    nn.init.ones_(module.head.weight)

    module(torch.rand(1, 2, 4, 4, 4), torch.rand(1, 2, 2, 2, 2)).sum().backward()

    assert module.head.weight.grad.abs().max() > 0
    assert module.bias.grad.abs().max() > 0
