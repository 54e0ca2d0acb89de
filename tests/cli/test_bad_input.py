"""What people get wrong, as they type it: refused in a sentence, nothing lost; or warned of."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from napari_attnseg.config import ModelConfig

TINY = ("--preset", "tiny", "--epochs", "1", "--device", "cpu")
AFFINE = np.diag([1.5, 1.0, 2.0, 1.0])
ROOT = Path(__file__).parents[2]


def contents(*folders: Path) -> dict[str, str]:
    """Return every file and folder with a hash of what is in it."""
    found: dict[str, str] = {}
    for folder in folders:
        for one in sorted(folder.rglob("*")):
            data = one.read_bytes() if one.is_file() else b"folder"
            if one.name != ".project.lock":
                found[str(one)] = hashlib.sha256(data).hexdigest()
    return found


def assert_refused(answer: Any, *words: str) -> None:
    """Check for exit status 1 and one plain line that holds some words."""
    assert answer.status == 1
    lines = [line for line in answer.err.splitlines() if not line.startswith("Warning: ")]
    assert len(lines) == 1, answer.err
    assert lines[0].startswith("attnseg: ")
    assert lines[0].endswith(".")
    assert "Traceback" not in answer.err
    assert "Unexpected" not in answer.err
    assert answer.out == ""
    for word in words:
        assert word in lines[0]


def save(path: Path, data: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(data, affine), path)
    return path


def changed(path: Path, change: Any = None, shift_mm: float = 0.0) -> None:
    """Write a volume again with other voxels or another place."""
    before = nib.load(path)
    data, affine = np.asarray(before.dataobj).copy(), before.affine.copy()
    affine[0, 3] += shift_mm
    save(path, data if change is None else change(data), affine)


def with_nan(data: np.ndarray) -> np.ndarray:
    data = data.astype(np.float32)
    data[1, 1, 1] = np.nan
    return data


@pytest.fixture
def copied(tmp_path: Path, cohort: Path) -> Path:
    """Return a copy of the cohort to spoil."""
    return shutil.copytree(cohort, tmp_path / "cohort")


@pytest.fixture
def made(tmp_path: Path, copied: Path, attnseg: Any) -> Path:
    """Return an untrained project of the copied cohort."""
    assert attnseg("project", tmp_path / "p", "--cases", copied).status == 0
    return tmp_path / "p"


@pytest.fixture
def copied_run(tmp_path: Path, trained: Path) -> Path:
    return shutil.copytree(trained, tmp_path / "run")


@pytest.fixture
def image(cohort: Path) -> Path:
    return cohort / "imagesTr" / "case_0.nii.gz"


def set_of(project: Path, wanted: str) -> str:
    cases = json.loads((project / "project.json").read_text())["cases"]
    return next(name for name, one in cases.items() if one["set"] == wanted)


# Files that are no volumes, and folders without any.


@pytest.mark.parametrize("command", ["predict", "explain", "convert", "evaluate"])
def test_a_file_that_is_no_volume_is_refused(
    command: str, trained: Path, image: Path, attnseg: Any, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.nii.gz"
    bad.write_bytes(b"this is no volume")
    words = {
        "predict": (trained, bad, "--out", tmp_path / "out"),
        "explain": (trained, bad, "--out", tmp_path / "out"),
        "convert": (bad, tmp_path / "out.nii"),
        "evaluate": (bad, image),
    }
    before = contents(tmp_path, trained)

    answer = attnseg(command, *words[command])

    assert_refused(answer, "bad.nii.gz", "not a NIfTI file", "again")
    assert contents(tmp_path, trained) == before


@pytest.mark.parametrize("what", ["image", "label"])
@pytest.mark.parametrize("which", ["train", "val"])
def test_training_refuses_a_case_that_is_no_volume(
    what: str, which: str, made: Path, copied: Path, attnseg: Any
) -> None:
    name = set_of(made, which)
    (copied / f"{what}sTr" / f"{name}.nii.gz").write_bytes(b"this is no volume")
    before = contents(copied)

    answer = attnseg("train", made, *TINY)

    assert_refused(answer, name, "not a NIfTI file")
    assert contents(copied) == before


@pytest.mark.parametrize("what", ["empty", "without a volume", "missing", "a file"])
def test_a_folder_without_cases_is_refused_and_makes_no_project(
    what: str, attnseg: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "cases"
    if what == "a file":
        folder.write_text("mine")
    elif what != "missing":
        folder.mkdir()
    if what == "without a volume":
        (folder / "notes.txt").write_text("mine")
    before = contents(tmp_path)

    answer = attnseg("project", tmp_path / "p", "--cases", folder)

    assert_refused(answer, "cases")
    assert contents(tmp_path) == before


def test_an_empty_folder_is_refused_as_a_case(trained: Path, attnseg: Any, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    before = contents(tmp_path)

    answer = attnseg("predict", trained, tmp_path / "empty", "--out", tmp_path / "out")

    assert_refused(answer, "no volume", "empty")
    assert contents(tmp_path) == before


# Labels.


@pytest.mark.parametrize("which", ["train", "val"])
def test_a_label_on_another_grid_is_refused_with_the_distance(
    which: str, made: Path, copied: Path, attnseg: Any
) -> None:
    name = set_of(made, which)
    changed(copied / "labelsTr" / f"{name}.nii.gz", shift_mm=4)
    before = contents(copied)

    answer = attnseg("train", made, *TINY)

    assert_refused(answer, name, "different grids", "4.00 mm", "Resample")
    assert contents(copied) == before


def test_a_label_on_another_grid_is_told_when_the_project_is_made(
    copied: Path, attnseg: Any, tmp_path: Path
) -> None:
    changed(copied / "labelsTr" / "case_2.nii.gz", shift_mm=4)

    answer = attnseg("project", tmp_path / "p", "--cases", copied)

    assert answer.status == 0
    assert "Warning: The label case_2.nii.gz is on another grid" in answer.err


def test_a_mask_on_another_grid_is_not_scored(cohort: Path, attnseg: Any, tmp_path: Path) -> None:
    mask = shutil.copy(cohort / "labelsTr" / "case_2.nii.gz", tmp_path)
    changed(Path(mask), shift_mm=4)

    answer = attnseg("evaluate", mask, cohort / "labelsTr" / "case_2.nii.gz")

    assert_refused(answer, "different grids", "4.00 mm")


@pytest.mark.parametrize("which", ["train", "val"])
@pytest.mark.parametrize(
    ("value", "words"), [(np.nan, "NaN"), (np.inf, "infinite"), (0.5, "0.5"), (-1.0, "-1")]
)
def test_a_label_that_is_no_whole_number_is_refused(
    value: float, words: str, which: str, made: Path, copied: Path, attnseg: Any
) -> None:
    name = set_of(made, which)

    def spoil(data: np.ndarray) -> np.ndarray:
        data = data.astype(np.float32)
        data[1, 1, 1] = value
        return data

    changed(copied / "labelsTr" / f"{name}.nii.gz", spoil)
    before = contents(copied)

    answer = attnseg("train", made, *TINY)

    assert_refused(answer, name, words)
    assert contents(copied) == before


# Checkpoints and runs.


def test_a_checkpoint_of_another_model_is_refused(
    copied_run: Path, image: Path, attnseg: Any, tmp_path: Path
) -> None:
    from napari_attnseg.inference import save_weights_atomic
    from napari_attnseg.models import build_model

    other = build_model(ModelConfig("unet2d", "none", dims=2, out_channels=3))
    save_weights_atomic(copied_run / "weights.safetensors", other)
    before = contents(tmp_path)

    for command in ("predict", "explain"):
        answer = attnseg(command, copied_run, image, "--out", tmp_path / "out")

        assert_refused(answer, "another network", "Keep the files of a run together")
    assert contents(tmp_path) == before


@pytest.mark.parametrize("name", ["weights.safetensors", "config.json", "plan.json"])
def test_a_damaged_run_is_refused(
    name: str, copied_run: Path, image: Path, attnseg: Any, tmp_path: Path
) -> None:
    (copied_run / name).write_bytes((copied_run / name).read_bytes()[:100])
    before = contents(tmp_path)

    answer = attnseg("predict", copied_run, image, "--out", tmp_path / "out")

    assert_refused(answer, name)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("command", ["predict", "explain"])
@pytest.mark.parametrize("text", ["nowhere/001", "{project}:007", "{project}/runs/007"])
def test_a_run_that_does_not_exist_is_refused(
    text: str, command: str, project: Path, image: Path, attnseg: Any, tmp_path: Path
) -> None:
    run = text.format(project=project)

    answer = attnseg(command, run, image, "--out", tmp_path / "out")

    assert_refused(answer, "no run", "00")
    assert contents(tmp_path) == {}


def test_a_run_that_never_began_is_not_the_newest(
    project: Path, image: Path, attnseg: Any, tmp_path: Path
) -> None:
    copy = shutil.copytree(project, tmp_path / "copy")
    shutil.copytree(copy / "runs" / "001", copy / "runs" / "002")
    for file in (copy / "runs" / "002").glob("*.safetensors"):
        file.unlink()
    (copy / "runs" / "003").mkdir()

    answer = attnseg("predict", copy, image, "--out", tmp_path / "out", "--json")

    assert answer.status == 0
    assert_refused(attnseg("train", copy, "--resume"), "Run 002 has already ended")


def test_a_project_whose_only_run_failed_says_so(
    made: Path, image: Path, attnseg: Any, tmp_path: Path
) -> None:
    (made / "runs" / "001").mkdir(parents=True)

    answer = attnseg("predict", made, image, "--out", tmp_path / "out")

    assert_refused(answer, "no trained run", "run 001 ended before it had weights")


@pytest.mark.parametrize("named", ["weights.safetensors", "last.safetensors"])
def test_the_weights_that_are_named_are_those_used(
    named: str, copied_run: Path, image: Path, attnseg: Any, tmp_path: Path
) -> None:
    (copied_run / "last.safetensors").write_bytes(b"damaged")

    answer = attnseg("predict", copied_run / named, image, "--out", tmp_path / "out")

    assert answer.status == (named == "last.safetensors")


# Projects that cannot be written or read.


@pytest.mark.parametrize("below", ["", "p", "a/b"])
def test_a_project_below_a_file_is_refused(
    below: str, cohort: Path, attnseg: Any, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("mine")
    before = contents(tmp_path)

    answer = attnseg("project", tmp_path / "file" / below, "--cases", cohort)

    assert_refused(answer, "file", "folder")
    assert contents(tmp_path) == before


@pytest.fixture
def full_disk() -> Iterator[None]:
    """Let no file grow beyond some bytes; the system then refuses as a full disk does."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("is_new", [True, False])
