from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from napari_attnseg.explanation import attention_maps, attention_steps, write_attention
from napari_attnseg.inference.predict import network_input
from napari_attnseg.io import read_volume
from napari_attnseg.models import record
from napari_attnseg.preprocessing import preprocess
from napari_attnseg.volume import Grid, Volume

SMALL = (15, 22, 20)


@pytest.fixture
def small() -> Volume:
    data = np.random.default_rng(0).normal(size=(1, *SMALL)).astype(np.float32)
    return Volume(data, np.diag([-1.0, 1.0, -1.0, 1.0]))


@pytest.mark.parametrize("attention", ["se", "cbam", "pe", "gate"])
@pytest.mark.parametrize("dims", [2, 3])
def test_in_one_window_maps_are_those_of_a_plain_forward_pass(
    make_run: Any, small: Volume, attention: str, dims: int
) -> None:
    plan = {"patch_size": (15, 24, 20), "dims": dims}
    run = make_run(backbone=f"unet{dims}d", dims=dims, attention=attention, plan=plan)
    with record(run.model) as recorded, torch.no_grad():
        run.model(network_input(preprocess(small, run.plan)))

    result = attention_maps(run, small)

    assert recorded
    for one in recorded:
        if one.name in result.volumes:
            straight = result.volumes[one.name].reoriented(run.plan.orientation).data
            assert np.allclose(straight, one.volume()[0].numpy(), atol=1e-6)
        else:
            means = result.info["numbers"][one.name]["mean"]
            assert np.allclose(means, one.numbers()[0].numpy(), atol=1e-6)


def test_maps_lie_on_the_grid_of_their_level(make_run: Any, image: Volume) -> None:
    run = make_run(attention="cbam", plan={"spacing_dhw": (1.5, 1.0, 1.2)})
    turned = image.reoriented("LPS")

    result = attention_maps(run, turned)

    network = preprocess(turned, run.plan).grid
    for name, volume in result.volumes.items():
        about = result.info["maps"][name]
        grid = run.model.layer_grid(about["layer"], network.shape_dhw)
        low = volume.grid.reoriented(run.plan.orientation)
        expected = network.strided(low.shape_dhw, grid.stride_dhw, grid.offset_dhw)
        assert expected.difference(low) is None
        assert volume.orientation == "LPS"
        assert np.array_equal(np.array(about["affine_ras"]), volume.affine)
        assert np.isfinite(volume.data).all()


def test_overlapping_windows_are_averaged_within_the_bounds(make_run: Any, image: Volume) -> None:
    run = make_run(attention="cbam")

    result = attention_maps(run, image)

    assert result.info["windows"] > 1
    for name, volume in result.volumes.items():
        low, high = result.info["maps"][name]["bounds"]
        assert low <= volume.data.min() < volume.data.max() <= high
        assert result.info["maps"][name]["range"] == [volume.data.min(), volume.data.max()]


def test_numbers_are_given_per_window_and_as_their_weighted_mean(
    make_run: Any, image: Volume
) -> None:
    run = make_run(attention="se")

    numbers = attention_maps(run, image).info["numbers"]["encoder0.se.channel"]

    windows = numbers["windows"]
    assert sum(one["weight"] for one in windows) == pytest.approx(1, abs=1e-5)
    by_hand = sum(one["weight"] * np.array(one["values"]) for one in windows)
    assert np.allclose(numbers["mean"], by_hand, atol=1e-5)
    assert len({tuple(one["start_dhw"]) for one in windows}) == len(windows)


def test_a_map_along_one_axis_is_the_same_everywhere_across_it(
    make_run: Any, small: Volume
) -> None:
    run = make_run(attention="pe", plan={"patch_size": (15, 24, 20)})

    result = attention_maps(run, small)

    flat = [v for name, v in result.volumes.items() if name.startswith("encoder0")]
    assert flat
    spreads = [
        [float(np.ptp(volume.data, axis=axis).max()) for axis in (1, 2, 3)] for volume in flat
    ]
    assert all(max(spread) == 0 or min(spread) < 1e-6 for spread in spreads)


def test_a_network_without_attention_says_so(make_run: Any, small: Volume) -> None:
    result = attention_maps(make_run(attention="none"), small)

    assert result.volumes == {}
    assert "no attention" in result.info["reason"]


def test_it_stops_between_windows(make_run: Any, image: Volume) -> None:
    run = make_run(attention="se")

    steps = attention_steps(run, image, should_stop=lambda: True)

    with pytest.raises(StopIteration) as end:
        next(steps)
    assert end.value.value is None


def test_files_are_named_after_the_module(make_run: Any, small: Volume, tmp_path: Path) -> None:
    run = make_run(attention="cbam")
    result = attention_maps(run, small)

    files, written = write_attention(tmp_path, "case7", result)

    assert written == tmp_path / "case7_attention.json"
    expected = tmp_path / "case7_attention_encoder0.cbam.spatial.nii.gz"
    assert files["encoder0.cbam.spatial"] == expected
    saved = json.loads(written.read_text())
    assert saved["maps"]["encoder0.cbam.spatial"]["file"] == expected.name
    assert "encoder0.cbam.channel" in saved["numbers"]
    back = read_volume(expected)
    assert np.array_equal(back.data, result.volumes["encoder0.cbam.spatial"].data)


def test_the_record_places_the_maps(make_run: Any, small: Volume) -> None:
    run = make_run(attention="gate")

    info = attention_maps(run, small).info

    assert json.loads(json.dumps(info)) == info
    grid = Grid(
        tuple(info["network_grid"]["shape_dhw"]), np.array(info["network_grid"]["affine_ras"])
    )
    assert grid.shape_dhw == SMALL
