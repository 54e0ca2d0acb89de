"""What can be seen of attention beyond maps: rows, features, curves, boxes and effects."""

from __future__ import annotations

import copy
import json
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from napari_attnseg.config import ModelConfig
from napari_attnseg.explanation import ExplainError, attention_maps
from napari_attnseg.explanation.attend import attended, glance, window_of
from napari_attnseg.explanation.boxes import box
from napari_attnseg.explanation.effects import effect_steps, effects
from napari_attnseg.explanation.features import feature_steps
from napari_attnseg.explanation.prepared import Prepared, prepare
from napari_attnseg.inference.sliding import sliding_window
from napari_attnseg.models import ModelError, build_model, check_pair, record
from napari_attnseg.models.attention import ATTENTION
from napari_attnseg.models.recording import RecordedMap
from napari_attnseg.models.sites import AttentionSite
from napari_attnseg.models.slice_weights import key_slices
from napari_attnseg.volume import Grid, Volume

OBLIQUE = np.array(
    [[0.9, 0.3, -0.1, 7.0], [-0.3, 0.95, -0.2, -3.0], [0.2, 0.1, 1.1, 11.0], [0, 0, 0, 1]]
)
ONE_WINDOW = {"patch_size": (16, 24, 20), "spacing_dhw": (1.1, 1.0, 1.0)}


@pytest.fixture
def small() -> Volume:
    data = np.random.default_rng(0).normal(size=(1, 13, 18, 15)).astype(np.float32)
    return Volume(data, OBLIQUE).reoriented("PIL")


def finish(steps: Any) -> Any:
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def awake(run: Any) -> Any:
    """Let attention that starts as the identity do something."""
    with torch.no_grad():
        for name, parameter in run.model.named_parameters():
            if name.endswith("gain") or ".module.norm" in name:
                parameter.fill_(0.7)
    return run


def recorded_of(prepared: Prepared) -> list[RecordedMap]:
    with record(prepared.run.model) as recorded, torch.no_grad():
        prepared.run.model(prepared.x)
    return recorded


