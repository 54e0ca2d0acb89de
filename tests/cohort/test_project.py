from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from napari_attnseg.cohort import Case, Cohort, Project, ProjectError, recognise
from napari_attnseg.io import VolumeError, read_volume
from napari_attnseg.volume import GridMismatchError, Volume

Write = Callable[..., Path]


def cohort(write: Write, labelled: str, unlabelled: str = "", **facts: object) -> Cohort:
    """Return cases of one letter each."""
    cases = [
        Case(name, {"MR": write(f"images/{name}.nii.gz")}, write(f"labels/{name}.nii.gz", 1, 2))
        for name in labelled
    ]
    cases += [Case(name, {"MR": write(f"images/{name}.nii.gz")}) for name in unlabelled]
    settings = {"classes": {1: "front", 2: "back"}, "channels": ("MR",), **facts}
    return Cohort("mice", cases, **settings)  # type: ignore[arg-type]


@pytest.fixture
def project(tmp_path: Path, write: Write) -> Project:
    return Project.create(tmp_path / "project", cohort(write, "abcde", "xyz"))


def like(project: Project, name: str, value: int = 1) -> Volume:
    """Return a label map on a case's grid."""
    image = read_volume(next(iter(project.case(name).images.values())))
    data = np.zeros(image.data.shape[1:], dtype=np.uint8)
    data[1, 2, 3] = value
    return image.on_grid(data)


def sets(project: Project) -> dict[str, str | None]:
    return {case.name: case.set for case in project.cases}


def test_a_new_project_lists_its_cases(project: Project, tmp_path: Path) -> None:
    case = project.case("a")

    assert [one.name for one in project.cases] == list("abcdexyz")
    assert case.images == {"MR": tmp_path / "images/a.nii.gz"}
    assert (case.label, case.status) == (tmp_path / "labels/a.nii.gz", "approved")
    assert (project.case("x").label, project.case("x").status) == (None, "unlabelled")
    assert Counter(sets(project).values()) == {"train": 4, "val": 1, None: 3}


def test_a_project_is_the_same_when_opened_again(project: Project) -> None:
    again = Project.open(project.path)

    assert again.cases == project.cases
    assert again.classes == {1: "front", 2: "back"}
    assert again.channels == ("MR",)
    assert again.name == "mice"


def test_a_project_opens_by_its_file(project: Project) -> None:
    assert Project.open(project.path / "project.json").path == project.path


def test_the_json_form_names_every_case(project: Project, tmp_path: Path) -> None:
    document = json.loads(json.dumps(project.to_json()))

    assert document["cases"][0] == {
        "case": "a",
        "images": {"MR": str(tmp_path / "images/a.nii.gz")},
        "label": str(tmp_path / "labels/a.nii.gz"),
        "set": sets(project)["a"],
        "status": "approved",
    }
    assert document["cases"][-1]["label"] is None


def test_a_project_and_its_data_move_together(project: Project, tmp_path: Path) -> None:
    shutil.copytree(tmp_path, tmp_path / "elsewhere", ignore=lambda *_: {"elsewhere"})

    moved = Project.open(tmp_path / "elsewhere" / "project")

    assert moved.case("a").images["MR"] == tmp_path / "elsewhere/images/a.nii.gz"


def test_adding_more_cases_moves_none(project: Project, write: Write) -> None:
    before = sets(project)

    warnings = project.add(cohort(write, "abcdefghijkl", "xyz"))

    assert warnings == []
    assert {name: sets(project)[name] for name in before} == before
    assert {sets(project)[name] for name in "fghijkl"} == {"train"}


def test_a_case_gets_its_set_with_its_first_label(project: Project, write: Write) -> None:
    project.add(cohort(write, "x"))

    assert project.case("x").status == "approved"
    assert project.case("x").set == "train"


def test_the_same_name_with_other_images_is_left_out_with_a_warning(
    project: Project, write: Write
) -> None:
    other = Cohort("more", [Case("a", {"MR": write("other/a.nii.gz")})], {}, ("MR",))
    before = project.case("a")

    warnings = project.add(other)

    assert project.case("a") == before
    assert "other images under the name a" in warnings[0]


