from __future__ import annotations

import json
import math
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from napari_attnseg.config import TrainConfig
from napari_attnseg.inference.predict import predict
from napari_attnseg.inference.run import load_run
from napari_attnseg.io import write_volume
from napari_attnseg.losses import LOSSES
from napari_attnseg.preprocessing import Plan
from napari_attnseg.training import FitTask, TrainingCase, TrainingError, fit
from napari_attnseg.training.batches import Batch
from napari_attnseg.training.reports import StepReport, ValidationReport, WarningReport
from napari_attnseg.training.setup import make_learner

MakeTask = Callable[..., FitTask]
Finish = Callable[[Generator[Any, None, Any]], tuple[list[Any], Any]]


def texts(reports: list[object]) -> list[str]:
    return [one.text for one in reports if isinstance(one, WarningReport)]


def test_a_network_learns_two_blocks(make_task: MakeTask, finish: Finish) -> None:
    train = TrainConfig(epochs=40, learning_rate=1e-2, validate_every=10)

    reports, result = finish(fit(make_task(train=train)))

    losses = [one.loss for one in reports if isinstance(one, StepReport)]
    assert np.mean(losses[-10:]) < 0.6 * np.mean(losses[:5])
    means = next(one for one in reversed(reports) if isinstance(one, ValidationReport)).mean
    assert min(means.values()) > 0.6
    assert result.state == "done"


def test_every_file_of_a_run_is_there(make_task: MakeTask, finish: Finish) -> None:
    task = make_task()

    finish(fit(task))

    names = {path.name for path in task.run_dir.iterdir()}
    assert names == {
        "config.json", "plan.json", "metrics.jsonl", "weights.safetensors", "last.safetensors",
        "resume.pt", "result.json", "log.txt", "model_card.md", "preview.npz",
    }  # fmt: skip
    assert str(task.run_dir.parent.parent) not in (task.run_dir / "model_card.md").read_text()
    assert str(task.run_dir.parent.parent) not in (task.run_dir / "config.json").read_text()


def test_the_result_is_the_dice_of_predictions_on_the_native_grid(
    make_task: MakeTask, finish: Finish
) -> None:
    task = make_task()

    finish(fit(task))

    written = json.loads((task.run_dir / "result.json").read_text())
    run = load_run(task.run_dir)
    for case in task.validation:
        mask = predict(run, case.read_image()).data[0]
        truth = case.read_label().data[0]
        for value in (1, 2):
            found, wanted = mask == value, truth == value
            dice = 2 * (found & wanted).sum() / (found.sum() + wanted.sum())
            assert written["validation"]["cases"][case.name][str(value)] == pytest.approx(dice)
    assert written["state"] == "done"
    assert set(written["validation"]["mean"]) == {"1", "2"}


def test_every_report_is_a_json_event(make_task: MakeTask, finish: Finish) -> None:
    reports, result = finish(fit(make_task()))

    events = [json.loads(json.dumps(one.to_event(), allow_nan=False)) for one in reports]

    kinds = {event["event"] for event in events}
    assert kinds == {"progress", "step", "validation", "preview", "checkpoint"}
    assert result.to_event()["event"] == "result"
    steps = [event for event in events if event["event"] == "step"]
    assert steps[-1]["progress"] == 1
    assert steps[-1]["eta_seconds"] == 0


def test_the_preview_shows_a_slice_with_label_and_prediction(
    make_task: MakeTask, finish: Finish
) -> None:
    task = make_task()

    finish(fit(task))

    with np.load(task.run_dir / "preview.npz") as preview:
        assert preview["image"].shape == preview["label"].shape == preview["prediction"].shape
        assert preview["label"].any()


def test_stopped_after_a_step_it_keeps_what_was_reached(make_task: MakeTask) -> None:
    task = make_task(train=TrainConfig(epochs=50))
    made: list[int] = []
    steps = fit(task, lambda: len(made) >= 3)

    while True:
        try:
            report = next(steps)
        except StopIteration as end:
            result = end.value
            break
        if isinstance(report, StepReport):
            made.append(report.step)

    assert result.state == "stopped"
    assert result.steps == 3
    assert json.loads((task.run_dir / "result.json").read_text())["state"] == "stopped"
    assert load_run(task.run_dir).id == "001"


