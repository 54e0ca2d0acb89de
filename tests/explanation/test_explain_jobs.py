"""Jobs about maps and attention: what they write and tell, and how quick a second one is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_attnseg.explanation import explain, write_explanation
from napari_attnseg.io import read_volume, write_volume
from napari_attnseg.jobs import JOBS, Context
from napari_attnseg.jobs.inputs import JobError
from napari_attnseg.volume import Volume

ONE_WINDOW = {"patch_size": (16, 24, 20)}


@pytest.fixture
def case(tmp_path: Path) -> dict[str, Any]:
    data = np.random.default_rng(0).normal(size=(1, 12, 18, 15)).astype(np.float32)
    path = write_volume(tmp_path / "case.nii.gz", Volume(data, np.diag([-1.0, 1.0, 1.2, 1.0])))
    return {"name": "case", "images": {"MR": str(path)}}


def settings(run: Any, case: dict[str, Any], out: Path, **more: Any) -> dict[str, Any]:
    return {"run": str(run.path), "input": case, "out": str(out), **more}


def do(
    kind: str, given: dict[str, Any], context: Context | None = None
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return the events of a job, and its result."""
    events: list[dict[str, Any]] = []
    steps = JOBS[kind](given, context or Context(should_stop=lambda: False))
    while True:
        try:
            events.append(next(steps))
        except StopIteration as end:
            json.dumps([events, end.value], allow_nan=False)
            return events, end.value