def test_data_that_have_moved_are_followed(project: Project, write: Write, tmp_path: Path) -> None:
    before = sets(project)
    shutil.move(tmp_path / "images", tmp_path / "moved")
    cases = [Case(one, {"MR": tmp_path / f"moved/{one}.nii.gz"}) for one in "abcde"]

    project.add(Cohort("mice", cases, {}, ("MR",)))

    assert project.case("a").images["MR"].is_file()
    assert sets(project) == before


def test_cases_with_other_channels_are_refused(project: Project, write: Write) -> None:
    with pytest.raises(ProjectError, match="have the images MR; those of mice have CT"):
        project.add(Cohort("mice", [Case("n", {"CT": write("n.nii.gz")})], {}, ("CT",)))


def two_images(write: Write, names: str, channels: tuple[str, ...]) -> Cohort:
    cases = [
        Case(name, {one: write(f"{name}_{one}.nii.gz") for one in channels}) for name in names
    ]
    return Cohort(f"cohort {names}", cases, {}, channels)


def test_images_listed_in_another_order_take_that_of_the_project(
    tmp_path: Path, write: Write
) -> None:
    project = Project.create(tmp_path / "p", two_images(write, "ab", ("T1", "FLAIR")))

    project.add(two_images(write, "c", ("flair", "t1")))

    images = project.case("c").images
    assert list(images) == ["T1", "FLAIR"]
    assert [path.name for path in images.values()] == ["c_t1.nii.gz", "c_flair.nii.gz"]


def test_images_in_one_file_in_another_order_are_refused(tmp_path: Path, write: Write) -> None:
    project = Project.create(tmp_path / "p", two_images(write, "ab", ("T1", "FLAIR")))
    shared = write("c.nii.gz", channels=2)
    cases = [Case("c", {"FLAIR": shared, "T1": shared})]

    with pytest.raises(ProjectError, match="in another order"):
        project.add(Cohort("mice", cases, {}, ("FLAIR", "T1")))


@pytest.mark.parametrize(
    ("name", "words"), [("case_a", "Its cases are a, b, c and 5 more"), ("aa", "Did you mean 'a'")]
)
def test_an_unknown_case_is_refused_with_those_there_are(
    name: str, words: str, project: Project
) -> None:
    with pytest.raises(ProjectError, match=words):
        project.case(name)


def test_unnamed_images_take_the_projects_channel(project: Project, write: Write) -> None:
    project.add(Cohort("more", [Case("n", {"image": write("n.nii.gz")})]))

    assert list(project.case("n").images) == ["MR"]


def test_a_value_that_means_something_else_is_refused(project: Project, write: Write) -> None:
    with pytest.raises(ProjectError, match="value 1 means 'front', in mice it means 'liver'"):
        project.add(cohort(write, "n", classes={1: "liver"}))


def test_classes_without_names_are_found_in_the_labels(tmp_path: Path, write: Write) -> None:
    write("images/a.nii.gz"), write("labels/a.nii.gz", 7, 1)
    write("images/b.nii.gz"), write("labels/b.nii.gz", 3)

    project = Project.create(tmp_path / "p", recognise(tmp_path))

    assert project.classes == {1: "class 1", 3: "class 3", 7: "class 7"}


def test_a_data_sets_own_test_cases_are_never_learned_from(tmp_path: Path, write: Write) -> None:
    cases = [
        Case(
            name, {"MR": write(f"{name}.nii.gz")}, write(f"l/{name}.nii.gz", 1), is_test=name < "c"
        )
        for name in "abcdefg"
    ]

    project = Project.create(tmp_path / "p", Cohort("t", cases, {1: "x"}, ("MR",)))

    assert Counter(sets(project).values()) == {"test": 2, "train": 4, "val": 1}
    with pytest.raises(ProjectError, match="fixed test cases"):
        project.require_learnable("a")


def test_a_saved_label_wins_over_the_original_which_stays(
    project: Project, tmp_path: Path
) -> None:
    original = (tmp_path / "labels/a.nii.gz").read_bytes()

    path = project.save_label("a", like(project, "a", value=2), "corrected")

    assert path == project.path / "labels" / "a.nii.gz"
    assert project.case("a").label == path
    assert project.case("a").status == "corrected"
    assert (tmp_path / "labels/a.nii.gz").read_bytes() == original
    assert read_volume(path).classes == {1: "front", 2: "back"}


