"""Checking maps: on a network whose reasons are known, and as a contract for every measure."""

from __future__ import annotations

import copy
import json
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from napari_attnseg.config import ModelConfig
from napari_attnseg.explanation import METHODS, ExplainError, explain
from napari_attnseg.explanation.check import (
    CheckConfig,
    Measured,
    check_map,
    check_steps,
    checked_map,
    frozen_target,
)
from napari_attnseg.explanation.heat import Heat
from napari_attnseg.explanation.measure import MEASURES, CheckedMap, Work
from napari_attnseg.explanation.prepared import prepare
from napari_attnseg.explanation.scramble import groups, scrambled
from napari_attnseg.explanation.subject import Subject
from napari_attnseg.explanation.verdict import verdict
from napari_attnseg.inference.sliding import sliding_window, windows_for
from napari_attnseg.models import SegmentationModel, build_model
from napari_attnseg.models.grid import LayerGrid
from napari_attnseg.volume import GridMismatchError, Volume

SIZE = (20, 24, 28)
PATCH = (16, 24, 20)


class Echo(SegmentationModel):
    """A network whose logit of a voxel is the brightness of that voxel and of nothing else."""

    def __init__(self) -> None:
        super().__init__(ModelConfig(in_channels=1, out_channels=2))
        self.gain = nn.Parameter(torch.tensor(4.0))
        self.add_layer("bottleneck", nn.Identity(), LayerGrid(), 1)
        self.calls = 0

    def network(self, x: Tensor) -> tuple[Tensor, dict[str, Any]]:
        self.calls += 1
        logit = self.gain * self.stages["bottleneck"](x)
        return torch.cat([torch.zeros_like(logit), logit], dim=1), {}


def finish(steps: Any) -> Any:
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def bright_box(size: tuple[int, int, int] = SIZE) -> tuple[Tensor, Tensor]:
    """Return an image that is bright in a box, and the box."""
    region = torch.zeros(size, dtype=torch.bool)
    region[6:12, 8:16, 4:12] = True
    noise = torch.randn(size, generator=torch.Generator().manual_seed(0))
    return (torch.where(region, 1.0, -1.0) + 0.1 * noise)[None, None], region


def checked(values: np.ndarray, stride: float = 2.0, form: str = "quick") -> CheckedMap:
    """Return a map of why the echo finds the box."""
    model, (x, region) = Echo().eval(), bright_box()
    plan = windows_for(model, SIZE, PATCH)
    heat = Heat(values, (stride,) * 3, ((stride - 1) / 2,) * 3)

    def remake(model: SegmentationModel, x: Tensor, region: Tensor) -> Work[Heat]:
        yield
        values = (x[0, 0] * region).numpy() * float(model.gain.detach())
        return Heat(values[::2, ::2, ::2], heat.stride, heat.offset)

    subject = Subject(model, x, plan, region, {1: 1.0})
    return CheckedMap(subject, heat, (1.0, 1.0, 1.0), remake, 1, form=form)


def cells_of_the_box() -> np.ndarray:
    return bright_box()[1][::2, ::2, ::2].numpy().astype(np.float64)


def judged(values: np.ndarray) -> dict[str, Any]:
    measure = MEASURES["road"]()
    return verdict(measure.to_json(finish(measure.steps(checked(values)))))


def test_a_map_of_what_the_network_needs_is_better_than_random() -> None:
    found = judged(cells_of_the_box())

    assert found["word"] == "better"
    assert found["value"] == pytest.approx(found["oracle"], abs=0.02)


def test_an_inverted_map_is_worse_than_random() -> None:
    found = judged(-cells_of_the_box())

    assert found["word"] == "worse"
    assert "inverted" in found["sentence"]


def test_a_map_without_a_reason_is_no_better_than_random() -> None:
    noise = np.random.default_rng(7).random((10, 12, 14))

    assert judged(noise)["word"] == "no better"


@pytest.mark.parametrize(
    ("value", "size", "word"),
    [
        (0.03, 0.01, "better"),
        (0.027, 0.01, "no better"),
        (-0.03, 0.01, "worse"),
        (0.004, 0.0001, "no better"),
    ],
)
def test_the_margin_is_that_of_students_t_for_the_random_maps(
    value: float, size: float, word: str
) -> None:
    bars = [
        {"name": "map", "value": value},
        {"name": "oracle", "value": 0.2},
        {"name": "random", "values": [size, -size, size, -size]},
    ]

    found = verdict({"value": value, "rows": bars})

    # 2.776 is the 97.5th percentile of t with 4 degrees of freedom, as tables have it.
    assert found["margin"] == pytest.approx(max(0.005, 2.776 * size), rel=1e-3)
    assert found["word"] == word


def test_without_an_end_there_is_no_verdict() -> None:
    assert verdict(None)["word"] == "unknown"


@pytest.mark.parametrize("name", sorted(MEASURES))
def test_every_measure_tells_beforehand_how_often_the_network_will_run(name: str) -> None:
    one = checked(cells_of_the_box(), form="full")
    measure = MEASURES[name]()

    announced, done = measure.windows(one), 0
    steps = measure.steps(one)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result = measure.to_json(end.value)
            break
        done += 1

    assert done == announced
    json.dumps(result, allow_nan=False)
    assert {"title", "summary", "better", "value", "sentence", "rows", "curves"} <= result.keys()
    assert all(len(line["x"]) == len(line["y"]) for line in result["curves"])