def test_a_project_for_which_there_is_no_room_is_left_as_it_was(
    is_new: bool, made: Path, copied: Path, attnseg: Any, tmp_path: Path, request: Any
) -> None:
    for file in copied.rglob("case_*"):
        file.rename(file.with_name(file.name.replace("case_", "more_")))
    text = (copied / "dataset.json").read_text()
    (copied / "dataset.json").write_text(text.replace("case_", "more_"))
    before = contents(tmp_path)
    request.getfixturevalue("full_disk")

    answer = attnseg("project", tmp_path / "new" if is_new else made, "--cases", copied)

    assert_refused(answer, "cannot be written", "Nothing was changed")
    assert contents(tmp_path) == before


@pytest.fixture
def guarded(project: Path, cohort: Path) -> Iterator[Path]:
    """Return a folder with a project that may be read but not written, even by root."""
    folder = Path(tempfile.mkdtemp())
    shutil.copytree(project, folder / "p")
    shutil.copytree(cohort, folder / "cohort")
    for one in (folder, *folder.rglob("*")):
        one.chmod(0o555 if one.is_dir() else 0o444)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    yield folder
    os.seteuid(user)
    for one in (folder, *folder.rglob("*")):
        one.chmod(0o755)
    shutil.rmtree(folder)


@pytest.mark.skipif(sys.platform == "win32", reason="permissions of Unix")
def test_a_project_without_the_right_to_write_is_read_but_not_changed(
    guarded: Path, attnseg: Any
) -> None:
    before = contents(guarded)

    assert attnseg("project", guarded / "p").status == 0
    added = attnseg("project", guarded / "p", "--cases", guarded / "cohort")
    begun = attnseg("project", guarded / "new", "--cases", guarded / "cohort")

    assert_refused(added, "cannot be written", "Permission denied")
    assert_refused(begun, "cannot be written", "Permission denied")
    assert contents(guarded) == before