def test_a_first_label_made_here_gives_a_set(project: Project) -> None:
    project.save_label("x", like(project, "x"), "corrected")

    assert project.case("x").set == "train"
    assert "x" in [case.name for case in project.training_cases()]


def test_a_draft_gives_no_set_and_is_not_learned_from(project: Project) -> None:
    path = project.save_label("x", like(project, "x"), "draft")
    case = project.case("x")

    assert (case.set, case.status, case.label, case.draft) == (None, "draft", None, path)
    with pytest.raises(ProjectError, match="only a draft"):
        project.require_learnable("x")


def test_a_draft_does_not_replace_the_label_in_use(project: Project) -> None:
    label = project.save_label("a", like(project, "a"), "corrected")
    before = label.read_bytes()

    draft = project.save_label("a", like(project, "a", value=2), "draft")

    case = project.case("a")
    assert (case.label, case.draft, case.newest_label) == (label, draft, draft)
    assert label.read_bytes() == before


def test_approving_a_draft_makes_it_the_label(project: Project) -> None:
    draft = project.save_label("x", like(project, "x", value=2), "draft")

    project.set_status("x", "approved")

    case = project.case("x")
    assert (case.status, case.set, case.draft) == ("approved", "train", None)
    assert case.label is not None
    assert read_volume(case.label).data.max() == 2
    assert not draft.exists()


def test_saving_a_correction_ends_the_draft(project: Project) -> None:
    project.save_label("x", like(project, "x"), "draft")

    project.save_label("x", like(project, "x"), "corrected")

    assert project.case("x").draft is None


def test_a_new_value_painted_becomes_a_class(project: Project) -> None:
    project.save_label("x", like(project, "x", value=9), "corrected")

    assert project.classes == {1: "front", 2: "back", 9: "class 9"}


def test_classes_can_be_named(project: Project) -> None:
    project.name_classes({2: "rear", 4: "lesion"})

    assert project.classes == {1: "front", 2: "rear", 4: "lesion"}
    with pytest.raises(ProjectError, match="a name of its own"):
        project.name_classes({5: "front"})


def test_a_label_on_another_grid_is_not_saved(project: Project) -> None:
    volume = like(project, "a")
    moved = Volume(volume.data, volume.affine + np.diag([0, 0, 0, 0.0]) + _shift(5.0))

    with pytest.raises(GridMismatchError, match=r"5.00 mm"):
        project.save_label("a", moved, "corrected")
    assert not (project.path / "labels" / "a.nii.gz").exists()


def _shift(mm: float) -> np.ndarray:
    step = np.zeros((4, 4))
    step[2, 3] = mm
    return step


def test_a_label_with_fractions_is_not_saved(project: Project) -> None:
    volume = like(project, "a")

    with pytest.raises(VolumeError, match="fractions"):
        project.save_label("a", volume.replace(data=volume.data + 0.5), "corrected")


@pytest.mark.parametrize(
    ("name", "status", "words"),
    [("x", "approved", "has no labels yet"), ("a", "unlabelled", "has labels"),
     ("a", "perfect", "no status 'perfect'"), ("nobody", "draft", "no case named 'nobody'")],
)  # fmt: skip
def test_a_status_that_makes_no_sense_is_refused(
    project: Project, name: str, status: str, words: str
) -> None:
    with pytest.raises(ProjectError, match=words):
        project.set_status(name, status)


def test_learning_from_a_validation_case_is_refused(project: Project) -> None:
    (checked,) = project.validation_cases()

    with pytest.raises(ProjectError, match=f"{checked.name} is one of the fixed validation cases"):
        project.require_learnable(checked.name)
    for case in project.training_cases():
        project.require_learnable(case.name)


def test_runs_are_numbered_and_found(project: Project) -> None:
    first, second = project.new_run_dir(), project.new_run_dir()

    assert project.runs() == [first, second]
    assert first.name == "001"
    assert project.run_dir() == project.run_dir("2") == project.run_dir("002") == second
    assert project.run_dir(first) == project.run_dir(str(first)) == first
    with pytest.raises(ProjectError, match="no run '7'; there are: 001, 002"):
        project.run_dir("7")