def test_the_map_of_the_box_wins_every_comparison_with_random_maps() -> None:
    one = checked(cells_of_the_box(), form="full")
    for name in ("deletion", "insertion", "road"):
        measure = MEASURES[name]()
        bars = {bar["name"]: bar["value"] for bar in finish(measure.steps(one)).rows}

        sign = 1 if measure.better == "higher" else -1
        assert sign * bars["map"] > sign * bars["random"], name


def test_what_lies_around_does_not_matter_to_an_echo() -> None:
    measure = MEASURES["context"]()

    bars = finish(measure.steps(checked(cells_of_the_box(), form="full"))).rows

    assert [bar["name"] for bar in bars] == ["map", "nearest", "random"]
    assert all(abs(bar["value"]) < 1e-9 for bar in bars)


@pytest.mark.parametrize("size", [(13, 15, 11), (20, 24, 28), (33, 24, 41)])
def test_the_score_is_the_mean_probability_of_the_stitched_logits(
    size: tuple[int, int, int],
) -> None:
    torch.manual_seed(0)
    model = build_model(ModelConfig(backbone="unet3d", preset="tiny", out_channels=3)).eval()
    x, region = torch.randn(1, 1, *size), torch.rand(size) < 0.02
    plan = windows_for(model, size, PATCH)

    score = finish(Subject(model, x, plan, region, {2: 1.0, 0: -1.0}).score())

    logits = finish(sliding_window(model, x, PATCH)).double()
    inside = logits.softmax(dim=0)[:, region].mean(dim=1)
    assert score == pytest.approx(float(inside[2] - inside[0]), abs=1e-6)


def test_only_windows_that_reach_the_region_are_run() -> None:
    model = Echo().eval()
    region = torch.zeros((60, 24, 28), dtype=torch.bool)
    region[2:5, 3:6, 2:4] = True
    plan = windows_for(model, (60, 24, 28), PATCH)
    subject = Subject(model, torch.zeros(1, 1, 60, 24, 28), plan, region, {1: 1.0})

    finish(subject.score())

    assert len(plan) > model.calls == len(subject.starts)


def test_nothing_beyond_its_reach_changes_the_score() -> None:
    torch.manual_seed(0)
    model = build_model(ModelConfig(backbone="unet3d", preset="tiny", out_channels=3)).eval()
    size = (44, 24, 41)
    x, region = torch.randn(1, 1, *size), torch.zeros(size, dtype=torch.bool)
    region[1:4, 3:9, 2:6] = True
    subject = Subject(model, x, windows_for(model, size, PATCH), region, {1: 1.0})
    beyond = torch.ones(size, dtype=torch.bool)
    beyond[subject.reach] = False
    other = torch.where(beyond, 5.0, x)

    before, after = finish(subject.score()), finish(subject.score(other))

    assert beyond.any()
    assert before == after


def test_an_empty_region_is_refused() -> None:
    model = Echo()
    plan = windows_for(model, SIZE, PATCH)

    with pytest.raises(ExplainError, match="empty"):
        Subject(model, torch.zeros(1, 1, *SIZE), plan, torch.zeros(SIZE, dtype=torch.bool), {})


def attended() -> SegmentationModel:
    torch.manual_seed(0)
    config = ModelConfig("unet3d", "dual-position", ("bottleneck",), preset="tiny")
    return build_model(config).eval()


def test_the_cascade_goes_from_the_output_to_the_input() -> None:
    model, x = attended(), torch.randn(1, 1, 16, 24, 20)

    names = [one.name for one in groups(model, x, windows_for(model, (16, 24, 20), PATCH))]

    assert names[0] == "head"
    assert names[-1] == "encoder0"
    assert names.index("decoder0") < names.index("bottleneck") < names.index("encoder1")


def test_every_parameter_becomes_random_and_the_network_itself_stays() -> None:
    model, x = attended(), torch.randn(1, 1, 16, 24, 20)
    before = copy.deepcopy(model.state_dict())
    order = groups(model, x, windows_for(model, (16, 24, 20), PATCH))

    *_, (_, other) = scrambled(model, order, seed=0)

    for name, parameter in other.named_parameters():
        assert not torch.equal(parameter, before[name]), name
    for name, buffer in other.named_buffers():
        assert torch.equal(buffer, before[name]), name
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_the_groups_hold_every_parameter_once() -> None:
    model, x = attended(), torch.randn(1, 1, 16, 24, 20)

    order = groups(model, x, windows_for(model, (16, 24, 20), PATCH))

    modules = [name for group in order for name in group.modules]
    held = [p for name in modules for p in model.get_submodule(name).parameters(recurse=False)]
    assert len(modules) == len(set(modules))
    assert {id(one) for one in held} == {id(one) for one in model.parameters()}