@pytest.mark.skipif(sys.platform == "win32", reason="permissions of Unix")
def test_results_are_refused_before_the_work_where_they_cannot_be_written(
    guarded: Path, attnseg: Any
) -> None:
    case, out = guarded / "cohort" / "imagesTr" / "case_0.nii.gz", guarded / "out"
    run, labels = guarded / "p" / "runs" / "001", guarded / "cohort" / "labelsTr"

    answers = [
        attnseg("predict", run, case, "--out", out),
        attnseg("explain", run, case, "--out", out),
        attnseg("convert", case, out / "case.nii"),
        attnseg("evaluate", labels, labels, "--csv", out / "dice.csv"),
    ]

    for answer in answers:
        assert_refused(answer, "cannot be written", "choose another folder")


@pytest.mark.parametrize("text", ["", "{", '{"cases": {', "[]", "\x00\x01"])
def test_a_damaged_project_is_refused_and_left_as_it_was(
    text: str, made: Path, copied: Path, attnseg: Any
) -> None:
    (made / "project.json").write_text(text)
    before = contents(made)

    for words in (("project", made), ("project", made, "--cases", copied), ("train", made, *TINY)):
        assert_refused(attnseg(*words), "project.json")
    assert contents(made) == before


# What must not be learned from, and what must not be replaced.