def test_stopped_and_resumed_ends_as_if_nothing_had_happened(
    make_task: MakeTask, tmp_path: Path, finish: Finish
) -> None:
    train = TrainConfig(epochs=4, seed=3)
    whole = make_task(train=train, run_dir=tmp_path / "whole")
    parts = make_task(train=train, run_dir=tmp_path / "parts")
    finish(fit(whole))

    for stop_at in (3, 6, 100):
        asked = iter(range(1000))
        finish(fit(parts, lambda asked=asked, stop_at=stop_at: next(asked) > stop_at + 8))

    for name in ("weights.safetensors", "last.safetensors"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "parts" / name).read_bytes()
    whole_result, parts_result = (
        json.loads((tmp_path / name / "result.json").read_text()) for name in ("whole", "parts")
    )
    assert whole_result["validation"] == parts_result["validation"]


def test_another_seed_ends_elsewhere(make_task: MakeTask, tmp_path: Path, finish: Finish) -> None:
    for seed in (0, 1):
        train = TrainConfig(epochs=1, seed=seed)
        finish(fit(make_task(train=train, run_dir=tmp_path / str(seed))))

    assert (tmp_path / "0/last.safetensors").read_bytes() != (
        tmp_path / "1/last.safetensors"
    ).read_bytes()


def test_the_time_budget_ends_it(make_task: MakeTask, finish: Finish) -> None:
    _, result = finish(fit(make_task(train=TrainConfig(minutes=0.05))))

    assert result.state == "done"
    assert 3.0 <= result.seconds < 6.0


def test_early_stopping_ends_it(make_task: MakeTask, finish: Finish) -> None:
    train = TrainConfig(epochs=100, learning_rate=1e-8, validate_every=1, patience=2)

    reports, result = finish(fit(make_task(train=train)))

    assert result.state == "done"
    assert result.epochs < 10
    assert sum(isinstance(one, ValidationReport) for one in reports) < 10


def test_a_case_without_a_label_is_left_out_with_a_warning(
    make_task: MakeTask, made_cases: list[TrainingCase], finish: Finish
) -> None:
    bare = TrainingCase("bare", made_cases[0].images, None)

    reports, result = finish(fit(make_task(cases=[*made_cases[1:3], bare])))

    assert "The case bare has no label; it is not learned from." in texts(reports)
    assert result.state == "done"


def test_a_class_that_never_occurs_is_warned_of(make_task: MakeTask, finish: Finish) -> None:
    classes = {1: "bright", 2: "dark", 7: "lesion"}
    task = make_task(classes=classes)
    task = make_task(classes=classes, model=task.model.replace(out_channels=4))

    reports, result = finish(fit(task))

    assert any("The class lesion occurs in no training case" in text for text in texts(reports))
    assert result.state == "done"


def test_one_case_only_trains_without_validation(
    make_task: MakeTask, made_cases: list[TrainingCase], finish: Finish
) -> None:
    task = make_task(cases=made_cases[:1], validation=[])

    reports, result = finish(fit(task))

    assert any("no validation case" in text for text in texts(reports))
    assert result.validation == {}
    best, last = (load_file(task.run_dir / f"{name}.safetensors") for name in ("weights", "last"))
    assert all(torch.equal(best[name], last[name]) for name in last)


def test_a_validation_case_is_never_learned_from(
    make_task: MakeTask, made_cases: list[TrainingCase]
) -> None:
    with pytest.raises(TrainingError, match="case_04 is a validation case"):
        make_task(cases=made_cases)


def test_nothing_labelled_is_refused(make_task: MakeTask, made_cases: list[TrainingCase]) -> None:
    bare = TrainingCase("bare", made_cases[0].images, None)

    with pytest.raises(TrainingError, match="no labelled case"):
        make_task(cases=[bare], validation=[])


def test_a_label_of_another_image_is_refused_by_name(
    make_task: MakeTask, made_cases: list[TrainingCase], tmp_path: Path, finish: Finish
) -> None:
    from napari_attnseg.io import write_volume
    from napari_attnseg.volume import Volume

    wrong = tmp_path / "wrong.nii.gz"
    write_volume(wrong, Volume(np.zeros((1, 5, 6, 7), dtype=np.uint8), np.eye(4)))
    case = TrainingCase("odd", made_cases[0].images, wrong)

    with pytest.raises(TrainingError, match=r"odd cannot be used: .* different grids"):
        finish(fit(make_task(cases=[case])))


