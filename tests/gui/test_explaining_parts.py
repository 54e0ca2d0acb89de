"""The parts of the explaining panel that need no window: geometry, reading, sentences."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_attnseg.config import ModelConfig
from napari_attnseg.gui.explaining.check import bars_of, lines_of
from napari_attnseg.gui.explaining.rows import runs_of
from napari_attnseg.gui.viewer.maps import SIGNED
from napari_attnseg.gui.viewer.sampled_box import cut
from napari_attnseg.gui.viewer.slice_axis import slice_axis
from napari_attnseg.gui.widgets.effects_table import effect_cells
from napari_attnseg.gui.widgets.options_form import options_by_name
from napari_attnseg.session.attention import read_attention
from napari_attnseg.session.earlier import earlier_maps
from napari_attnseg.session.errors import INVENTED, MISSED, class_errors
from napari_attnseg.session.files import write_json
from napari_attnseg.session.run_comparison import compare_runs
from napari_attnseg.session.runs import RunInfo
from napari_attnseg.volume import Grid, Volume, display_scale

ORIENTATIONS = ["RAS", "LPS", "SRA", "PIR", "ARI", "IRP"]
EDGES = [(a, b) for a, b in itertools.combinations(range(8), 2) if (a ^ b) in (1, 2, 4)]


def box(low: tuple[float, ...], high: tuple[float, ...]) -> np.ndarray:
    return np.array(list(itertools.product(*zip(low, high, strict=True))))


def run(name: str = "001") -> RunInfo:
    return RunInfo(name, Path(name), ModelConfig(), {1: "liver", 2: "spleen"}, ("MRI",))


def grid_of(orientation: str) -> Grid:
    affine = np.diag([1.0, 1.5, 2.0, 1.0])
    affine[:3, 3] = (3, -7, 11)
    return Grid((5, 7, 9), affine).reoriented(orientation)


def test_a_plane_cuts_a_straight_box_in_its_rectangle() -> None:
    polygon = cut(box((1, 2, 3), (5, 8, 9)), EDGES, 0, 3.0)

    assert polygon is not None
    corners = {(float(y), float(x)) for _, y, x in polygon}
    assert corners == {(2, 3), (2, 9), (8, 3), (8, 9)}
    assert (polygon[:, 0] == 3).all()


def test_a_plane_beside_a_box_cuts_nothing() -> None:
    assert cut(box((1, 2, 3), (5, 8, 9)), EDGES, 0, 5.5) is None


def test_the_cut_of_a_turned_box_is_convex_and_has_its_area() -> None:
    corners = box((-1, -1, -1), (1, 1, 1))
    angle = np.pi / 4
    turn = np.array(
        [[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]]
    )
    polygon = cut(corners @ turn.T, EDGES, 0, 0.25)

    assert polygon is not None
    y, x = polygon[:, 1], polygon[:, 2]
    area = 0.5 * abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1)))
    assert len(polygon) == 4
    assert np.isclose(area, 4)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_steps_of_the_slider_and_its_letters_follow_the_patient(
    orientation: str, axis: int
) -> None:
    grid = grid_of(orientation)
    found = slice_axis(grid, axis)

    # The slider counts upwards in the viewer's world, where display_scale puts each voxel.
    world = np.arange(grid.shape_dhw[axis]) * display_scale(grid)[axis]
    order = np.argsort(world)
    assert [round(found.step(index)) for index in order] == list(range(found.steps))
    first, last = np.zeros(3), np.zeros(3)
    first[axis], last[axis] = order[0], order[-1]
    moved = grid.world(last) - grid.world(first)
    way = int(np.abs(moved).argmax())
    assert found.ends[1] == (("L", "P", "I"), ("R", "A", "S"))[int(moved[way] > 0)][way]


def test_a_faint_signed_value_keeps_the_hue_of_its_side() -> None:
    against, zero, speaks = SIGNED.map(np.array([0.47, 0.5, 0.53]))

    assert against[2] > against[1]
    assert speaks[1] > speaks[2]
    assert zero[3] < 0.1
    assert min(against[3], speaks[3]) > 0.1


def test_errors_are_what_is_in_one_mask_only_and_their_millilitres() -> None:
    affine = np.diag([2.0, 2.0, 2.5, 1.0])
    predicted, real = (np.zeros((1, 3, 4, 5), dtype=np.uint8) for _ in range(2))
    predicted[0, 0, 0, :3] = 1
    real[0, 0, 0, 2:] = 1
    real[0, 1] = 2
    found = class_errors(Volume(predicted, affine), Volume(real, affine), 1)

    assert found.values[0, 0].tolist() == [INVENTED, INVENTED, 0, MISSED, MISSED]
    assert found.values[1:].max() == 0
    assert np.isclose(found.missed_ml, 0.02)
    assert np.isclose(found.invented_ml, 0.02)


def test_every_kind_of_recorded_attention_is_read(tmp_path: Path) -> None:
    curve = {
        "name": "encoder0.pam.slice",
        "kind": "slice",
        "axis": 1,
        "image_slice": [0.5, 2.5],
        "mean": [0.2, 0.4],
        "low": [0.1, 0.3],
        "high": [0.3, 0.5],
        "bounds": [0, 1],
        "key": [False, True],
        "key_share": [0.1, 0.9],
    }
    sampled = {
        "name": "encoder0.stn.transform",
        "weight": 1.0,
        "corners_ras": box((0, 0, 0), (1, 1, 1)).tolist(),
        "edges": EDGES,
        "whole_ras": box((0, 0, 0), (2, 2, 2)).tolist(),
        "translation_mm": [1, 0, 0],
        "rotation_degrees": 5,
        "scale": 0.9,
    }
    numbers = {
        "encoder0.se.channel": {"kind": "channel", "mean": [0.1, 0.9]},
        "encoder0.split.radix": {"kind": "radix", "mean": [[0.3, 0.4], [0.7, 0.6]]},
        "encoder0.pam.slice": {"kind": "slice", "path": "x.nii.gz", "bounds": [0, 1]},
        "encoder0.stn.transform": {"kind": "transform", "mean": [[1, 0, 0, 0]]},
    }
    info = {
        "kind": "attention",
        "numbers": numbers,
        "curves": [curve],
        "boxes": [{**sampled, "weight": 0.2}, sampled],
        "on_demand": ["bottleneck.dual-position.position"],
    }

    view = read_attention(run(), "case", {"event": "map", "path": None, "info": info})

    items = {item.kind: item for item in view.items}
    assert set(items) == {"channel", "radix", "slice", "transform", "position"}
    assert items["channel"].values == (0.1, 0.9)
    assert items["radix"].rows == ((0.3, 0.4), (0.7, 0.6))
    found = items["slice"].curve
    assert found is not None
    assert (found.axis, found.keys, found.places) == (1, (False, True), (0.5, 2.5))
    assert items["transform"].boxes[0].words == "moved 1 0 0 mm, turned 5°, scaled 0.9"
    assert items["position"].name == "bottleneck.dual-position.position"


def test_runs_of_neighbouring_slices_are_joined() -> None:
    assert runs_of([3, 14, 15, 16, 20]) == "3, 14–16, 20"


def test_options_are_read_in_either_form() -> None:
    listed = [{"name": "window", "default": 4}]

    assert options_by_name(listed) == {"window": {"name": "window", "default": 4}}
    assert options_by_name({"window": {"default": 4}}) == {"window": {"default": 4}}
    assert options_by_name(None) == {}


def test_an_effect_names_its_module_and_the_class_it_changes_most() -> None:
    site: dict[str, Any] = {
        "site": "encoder0",
        "layer": "encoder0",
        "attention": "se",
        "effect": 0.031,
        "with_mean": {"dice": 0.97, "delta": {"1": -0.01, "2": -0.031}},
        "gate": {"mean": 0.5, "std": 0.1, "entropy": 0.6},
        "sentence": "",
    }

    texts = [cell.text for cell in effect_cells(site, {1: "liver", 2: "spleen"})]

    assert texts == ["encoder 0 · se", "0.031", "-0.031", "0.970", "0.50"]


def test_bars_and_lines_tell_the_map_from_its_references_without_colour() -> None:
    rows = [{"name": "map", "value": -0.2}, {"name": "random", "value": None}]
    points = {"x": [0, 1], "y": [1.0, 0.2]}
    curves = [{"row": row, **points} for row in ("map", "map", "oracle")]

    assert [bar.name for bar in bars_of(rows)] == ["this map"]
    first, second, oracle = lines_of(curves)
    assert (first.is_dashed, second.is_dashed, oracle.is_dashed) == (False, True, False)
    assert first.width > oracle.width


def test_earlier_maps_are_those_of_the_case_alone(tmp_path: Path) -> None:
    for stem, case in (("case_1", "case_1"), ("case_1_b", "case_1_b")):
        file = tmp_path / f"{stem}_hires-cam_1_decoder0.nii.gz"
        file.touch()
        info = {"method": "hires-cam", "class": 1, "layer": "decoder0", "map": file.name}
        write_json(tmp_path / f"{case}_hires-cam_1_decoder0.json", info)

    (found,) = earlier_maps(tmp_path, "case_1", run(), {"hires-cam": "HiResCAM"})

    assert found.path.name == "case_1_hires-cam_1_decoder0.nii.gz"
    assert found.title == "HiResCAM · liver (the whole structure) · decoder 0"


def test_two_runs_are_compared_case_by_case_with_a_paired_test() -> None:
    mine = {f"c{n}": {1: 0.8 + 0.01 * n, 2: None} for n in range(8)}
    theirs = {f"c{n}": {1: 0.7 + 0.005 * n, 2: 0.5} for n in range(1, 8)}

    found = compare_runs(run("002"), mine, run("001"), theirs)

    assert found.missing == ("c0",)
    assert found.mean("c4") == pytest.approx(0.12)
    assert found.p == pytest.approx(2 / 2**7)
    assert "better in 7 of 7 cases" in found.words()
    assert "hardly by chance" in found.words()


def test_a_run_without_scores_says_what_to_do() -> None:
    found = compare_runs(run("002"), {"c": {1: 0.5}}, run("001"), {})

    assert "no scores for these cases yet" in found.words()


def test_few_cases_are_not_called_significant() -> None:
    cases = {f"c{n}": {1: 0.9 + 0.01 * n} for n in range(3)}
    found = compare_runs(run("2"), cases, run("1"), {name: {1: 0.1} for name in cases})

    assert "Too few cases" in found.words()