def dense(one: RecordedMap) -> np.ndarray:
    """Return the whole attention matrix of a map, a row a query, the slow way."""
    query, key = (t[0].flatten(1).double().numpy() for t in (one.tensor, one.key))
    energy = query.T @ key
    if one.dims == 2:
        slices = np.repeat(np.arange(one.tensor.shape[2]), one.tensor[0, 0, 0].numel())
        others = np.repeat(np.arange(one.key.shape[2]), one.key[0, 0, 0].numel())
        energy[slices[:, None] != others] = -np.inf
    weights = np.exp(energy - energy.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize(
    ("attention", "options"),
    [("dual-position", {}), ("nonlocal", {}), ("dual-position", {"max_tokens": 20})],
)
def test_rows_and_columns_are_those_of_the_whole_matrix(
    make_run: Any, small: Volume, attention: str, dims: int, options: dict[str, Any]
) -> None:
    run = make_run(
        backbone=f"unet{dims}d", dims=dims, attention=attention, sites=("encoder:1",),
        attention_options=options, plan={**ONE_WINDOW, "dims": dims},
    )  # fmt: skip
    prepared = prepare(awake(run), small)
    (one,) = recorded_of(prepared)
    whole, at = dense(one), small.grid.world(np.array([6.2, 9.4, 3.3]))

    seen = glance(prepared, window_of(prepared, at))
    row = attended(prepared, seen, at, None, "row")
    column = attended(prepared, seen, at, one.name, "column")

    sizes = [tuple(t.shape[2:]) for t in (one.tensor, one.key)]
    layer = run.model.layer_grid(one.layer, prepared.plan.window)
    queries = prepared.grid.strided(sizes[0], layer.stride_dhw, layer.offset_dhw)
    grids = [queries, queries.resized(sizes[1])]
    indices = [nearest_cell(grid, at) for grid in grids]
    for found, values, grid in ((row, whole[indices[0]], grids[1]),
                                (column, whole[:, indices[1]], grids[0])):  # fmt: skip
        straight = found.map.parallel_to(grid)
        assert grid.difference(straight.grid) is None
        np.testing.assert_allclose(straight.data.reshape(-1), values, rtol=1e-4, atol=1e-8)
    assert row.map.data.sum() == pytest.approx(1.0, abs=1e-5)
    json.dumps([row.info, column.info], allow_nan=False)


def nearest_cell(grid: Grid, at: np.ndarray) -> int:
    cells = np.stack(np.meshgrid(*map(np.arange, grid.shape_dhw), indexing="ij"), -1)
    # Along the axes of the grid, as cells are boxes there.
    apart = np.abs(cells - grid.voxel(at)).reshape(-1, 3)
    return int(np.argmin((apart * np.array([1e3, 1.0, 1e-3])).sum(axis=1)))


def test_the_numbers_of_a_row_are_those_of_a_plain_loop(make_run: Any, small: Volume) -> None:
    run = awake(make_run(attention="dual-position", plan=ONE_WINDOW))
    prepared = prepare(run, small)
    at = small.grid.world(np.array([6.0, 9.0, 7.0]))
    seen = glance(prepared, window_of(prepared, at))

    found = attended(prepared, seen, at, None, "row")

    info, values = found.info, found.map.data[0].astype(np.float64)
    places, here = found.map.grid, np.array(info["voxel_ras"])
    distance = entropy = 0.0
    for cell in np.ndindex(values.shape):
        weight = values[cell]
        distance += weight * float(np.linalg.norm(places.world(np.array(cell)) - here))
        entropy -= weight * float(np.log(weight))
    assert info["mean_distance_mm"] == pytest.approx(distance, rel=1e-5)
    assert info["entropy"] == pytest.approx(entropy / np.log(values.size), rel=1e-5)
    assert info["effective_cells"] == pytest.approx(np.exp(entropy), rel=1e-5)
    assert 0 <= info["same_class_share"] <= 1
    assert not info["unused"]


def test_mass_within_a_class_counts_the_voxels_of_that_class(make_run: Any, small: Volume) -> None:
    run = awake(make_run(attention="dual-position", plan=ONE_WINDOW))
    with torch.no_grad():
        run.model.head.bias.copy_(torch.tensor([0.0, 50.0, 0.0]))
    prepared = prepare(run, small)
    at = small.grid.world(np.array([6.0, 9.0, 7.0]))

    found = attended(prepared, glance(prepared, window_of(prepared, at)), at, None, "row").info

    assert (found["class"], found["class_name"]) == (1, "liver")
    assert found["even_share"] == pytest.approx(1.0)
    assert found["same_class_share"] == pytest.approx(1.0, abs=1e-5)


def test_attention_that_changes_nothing_is_called_unused(make_run: Any, small: Volume) -> None:
    run = make_run(attention="dual-position", plan=ONE_WINDOW)  # its gain starts at 0
    prepared = prepare(run, small)
    at = small.grid.world(np.array([6.0, 9.0, 7.0]))

    found = attended(prepared, glance(prepared, window_of(prepared, at)), at, None, "row").info

    assert found["unused"]
    assert "hardly used" in found["remarks"][0]


def test_of_several_windows_the_one_around_the_place_answers(make_run: Any, image: Volume) -> None:
    prepared = prepare(make_run(attention="dual-position"), image)

    for voxel in ([1.0, 2.0, 3.0], [20.0, 32.0, 25.0], [11.0, 17.0, 13.0]):
        at = image.grid.world(np.array(voxel))
        start = np.array(window_of(prepared, at))
        inside = prepared.grid.voxel(at) - start
        assert len(prepared.plan) > 1
        assert (inside > -0.51).all()
        assert (inside < np.array(prepared.plan.window)).all()


def test_a_place_outside_the_image_is_refused(make_run: Any, small: Volume) -> None:
    prepared = prepare(make_run(attention="dual-position", plan=ONE_WINDOW), small)

    with pytest.raises(ExplainError, match="outside"):
        window_of(prepared, small.grid.world(np.array([-2.0, 0.0, 0.0])))


def test_without_position_attention_nothing_attends(make_run: Any, small: Volume) -> None:
    prepared = prepare(make_run(attention="se", plan=ONE_WINDOW), small)
    seen = glance(prepared, (0, 0, 0))

    with pytest.raises(ExplainError, match="no attention between positions"):
        attended(prepared, seen, small.grid.world(np.zeros(3)), None, "row")


def entering(prepared: Prepared, name: str) -> Tensor:
    """Return what enters an attention module, ``(C, d, h, w)``."""
    found = []
    sites = [one for one in prepared.run.model.modules() if isinstance(one, AttentionSite)]
    (site,) = [one for one in sites if one.name == name]
    handle = site.register_forward_pre_hook(lambda _, args: found.append(args[0]))
    with torch.no_grad():
        prepared.run.model(prepared.x)
    handle.remove()
    return prepared.run.model.unfold(found[0], 1)[0]


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("attention", ["se", "cbam", "dual-channel"])
def test_a_feature_is_what_its_gate_lets_pass(
    make_run: Any, small: Volume, attention: str, dims: int
) -> None:
    run = make_run(
        backbone=f"unet{dims}d", dims=dims, attention=attention, sites=("encoder:1",),
        plan={**ONE_WINDOW, "dims": dims},
    )  # fmt: skip
    prepared = prepare(run, small)
    one = next(m for m in recorded_of(prepared) if m.kind in ("channel", "affinity"))
    x = entering(prepared, "encoder1")
    if one.kind == "channel":
        expected = x[3] * one.tensor[0, 3]
    elif dims == 3:
        expected = sum(one.tensor[0, 3, j] * x[j] for j in range(len(x)))
    else:
        expected = sum(one.tensor[0, :, 3, j, None, None] * x[j] for j in range(len(x)))

    found = finish(feature_steps(prepared, one.name, 3))

    straight = found.map.parallel_to(prepared.grid)
    np.testing.assert_allclose(straight.data[0], expected.numpy(), atol=1e-5)
    assert found.info["range"] == [straight.data.min(), straight.data.max()]


def test_a_channel_or_map_that_is_not_there_is_refused(make_run: Any, small: Volume) -> None:
    prepared = prepare(make_run(attention="se", plan=ONE_WINDOW), small)

    with pytest.raises(ExplainError, match="999 was asked"):
        finish(feature_steps(prepared, "encoder0.se.channel", 999))
    with pytest.raises(ExplainError, match=r"encoder0\.se\.channel"):
        finish(feature_steps(prepared, "encoder0.se.other", 0))
    with pytest.raises(ExplainError, match="no attention at 'skip9'"):
        finish(feature_steps(prepared, "skip9.se.channel", 0))


def test_what_is_refused_leaves_no_trace(make_run: Any, small: Volume) -> None:
    run = make_run(attention="se", plan=ONE_WINDOW)
    run.model.train()
    prepared = prepare(run, small)

    with pytest.raises(ExplainError):
        finish(feature_steps(prepared, "encoder0.se.channel", 999))
    steps = effect_steps(prepared)
    next(steps)
    steps.close()

    assert hooks(run.model) == 0
    assert all(module.training for module in run.model.modules())


@pytest.mark.parametrize("attention", ["slice", "pam", "pe", "coord"])
@pytest.mark.parametrize("dims", [2, 3])
def test_curves_are_the_maps_themselves_at_the_slices_that_they_name(
    make_run: Any, attention: str, dims: int
) -> None:
    data = np.random.default_rng(0).normal(size=(1, 14, 27, 22)).astype(np.float32)
    image = Volume(data, OBLIQUE).reoriented("PIL")
    run = make_run(
        backbone=f"unet{dims}d", dims=dims, attention=attention, sites=("encoder", "bottleneck"),
        plan={"spacing_dhw": (1.3, 1.0, 0.9), "dims": dims},
    )  # fmt: skip

    result = attention_maps(run, image)

    assert result.info["windows"] > 1
    assert result.info["curves"]
    for one in result.info["curves"]:
        volume, axis = result.volumes[one["name"]], one["axis"]
        world = np.array(one["world_ras"])
        others = tuple(1 + other for other in range(3) if other != axis)
        planes = volume.data.mean(axis=others)[0]
        at = np.rint(volume.grid.voxel(world)[:, axis]).astype(int)
        np.testing.assert_allclose(one["mean"], planes[at], atol=1e-6)
        np.testing.assert_allclose(image.grid.voxel(world)[:, axis], one["image_slice"], atol=1e-6)
        assert all(a <= b for a, b in zip(one["low"], one["high"], strict=True))
        assert one["ends"][1] == image.orientation[::-1][axis]
        assert -0.5 <= min(one["image_slice"]) <= max(one["image_slice"]) <= image.shape_dhw[axis]


def test_key_slices_are_those_that_most_channels_chose(make_run: Any, small: Volume) -> None:
    run = make_run(attention="pam", sites=("encoder:0",), plan=ONE_WINDOW)
    prepared = prepare(run, small)
    weights = next(m for m in recorded_of(prepared) if m.name == "encoder0.pam.slice").tensor
    chosen = key_slices(weights[..., 0, 0])[0].float().mean(dim=0)

    (one,) = attention_maps(run, small).info["curves"]

    # The network also sees slices that it pads; no slice of the image stands for them.
    assert prepared.grid.shape_dhw[0] == len(one["key_share"]) < len(chosen)
    np.testing.assert_allclose(one["key_share"], chosen[: len(one["key_share"])], atol=1e-6)
    assert one["key"] == [share >= 0.5 for share in one["key_share"]]
    assert any(one["key"])


def moved_network(dims: int) -> Any:
    torch.manual_seed(0)
    config = ModelConfig(f"unet{dims}d", "stn", dims=dims, in_channels=3, preset="tiny")
    model = build_model(config).eval()
    with torch.no_grad():
        model.entrance.module.out.bias.copy_(0.2 * torch.randn(dims * (dims + 1)))
    return model


@pytest.mark.parametrize("dims", [2, 3])
def test_the_box_lies_where_the_transformer_takes_its_voxels_from(dims: int) -> None:
    grid, start = Grid((40, 40, 40), OBLIQUE), (4, 8, 12)
    model, size = moved_network(dims), (8, 16, 24)
    voxels = np.stack(np.meshgrid(*map(np.arange, size), indexing="ij"), -1) + np.array(start)
    places = torch.from_numpy(grid.world(voxels)).float().permute(3, 0, 1, 2)[None]

    with record(model) as recorded, torch.no_grad():
        model(places)
        seen = model.unfold(model.entrance(model.fold(places))[0], 1)[0].permute(1, 2, 3, 0)

    (one,) = [m for m in recorded if m.kind == "transform"][:1]
    found = box(one, grid, start, (0, 0, 0))
    corners = np.array(found["corners_ras"]).reshape(2, 2, 2, 3)
    for voxel in ((3, 7, 11), (4, 8, 12), (4, 6, 13)):
        part = (np.array(voxel) + 0.5) / np.array(size)
        share = [np.array([1 - p, p]) for p in part]
        expected = np.einsum("a,b,c,abcx->x", *share, corners)
        np.testing.assert_allclose(seen[voxel].numpy(), expected, atol=2e-3)


def test_a_transformer_that_does_nothing_looks_at_the_whole(make_run: Any, small: Volume) -> None:
    run = make_run(attention="stn", plan=ONE_WINDOW)

    (one,) = attention_maps(run, small).info["boxes"]

    np.testing.assert_allclose(one["corners_ras"], one["whole_ras"], atol=1e-4)
    assert one["rotation_degrees"] == pytest.approx(0.0, abs=0.05)
    np.testing.assert_allclose(one["scale"], 1.0, atol=1e-5)
    assert len(one["edges"]) == 12


def three_dimensional() -> list[str]:
    found = []
    for name in sorted(ATTENTION):
        try:
            check_pair(ModelConfig("unet3d", name))
        except ModelError:
            continue
        found.append(name)
    return found


def hooks(model: nn.Module) -> int:
    return sum(len(one._forward_hooks) + len(one._forward_pre_hooks) for one in model.modules())


@pytest.mark.parametrize("attention", three_dimensional())
def test_every_module_gets_its_effect_and_stays_as_it_was(
    make_run: Any, small: Volume, attention: str
) -> None:
    run = awake(make_run(attention=attention, plan=ONE_WINDOW))
    before = copy.deepcopy(run.model.state_dict())

    found = effects(run, small)

    json.dumps(found, allow_nan=False)
    assert hooks(run.model) == 0
    assert all(torch.equal(value, before[k]) for k, value in run.model.state_dict().items())
    ranks = [one["effect"] for one in found["sites"]]
    assert ranks == sorted(ranks, reverse=True)
    assert (found["reason"] is None) == (attention != "none")
    # Weights that differ must make a difference, in whichever way a module uses them.
    told_apart = [one for one in found["sites"] if (one["gate"] or {}).get("std", 0) > 1e-3]
    assert all(one["with_mean"]["score"] > 0 for one in told_apart)


def test_identity_in_its_place_is_the_network_without_the_module(
    make_run: Any, small: Volume
) -> None:
    run = make_run(attention="se", plan=ONE_WINDOW)
    prepared = prepare(run, small)
    logits = finish(sliding_window(run.model, prepared.x, (16, 24, 20)))
    found = {one["site"]: one for one in effects(run, small)["sites"]}

    for name in ("encoder0", "bottleneck"):
        other = copy.deepcopy(run.model)
        site = next(m for m in other.modules() if isinstance(m, AttentionSite) and m.name == name)
        site.module = None
        changed = finish(sliding_window(other, prepared.x, (16, 24, 20)))
        labels, now = logits.argmax(dim=0), changed.argmax(dim=0)
        for value in (1, 2):
            mask = labels == value
            if not mask.any():
                continue
            delta = changed.softmax(0)[value][mask].mean() - logits.softmax(0)[value][mask].mean()
            assert found[name]["with_identity"]["delta"][str(value)] == pytest.approx(
                float(delta), abs=1e-5
            )
        dices = [
            2
            * float(((labels == v) & (now == v)).sum() / ((labels == v).sum() + (now == v).sum()))
            for v in (1, 2)
            if (labels == v).any() or (now == v).any()
        ]
        assert found[name]["with_identity"]["dice"] == pytest.approx(np.mean(dices), abs=1e-5)


def test_equal_gates_have_no_effect(make_run: Any, small: Volume) -> None:
    run = make_run(attention="se", plan=ONE_WINDOW)
    with torch.no_grad():
        for name, parameter in run.model.named_parameters():
            if "excite" in name:
                parameter.zero_()

    found = effects(run, small)["sites"]

    for one in found:
        assert one["gate"] == pytest.approx({"mean": 0.5, "std": 0.0, "entropy": 1.0})
        assert one["relative_change"] == pytest.approx(0.5)
        assert one["effect"] == pytest.approx(0.0, abs=1e-6)
        assert one["unused"]
        assert "alike (0.500)" in one["sentence"]