def test_learning_from_a_validation_case_is_refused_and_nothing_is_begun(
    project: Path, attnseg: Any
) -> None:
    before, kept = contents(project), set_of(project, "val")

    answer = attnseg("train", project, "--from", "001", "--learn-from", kept, "--epochs", "1")

    assert_refused(answer, kept, "validation", "Learn from another case")
    assert contents(project) == before


def test_learning_from_a_case_needs_a_run_to_go_on_from(project: Path, attnseg: Any) -> None:
    answer = attnseg("train", project, "--learn-from", "case_0", *TINY)

    assert answer.status == 2
    assert "--from RUN" in answer.err


@pytest.mark.parametrize("words", [("--class", "1"), ("--attention",)])
def test_maps_are_not_overwritten_and_that_is_told_before_the_work(
    words: tuple[str, ...], trained: Path, image: Path, attnseg: Any, tmp_path: Path
) -> None:
    assert attnseg("explain", trained, image, *words, "--out", tmp_path).status == 0
    before = contents(tmp_path)

    refused = attnseg("explain", trained, image, *words, "--out", tmp_path)
    allowed = attnseg("explain", trained, image, *words, "--out", tmp_path, "--overwrite")

    assert_refused(refused, "would be overwritten", "--overwrite")
    assert contents(tmp_path) == before
    assert allowed.status == 0