def test_a_project_without_runs_says_so(project: Project) -> None:
    with pytest.raises(ProjectError, match="train a model first"):
        project.run_dir()


def test_a_second_project_in_the_same_folder_is_refused(project: Project) -> None:
    with pytest.raises(ProjectError, match="is a project already"):
        Project.create(project.path)


def test_a_folder_without_a_project_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match=r"holds no project.json. Choose a project's folder"):
        Project.open(tmp_path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "it is empty"),
        ('{"cases": ', "its end is missing"),
        ('{"cases": {"a": "b', "its end is missing"),
        ('{\n"cases": {},,\n}', "cannot be read from line 2 on, at ',"),
        ("[]", "no table of names and values"),
        ('{"cases": {}}', "'format' is missing"),
    ],
)
def test_a_damaged_project_file_is_named_with_what_to_do(
    text: str, words: str, project: Project
) -> None:
    (project.path / "project.json").write_text(text)

    with pytest.raises(ProjectError, match=re.escape(words)) as refused:
        Project.open(project.path)
    assert "project.json' is damaged" in str(refused.value)
    assert "Restore it from a copy" in str(refused.value)
    assert not re.search("Expecting|delimiter|char ", str(refused.value))


@pytest.mark.parametrize("value", [None, 3, [], "x", {}, {"x": 1}, [{}], "gone"])
def test_no_damage_to_a_project_file_is_more_than_a_sentence(
    value: object, project: Project
) -> None:
    path = project.path / "project.json"
    whole = json.loads(path.read_text())
    places = [(whole, key) for key in whole]
    places += [(whole["cases"], "a"), *((whole["cases"]["a"], key) for key in whole["cases"]["a"])]

    for table, key in places:
        before = table[key]
        table[key] = value
        if value == "gone":
            del table[key]
        path.write_text(json.dumps(whole))
        table[key] = before
        try:
            opened = Project.open(project.path)
            opened.to_json()
            opened.add(Cohort("none", [], {}, ("MR",)))
        except ProjectError as error:
            assert str(error).endswith(".")  # noqa: PT017 - some damage does no harm


def test_a_folder_that_cannot_be_made_is_refused(write: Write) -> None:
    with pytest.raises(ProjectError, match="cannot be written"):
        Project.create(write("a.nii.gz") / "project")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_is_refused(project: Project) -> None:
    project.path.chmod(0o500)

    with pytest.raises(ProjectError, match="cannot be written"):
        project.save_label("x", like(project, "x"), "corrected")


def test_what_another_process_writes_is_seen(project: Project) -> None:
    other = Project.open(project.path)
    assert other.case("x").status == "unlabelled"

    project.save_label("x", like(project, "x"), "corrected")

    assert other.case("x").status == "corrected"


def test_processes_that_write_at_once_lose_nothing(project: Project) -> None:
    code = (
        "import sys; from napari_attnseg.cohort import Project; p = Project.open(sys.argv[1])\n"
        "for n in range(15): p.name_classes({int(sys.argv[2]) + n: f'{sys.argv[2]}-{n}'})"
    )
    starts = (100, 200, 300)

    children = [
        subprocess.Popen([sys.executable, "-c", code, str(project.path), str(start)])
        for start in starts
    ]

    assert [child.wait(60) for child in children] == [0, 0, 0]
    assert set(project.classes) == {1, 2} | {start + n for start in starts for n in range(15)}


def test_a_failed_change_leaves_the_file_as_it_was(project: Project) -> None:
    before = (project.path / "project.json").read_bytes()

    with pytest.raises(ProjectError):
        project.name_classes({0: "nothing"})

    assert (project.path / "project.json").read_bytes() == before
    assert not list(project.path.glob("*.part"))


def test_the_hippocampus_project_has_forty_fixed_validation_cases(
    shared_data: Path, tmp_path: Path
) -> None:
    project = Project.create(tmp_path / "p", recognise(shared_data / "hippocampus"))
    before = sets(project)

    project.add(recognise(shared_data / "hippocampus"))
    project.add(recognise(shared_data / "hippocampus_faults"))

    assert Counter(before.values()) == {"train": 160, "val": 40}
    assert {name: sets(project)[name] for name in before} == before