def of_kind(events: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [event for event in events if event["event"] == kind]


def explained(run: Any, case: dict[str, Any], out: Path, layer: str = "encoder1") -> Path:
    image = read_volume(case["images"]["MR"])
    file, _ = write_explanation(out, "case", explain(run, image, 1, "grad-cam", layer))
    assert file is not None
    return file


def test_a_check_is_kept_beside_the_map_and_tells_each_measure(
    make_run: Any, case: dict[str, Any], tmp_path: Path
) -> None:
    run = make_run(plan=ONE_WINDOW)
    file = explained(run, case, tmp_path)

    events, result = do("check", settings(run, case, tmp_path, map=str(file)))

    record = json.loads((tmp_path / "case_grad-cam_1_encoder1_check.json").read_text())
    assert result["record"] == str(tmp_path / "case_grad-cam_1_encoder1_check.json")
    assert [event["name"] for event in of_kind(events, "measure")] == ["road", "localisation"]
    assert record["map"] == file.name
    assert record["verdict"] == result["verdict"]
    assert record["measures"].keys() == {"road", "localisation"}
    progress = of_kind(events, "progress")[1:]
    assert progress[-1]["done"] == progress[-1]["total"]
    assert progress[-1]["eta_seconds"] == 0


def test_a_stopped_check_is_kept_as_far_as_it_came(
    make_run: Any, case: dict[str, Any], tmp_path: Path
) -> None:
    run = make_run(plan=ONE_WINDOW)
    file = explained(run, case, tmp_path)
    asked = [0]

    def should_stop() -> bool:
        asked[0] += 1
        return asked[0] > 5

    given = settings(run, case, tmp_path, map=str(file), form="full")
    _, result = do("check", given, Context(should_stop=should_stop))

    assert result["state"] == "stopped"
    assert json.loads(Path(result["record"]).read_text())["verdict"]["word"] == "unknown"


def test_a_map_without_its_record_cannot_be_checked(
    make_run: Any, case: dict[str, Any], tmp_path: Path
) -> None:
    run = make_run(plan=ONE_WINDOW)
    file = explained(run, case, tmp_path)
    file.with_name("case_grad-cam_1_encoder1.json").unlink()

    with pytest.raises(JobError, match="missing"):
        do("check", settings(run, case, tmp_path, map=str(file)))


def test_the_second_click_does_not_run_the_network_again(
    make_run: Any, case: dict[str, Any], tmp_path: Path
) -> None:
    run = make_run(attention="dual-position", plan=ONE_WINDOW)
    context = Context(should_stop=lambda: False)
    loaded, calls = context.runs.load(run.path, device="auto").model, []
    loaded.register_forward_hook(lambda *_: calls.append(1))
    middle = read_volume(case["images"]["MR"]).grid.world(np.array([6.0, 9.0, 7.0]))
    given = settings(run, case, tmp_path, direction="both")

    first, result = do("attend", {**given, "at": middle.tolist()}, context)
    second, _ = do("attend", {**given, "at": (middle + 2).tolist()}, context)

    assert result["maps"] == 2
    assert len(calls) == 1
    found = [of_kind(events, "map") for events in (first, second)]
    assert [one["info"]["direction"] for one in found[0]] == ["row", "column"]
    assert found[0][0]["info"]["at"] != found[1][0]["info"]["at"]
    assert all(Path(one["path"]).exists() for events in found for one in events)


def test_a_changed_image_is_read_again(
    make_run: Any, case: dict[str, Any], tmp_path: Path
) -> None:
    run = make_run(attention="dual-position", plan=ONE_WINDOW)
    context = Context(should_stop=lambda: False)
    path = Path(case["images"]["MR"])
    image = read_volume(path)
    given = settings(run, case, tmp_path, at=image.grid.world(np.array([6.0, 9, 7])).tolist())
    (before,) = of_kind(do("attend", given, context)[0], "map")
    first = read_volume(before["path"]).data

    write_volume(path, image.replace(data=image.data[..., ::-1].copy() ** 3))
    (after,) = of_kind(do("attend", given, context)[0], "map")

    assert not np.allclose(first, read_volume(after["path"]).data)


def test_a_place_of_two_coordinates_is_refused(
    make_run: Any, case: dict[str, Any], tmp_path: Path
) -> None:
    run = make_run(attention="dual-position", plan=ONE_WINDOW)

    with pytest.raises(JobError, match="three coordinates"):
        do("attend", settings(run, case, tmp_path, at=[1.0, 2.0]))


def test_the_feature_of_a_channel_is_written_with_its_record(
    make_run: Any, case: dict[str, Any], tmp_path: Path
) -> None:
    run = make_run(attention="se", plan=ONE_WINDOW)

    given = settings(run, case, tmp_path, name="encoder1.se.channel", channel=2)
    (event,) = of_kind(do("channel", given)[0], "map")

    assert event["path"] == str(tmp_path / "case_feature_encoder1.se.channel_2.nii.gz")
    assert read_volume(event["path"]).shape_dhw == tuple(event["info"]["shape_dhw"])
    assert Path(event["info"]["record"]).exists()


def test_curves_come_with_the_event_of_recorded_attention(
    make_run: Any, case: dict[str, Any], tmp_path: Path
) -> None:
    run = make_run(attention="pam", plan=ONE_WINDOW)

    given = settings(run, case, tmp_path, target=None, attention=True)
    (event,) = of_kind(do("explain", given)[0], "map")

    record = json.loads(Path(event["info"]["record"]).read_text())
    assert event["info"]["curves"] == record["curves"]
    assert {one["name"] for one in record["curves"]} >= {"encoder0.pam.slice"}


def test_effects_are_ranked_and_written(
    make_run: Any, case: dict[str, Any], tmp_path: Path
) -> None:
    run = make_run(attention="se", plan=ONE_WINDOW)

    events, result = do("effects", settings(run, case, tmp_path))

    (event,) = of_kind(events, "effects")
    assert result["record"] == str(tmp_path / "case_effects.json")
    assert json.loads(Path(result["record"]).read_text())["sites"] == event["sites"]


def test_two_maps_of_one_case_are_compared(
    make_run: Any, case: dict[str, Any], tmp_path: Path
) -> None:
    run = make_run(plan=ONE_WINDOW)
    files = [explained(run, case, tmp_path, layer) for layer in ("encoder1", "encoder0")]

    given = {"first": str(files[0]), "second": str(files[1]), "out": str(tmp_path), "name": "a"}
    (event,) = of_kind(do("compare_maps", given)[0], "map")

    assert event["path"] == str(tmp_path / "a_difference.nii.gz")
    assert event["info"]["units"] == "scaled"
    assert read_volume(event["path"]).shape_dhw == read_volume(files[1]).shape_dhw


def test_pictures_lie_beside_their_map(
    make_run: Any, case: dict[str, Any], tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib")
    file = explained(make_run(plan=ONE_WINDOW), case, tmp_path)

    given = {"input": case, "maps": [str(file)], "png": True, "film": True}
    events, result = do("picture", given)

    names = [Path(event["path"]).name for event in of_kind(events, "file")]
    assert names == ["case_grad-cam_1_encoder1.png", "case_grad-cam_1_encoder1.gif"]
    assert all((tmp_path / name).stat().st_size > 1000 for name in names)
    assert result["files"] == 2


@pytest.mark.parametrize("kind", ["check", "effects", "channel", "picture", "compare_maps"])
def test_nothing_is_overwritten_where_that_is_not_allowed(
    make_run: Any, case: dict[str, Any], tmp_path: Path, kind: str
) -> None:
    run = make_run(attention="se", plan=ONE_WINDOW)
    file = str(explained(run, case, tmp_path))
    given = settings(
        run, case, tmp_path, map=file, maps=[file], first=file, second=file, channel=0,
        name="encoder0.se.channel", film=True, measures=["localisation"], overwrite=False,
    )  # fmt: skip
    do(kind, given)

    with pytest.raises(JobError, match="overwritten"):
        do(kind, given)