@pytest.mark.parametrize("option", ["--csv", "--report"])
def test_a_table_is_not_overwritten(
    option: str, cohort: Path, attnseg: Any, tmp_path: Path
) -> None:
    file = tmp_path / "dice.md"
    file.write_text("mine")

    answer = attnseg("evaluate", cohort / "labelsTr", cohort / "labelsTr", option, file)

    assert_refused(answer, "dice.md", "--overwrite")
    assert file.read_text() == "mine"


# Names that nothing has.


@pytest.mark.parametrize("name", ["9", "liver"])
def test_an_unknown_class_is_refused_with_the_known_ones(
    name: str, trained: Path, image: Path, attnseg: Any, tmp_path: Path
) -> None:
    answer = attnseg("explain", trained, image, "--class", name, "--out", tmp_path)

    assert_refused(answer, name, "ball", "box")
    assert contents(tmp_path) == {}


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (("--backbone", "unet3"), "unet3d"),
        (("--attention", "cbma"), "cbam"),
        (("--loss", "dise"), "dice"),
        (("--network", "PENt"), "PENet"),
        (("--preset", "tinny"), "tiny"),
        (("--attention", "se", "--site", "encodr:0"), "encoder"),
    ],
)
def test_a_misspelt_name_is_wrong_usage_told_with_the_closest_one_and_begins_no_run(
    words: tuple[str, ...], meant: str, project: Path, attnseg: Any
) -> None:
    before = contents(project)

    answer = attnseg("train", project, *words, "--epochs", "1")

    assert answer.status == 2
    assert answer.err.count("\n") == 1
    assert f"Did you mean {meant!r}?" in answer.err
    assert contents(project) == before


def test_a_misspelt_method_is_wrong_usage_told_with_the_closest_one(
    trained: Path, image: Path, attnseg: Any, tmp_path: Path
) -> None:
    answer = attnseg("explain", trained, image, "--method", "grad-cma", "--out", tmp_path / "out")

    assert answer.status == 2
    assert "Did you mean 'grad-cam'?" in answer.err
    assert contents(tmp_path) == {}


def test_attention_that_does_not_suit_a_place_is_refused_and_begins_no_run(
    project: Path, attnseg: Any
) -> None:
    before = contents(project)

    answer = attnseg("train", project, "--attention", "gate", "--site", "encoder", *TINY)

    assert_refused(answer, "encoder", "use skip")
    assert contents(project) == before


# What is warned of, while the work goes on.


def test_an_image_without_a_label_among_others_is_told_and_left_unlabelled(
    copied: Path, attnseg: Any, tmp_path: Path
) -> None:
    (copied / "labelsTr" / "case_3.nii.gz").unlink()

    made = attnseg("project", tmp_path / "p", "--cases", copied)
    trained = attnseg("train", tmp_path / "p", *TINY)

    assert (made.status, trained.status) == (0, 0)
    assert "Warning: The image case_3 has no label" in made.err
    assert "Warning: 1 of 6 cases have no label" in trained.err


def test_a_class_that_never_occurs_is_told(copied: Path, attnseg: Any, tmp_path: Path) -> None:
    document = json.loads((copied / "dataset.json").read_text())
    document["labels"]["3"] = "lesion"
    (copied / "dataset.json").write_text(json.dumps(document))
    attnseg("project", tmp_path / "p", "--cases", copied)

    answer = attnseg("train", tmp_path / "p", *TINY)

    assert answer.status == 0
    assert "Warning: The class lesion occurs in no training case" in answer.err


def test_one_labelled_case_is_learned_from_without_a_check(
    copied: Path, attnseg: Any, tmp_path: Path
) -> None:
    document = json.loads((copied / "dataset.json").read_text())
    document["training"] = document["training"][:1]
    (copied / "dataset.json").write_text(json.dumps(document))
    for file in copied.rglob("case_[1-5].nii.gz"):
        file.unlink()
    attnseg("project", tmp_path / "p", "--cases", copied)

    answer = attnseg("train", tmp_path / "p", *TINY)

    assert answer.status == 0
    assert "Warning: There is no validation case" in answer.err
    assert_refused(
        attnseg("predict", tmp_path / "p", "--cases", "validation", "-o", tmp_path / "out"),
        "no validation cases",
    )