def test_a_loss_that_is_not_finite_once_is_skipped(
    make_task: MakeTask, monkeypatch: pytest.MonkeyPatch, finish: Finish
) -> None:
    broken_at = {3}
    calls = make_loss_fail(monkeypatch, broken_at)

    reports, result = finish(fit(make_task(train=TrainConfig(epochs=3))))

    assert calls
    assert any("is skipped" in text for text in texts(reports))
    assert result.state == "done"


def test_a_loss_that_stays_broken_lowers_the_rate_and_then_ends_in_a_sentence(
    make_task: MakeTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = make_task(train=TrainConfig(epochs=30))
    make_loss_fail(monkeypatch, set(range(1000)))

    with pytest.raises(TrainingError, match="The loss is not finite"):
        list(fit(task))

    weights = load_file(task.run_dir / "last.safetensors")
    assert all(torch.isfinite(one).all() for one in weights.values())
    assert "Ended by an error" in (task.run_dir / "log.txt").read_text()


def make_loss_fail(monkeypatch: pytest.MonkeyPatch, broken: set[int]) -> list[int]:
    calls: list[int] = []
    usual = LOSSES["dice-ce"]

    def loss(logits: torch.Tensor, target: torch.Tensor, **settings: int) -> torch.Tensor:
        calls.append(len(calls))
        value = usual(logits, target, **settings)
        return value * math.nan if calls[-1] in broken else value

    monkeypatch.setitem(LOSSES._parts, "dice-ce", loss)
    return calls


def test_out_of_memory_lowers_the_batch_then_the_patch_then_ends_in_a_sentence(
    make_task: MakeTask, monkeypatch: pytest.MonkeyPatch, small_plan: Callable[..., Plan]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr("napari_attnseg.training.learner.Learner.step", fail)
    task = make_task(plan=small_plan(patch_size=(8, 8, 8), batch_size=4))
    reports: list[object] = []
    steps = fit(task)

    with pytest.raises(TrainingError, match="not enough memory"):
        reports.extend(iter(steps))

    lowered = [text for text in texts(reports) if text.startswith("Out of memory")]
    assert lowered[:2] == [
        "Out of memory: going on with 2 patches a step.",
        "Out of memory: going on with 1 patches a step.",
    ]
    assert any("patches of" in text for text in lowered[2:])


def test_ignored_voxels_are_not_learned_from(make_task: MakeTask, finish: Finish) -> None:
    train = TrainConfig(epochs=1, ignore_label=2)
    task = make_task(train=train, classes={1: "bright"})
    task = make_task(train=train, classes={1: "bright"}, model=task.model.replace(out_channels=2))

    _, result = finish(fit(task))

    assert set(result.validation["case_04"]) == {1}


def test_fine_tuning_goes_on_from_a_run_and_compares(
    make_task: MakeTask, made_cases: list[TrainingCase], tmp_path: Path, finish: Finish
) -> None:
    first = make_task(cases=made_cases[:3])
    _, was = finish(fit(first))
    start = load_run(first.run_dir)
    task = make_task(
        start=start, run_dir=tmp_path / "runs" / "002", new_cases=frozenset({"case_03"})
    )

    reports, result = finish(fit(task))

    assert result.before == was.validation
    written = json.loads((task.run_dir / "result.json").read_text())
    assert set(written["before"]["mean"]) == set(written["after"]["mean"]) == {"1", "2"}
    steps = [one for one in reports if isinstance(one, StepReport)]
    assert max(one.learning_rate for one in steps) <= 2.5e-3


def test_fine_tuning_refuses_what_the_run_was_checked_on(
    make_task: MakeTask, made_cases: list[TrainingCase], tmp_path: Path, finish: Finish
) -> None:
    first = make_task(train=TrainConfig(epochs=1))
    finish(fit(first))

    with pytest.raises(TrainingError, match="case_04 is a validation case"):
        make_task(
            cases=[*made_cases[:2], made_cases[4]],
            validation=[],
            start=load_run(first.run_dir),
            run_dir=tmp_path / "002",
        )


def test_a_flat_network_trains_on_slices(
    make_task: MakeTask, finish: Finish, small_plan: Callable[..., Plan]
) -> None:
    base = make_task()
    model = base.model.replace(backbone="unet2d", dims=2)
    task = make_task(model=model, plan=small_plan(dims=2, patch_size=(1, 12, 16), batch_size=4))

    _, result = finish(fit(task))

    assert result.state == "done"
    assert set(result.validation) == {"case_04", "case_05"}


def test_a_broken_batch_does_not_spoil_running_statistics(make_task: MakeTask) -> None:
    task = make_task(model=make_task().model.replace(options={"widths": [4, 8], "norm": "batch"}))
    learner = make_learner(task, torch.device("cpu"), "float32")
    label = torch.randint(0, 3, (2, 8, 12, 16))
    broken = Batch(torch.full((2, 1, 8, 12, 16), math.nan), label)
    sound = Batch(torch.rand(2, 1, 8, 12, 16), label)

    outcomes = [learner.step(one, number=n, rate=1e-3) for n, one in enumerate((broken, sound))]

    assert [one.is_applied for one in outcomes] == [False, True]
    assert all(one.isfinite().all() for one in learner.averaged.values.values())


@pytest.fixture
def write_like(tmp_path: Path) -> Callable[..., TrainingCase]:
    def write(
        case: TrainingCase, change: Callable[[np.ndarray], np.ndarray], *, labels: bool = False
    ) -> TrainingCase:
        image, label = case.read_image(), case.read_label()
        parts = [image.replace(data=change(image.data)), label]
        if labels:
            parts[1] = label.replace(data=change(label.data))
        paths = [tmp_path / f"{case.name}_changed{n}.nii.gz" for n in range(2)]
        for path, part in zip(paths, parts, strict=True):
            write_volume(path, part.replace(storage=None))
        return TrainingCase(case.name, {"MR": paths[0]}, paths[1])

    return write


def test_voxels_without_a_value_are_told_once_and_learned_around(
    make_task: MakeTask,
    finish: Finish,
    made_cases: list[TrainingCase],
    write_like: Callable[..., TrainingCase],
) -> None:
    def spoil(data: np.ndarray) -> np.ndarray:
        data = data.copy()
        data[0, 0, :2, :3] = np.nan
        data[0, 1, 4, 5] = np.inf
        return data

    cases = [made_cases[0], write_like(made_cases[1], spoil), *made_cases[2:4]]
    checked = [write_like(made_cases[4], spoil), made_cases[5]]

    reports, result = finish(fit(make_task(cases=cases, validation=checked)))

    (told,) = [text for text in texts(reports) if "NaN" in text]
    assert "2 images have" in told
    assert "case_01 (7), case_04 (7)" in told
    assert result.state == "done"
    assert all(math.isfinite(one.loss) for one in reports if isinstance(one, StepReport))


@pytest.mark.parametrize("chosen", [None, (8, 12, 16)])
def test_only_cases_much_smaller_than_is_usual_are_told_unless_the_patch_was_chosen(
    chosen: tuple[int, ...] | None,
    make_task: MakeTask,
    finish: Finish,
    small_plan: Callable[..., Plan],
    made_cases: list[TrainingCase],
    write_like: Callable[..., TrainingCase],
) -> None:
    def cut(start: int) -> Callable[[np.ndarray], np.ndarray]:
        return lambda data: data[:, :, :, start:]

    a_little = write_like(made_cases[0], cut(4), labels=True)
    much = write_like(made_cases[1], cut(8), labels=True)
    task = make_task(
        cases=[a_little, much, *made_cases[2:4]],
        plan=small_plan(shape_dhw=(12, 14, 18)),
        train=TrainConfig(epochs=1, patch_size=chosen),
    )

    reports, _ = finish(fit(task))

    (told,) = [text for text in texts(reports) if "smaller than the patch" in text]
    names = "case_01." if chosen is None else "case_00, case_01."
    assert names in told
    assert ("much smaller" in told) == (chosen is None)