@pytest.fixture
def image() -> Volume:
    data = np.random.default_rng(0).normal(size=(1, 12, 18, 15)).astype(np.float32)
    return Volume(data, np.diag([1.1, 0.9, 1.3, 1.0]))


@pytest.fixture
def explained(make_run: Any, image: Volume) -> tuple[Any, Volume, Any]:
    run = make_run(plan={"patch_size": (16, 24, 20), "spacing_dhw": (1.3, 0.9, 1.1)})
    return run, image, explain(run, image, 1, "hires-cam", "encoder1")


@pytest.mark.parametrize("method", sorted(METHODS))
def test_a_map_that_is_made_again_is_the_same_map(
    make_run: Any, image: Volume, method: str
) -> None:
    # A head for class activation maps, and features that are not negative, as some need.
    run = make_run(
        attention="presence", options={"activation": "relu"},
        plan={"patch_size": (8, 24, 16), "spacing_dhw": (1.3, 0.9, 1.1)},
    )  # fmt: skip
    found = explain(run, image, 1, method)
    assert found.map is not None
    prepared = prepare(run, image)
    logits = finish(prepared.logits(torch.device("cpu")))
    target = frozen_target(prepared, logits, found.info)
    one = checked_map(prepared, found.map, found.info, target)

    announced, done = one.remake_windows, 0
    steps = one.remake(run.model, prepared.x, target.region)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            again = end.value
            break
        done += 1

    assert done == announced
    assert again.stride == pytest.approx(one.heat.stride)
    assert again.offset == pytest.approx(one.heat.offset, abs=1e-9)
    np.testing.assert_allclose(again.values, one.heat.values, rtol=1e-4, atol=1e-9)


def traces(model: nn.Module) -> list[Any]:
    """Return all that a check must leave as it was."""
    hooks = [
        (len(one._forward_hooks), len(one._forward_pre_hooks), one.training)
        for one in model.modules()
    ]
    state = {name: value.clone() for name, value in model.state_dict().items()}
    grads = [p.grad is None and p.requires_grad for p in model.parameters()]
    return [hooks, state, grads, torch.get_rng_state(), np.random.get_state()[1].copy()]  # noqa: NPY002


def same(a: Any, b: Any) -> bool:
    if isinstance(a, dict):
        return all(torch.equal(a[name], b[name]) for name in a)
    if isinstance(a, (Tensor, np.ndarray)):
        return bool((a == b).all())
    return bool(a == b)


@pytest.mark.parametrize("end", ["finished", "stopped", "dropped"])
def test_a_check_leaves_no_trace(explained: Any, end: str) -> None:
    run, image, found = explained
    run.model.train()  # as a network that is being trained
    before = traces(run.model)
    seen = 0

    config = CheckConfig(measures=("localisation", "stability", "randomisation"))
    steps = check_steps(
        run, image, found.map, found.info, config=config, should_stop=lambda: stops(end, seen)
    )
    for _ in steps:
        seen += 1
        if end == "dropped" and seen > 12:
            break
    steps.close()

    assert all(map(same, before, traces(run.model)))
    run.model.eval()


def stops(end: str, seen: int) -> bool:
    return end == "stopped" and seen > 12


def test_a_check_is_recorded_with_its_verdict(explained: Any) -> None:
    run, image, found = explained

    record = check_map(run, image, found.map, found.info, config=CheckConfig())

    json.dumps(record, allow_nan=False)
    assert record["state"] == "done"
    assert set(record["measures"]) == {"road", "localisation"}
    assert record["verdict"]["word"] in ("better", "no better", "worse")
    assert 0 < record["score"] < 1


def test_the_same_seed_gives_the_same_numbers(explained: Any) -> None:
    run, image, found = explained
    config = CheckConfig(seed=3, measures=("stability", "randomisation"))

    first, second = (check_map(run, image, found.map, found.info, config=config) for _ in range(2))

    assert first["measures"] == second["measures"]


def test_a_stopped_check_keeps_what_it_measured(explained: Any) -> None:
    run, image, found = explained
    names: list[str] = []

    steps = check_steps(
        run, image, found.map, found.info,
        config=CheckConfig(measures=("localisation", "stability")),
        should_stop=lambda: bool(names),
    )  # fmt: skip
    while True:
        try:
            one = next(steps)
        except StopIteration as end:
            record = end.value
            break
        if isinstance(one, Measured):
            names.append(one.name)

    assert record["state"] == "stopped"
    assert list(record["measures"]) == names == ["localisation"]
    assert record["verdict"]["word"] == "unknown"


def test_a_map_of_other_weights_is_refused(explained: Any) -> None:
    run, image, found = explained
    info = {**found.info, "weights_sha256": "0" * 64}

    with pytest.raises(ExplainError, match="other weights"):
        check_map(run, image, found.map, info)


def test_a_map_of_another_case_is_refused(explained: Any, image: Volume) -> None:
    run, _, found = explained
    other = Volume(image.data[:, :-3], image.affine)

    with pytest.raises(GridMismatchError, match="case"):
        check_map(run, other, found.map, found.info)


def test_a_check_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="form"):
        CheckConfig(form="long")
    with pytest.raises(KeyError, match="measure"):
        CheckConfig(measures=("rood",)).names()