@pytest.mark.parametrize("is_cut", [True, False])
def test_a_case_much_smaller_than_the_others_is_told_in_training(
    is_cut: bool, made: Path, copied: Path, attnseg: Any
) -> None:
    name = set_of(made, "train")
    if is_cut:
        for folder in ("imagesTr", "labelsTr"):
            changed(copied / folder / f"{name}.nii.gz", lambda data: data[:, :8])

    answer = attnseg("train", made, *TINY)

    assert answer.status == 0
    assert ("much smaller than the patch" in answer.err) == is_cut
    assert (f"there: {name}." in answer.err) == is_cut


def test_voxels_without_a_value_are_told_in_training(
    made: Path, copied: Path, attnseg: Any
) -> None:
    name = set_of(made, "train")
    changed(copied / "imagesTr" / f"{name}.nii.gz", with_nan)

    answer = attnseg("train", made, *TINY)

    assert answer.status == 0
    assert f"NaN or infinite: {name} (1)" in answer.err


@pytest.mark.parametrize("command", ["predict", "explain"])
@pytest.mark.parametrize(
    ("shape", "spoil", "words"),
    [
        ((6, 5, 4), None, "smaller than the patch"),
        ((20, 16, 12), np.nan, "NaN or infinite"),
        ((20, 16, 12), np.inf, "NaN or infinite"),
        ((90, 80, 70), None, "unlike those learned from"),
        ((20, 16), None, "single slice"),
    ],
)
def test_a_strange_image_is_told_and_the_work_goes_on(
    shape: tuple[int, ...],
    spoil: float | None,
    words: str,
    command: str,
    trained: Path,
    attnseg: Any,
    tmp_path: Path,
) -> None:
    data = np.random.default_rng(0).normal(100, 20, shape).astype(np.float32)
    spacing = AFFINE if max(shape) < 50 else np.diag([0.3, 0.3, 0.3, 1.0])
    if spoil is not None:
        data[2:5, 3, :4] = spoil
    file = save(tmp_path / "odd.nii.gz", data, spacing)

    answer = attnseg(command, trained, file, "--out", tmp_path / "out")

    assert answer.status == 0
    assert any(words in line for line in answer.err.splitlines() if line.startswith("Warning: "))
    for written in (tmp_path / "out").glob("*.nii.gz"):
        assert np.isfinite(nib.load(written).get_fdata()).all()


# The same as a user's shell sees it.


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["predict", "{run}", "{bad}", "--out", "{out}"], "not a NIfTI file"),
        (["project", "{bad}/p", "--cases", "{cohort}"], "cannot be written"),
        (["train", "{project}", "--from", "001", "--learn-from", "{val}"], "validation"),
    ],
)
def test_a_shell_sees_one_sentence_and_the_exit_status(
    words: list[str], found: str, project: Path, cohort: Path, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.nii.gz"
    bad.write_bytes(b"this is no volume")
    names = {
        "run": project / "runs" / "001",
        "bad": bad,
        "out": tmp_path / "out",
        "cohort": cohort,
        "project": project,
        "val": set_of(project, "val"),
    }
    command = [sys.executable, "-m", "napari_attnseg", *(word.format(**names) for word in words)]
    before = contents(tmp_path, project)

    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)

    assert done.returncode == 1
    assert done.stdout == ""
    *progress, sentence = done.stderr.splitlines()
    # On a busy machine a line may have told how far it was.
    assert all(line.endswith((" %", " left")) for line in progress), done.stderr
    assert sentence.startswith("attnseg: ")
    assert found in sentence
    assert contents(tmp_path, project) == before
