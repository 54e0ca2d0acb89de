"""Each data set's own layout: made here as it is published, with what lies around in real ones."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from napari_attnseg.cohort import Cohort, LayoutError, Project, recognise
from napari_attnseg.cohort.headers import grid_of
from napari_attnseg.cohort.layout import LAYOUTS, in_order
from napari_attnseg.io import VolumeError, read_volume, write_volume
from napari_attnseg.jobs.inputs import read_images
from napari_attnseg.volume import Volume

SHAPE = (4, 5, 6)
AFFINE = np.diag([1.0, 1.5, 2.0, 1.0])


def volume(path: Path, *values: int) -> Path:
    """Write an image, or a label with these values."""
    data = np.arange(np.prod(SHAPE)).reshape(1, *SHAPE).astype(np.int16)
    if values:
        data = np.zeros((1, *SHAPE), np.uint8)
        for at, value in enumerate(values):
            data[0, at] = value
    return write_volume(path, Volume(data, AFFINE))


def picture(path: Path, values: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(values, np.uint8)).save(path)
    return path


def grey(value: int, other: int = 0) -> np.ndarray:
    """Return a picture whose left part has one value and whose upper right corner another."""
    values = np.zeros((7, 9), np.uint8)
    values[:, :4], values[:2, 6:] = value, other
    return values


def brats_old(root: Path, year: str = "18") -> None:
    for grade, names in {"HGG": ("2013_2_1", "CBICA_AAB_1"), "LGG": ("TCIA_101_1",)}.items():
        for name in names:
            case = f"Brats{year}_{name}"
            for kind in ("t1", "t1ce", "t2", "flair"):
                volume(root / grade / case / f"{case}_{kind}.nii.gz")
            volume(root / grade / case / f"{case}_seg.nii.gz", 1, 2, 4)


def brats_2015(root: Path) -> None:
    for at, name in enumerate(("brats_2013_pat0001_1", "brats_tcia_pat101_0001",
                               "brats_tcia_pat101_0002")):  # fmt: skip
        case = root / ("HGG" if at else "LGG") / name
        for number, kind in enumerate(("MR_Flair", "MR_T1", "MR_T1c", "MR_T2")):
            title = f"VSD.Brain.XX.O.{kind}.{5400 + 10 * at + number}"
            volume(case / title / f"{title}.mha")
        title = f"VSD.Brain_3more.XX.O.OT.{6000 + at}"
        volume(case / title / f"{title}.mha", 1, 2, 3, 4)
        (case / title / "license.txt").write_text("terms")


def brats_2021(root: Path) -> None:
    for name in ("BraTS2021_00000", "BraTS2021_00002"):
        for kind in ("t1", "t1ce", "t2", "flair"):
            volume(root / name / f"{name}_{kind}.nii.gz")
        volume(root / name / f"{name}_seg.nii.gz", 1, 2, 4)


def brats_2023(root: Path) -> None:
    for name in ("BraTS-GLI-00000-000", "BraTS-GLI-00005-000", "BraTS-GLI-00005-001"):
        for kind in ("t1n", "t1c", "t2w", "t2f"):
            volume(root / name / f"{name}-{kind}.nii.gz")
        volume(root / name / f"{name}-seg.nii.gz", 1, 2, 3)


def bids(root: Path) -> None:
    (root / "dataset_description.json").parent.mkdir(parents=True, exist_ok=True)
    (root / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.8.0"}')
    (root / "participants.tsv").write_text("participant_id\nsub-01\n")
    derived = root / "derivatives" / "manual"
    for subject, sessions in {"01": ("1", "2"), "02": ("1",), "10": ("1",)}.items():
        for session in sessions:
            name = f"sub-{subject}_ses-{session}"
            place = f"sub-{subject}/ses-{session}/anat"
            for kind in ("T1w", "FLAIR"):
                volume(root / place / f"{name}_{kind}.nii.gz")
                (root / place / f"{name}_{kind}.json").write_text("{}")
            volume(root / f"sub-{subject}/ses-{session}/func" / f"{name}_task-rest_bold.nii.gz")
            volume(derived / place / f"{name}_dseg.nii.gz", 1, 2)
    (derived / "dseg.tsv").write_text(
        "index\tname\tcolor\n0\tBackground\t#0\n1\tgrey\t#1\n2\tcsf\t#2\n"
    )


def train_test(root: Path) -> None:
    for its_set, names in {"train": ("1000", "1001", "1002"), "test": ("1003",)}.items():
        for name in names:
            volume(root / its_set / "images" / f"{name}_3.nii.gz")
            volume(root / its_set / "masks" / f"{name}_3_glm.nii.gz".replace("_glm", ""), 1, 5, 10)


def subject_slices(root: Path) -> None:
    subjects = {"train": (1, 2, 10), "val": (3,), "test": (21,)}
    for its_set, numbers in subjects.items():
        for subject in numbers:
            for at in range(1, 12):
                name = f"Subj_{subject}slice_{at}.png"
                picture(root / its_set / "Img" / name, grey(10 * at, subject))
                picture(root / its_set / "GT" / name, grey(63 if at < 11 else 252, 126))


def kaggle(root: Path) -> None:
    for patient in ("TCGA_CS_4941_19960909", "TCGA_DU_5849_19950405"):
        for at in range(1, 13):
            colours = np.stack([grey(at), grey(2 * at), grey(3 * at)], axis=-1)
            name = f"{patient}_{at}"
            picture(root / "kaggle_3m" / patient / f"{name}.tif", colours)
            mask = grey(255 if at == 12 else 0)
            picture(root / "kaggle_3m" / patient / f"{name}_mask.tif", mask)
    (root / "kaggle_3m" / "data.csv").write_text("Patient,RNASeqCluster\n")
    (root / "kaggle_3m" / "README.md").write_text("LGG")


def chaos_ct(root: Path, write_series: Callable[..., None]) -> None:
    for patient in ("1", "2", "10"):
        # Files are numbered from the head down, positions count upwards.
        write_series(root / patient / "DICOM_anon", organ(6), names="i{:04d},0000b.dcm", step=-1)
        for at, mask in enumerate(organ(6) > 0):
            place = root / patient / "Ground" / f"liver_GT_{at:03d}.png"
            picture(place, 255 * mask.astype(np.uint8))


def chaos_mr(root: Path, write_series: Callable[..., None]) -> None:
    for patient in ("1", "2"):
        for at, phase in enumerate(("OutPhase", "InPhase")):
            write_series(
                root / patient / "T1DUAL" / "DICOM_anon" / phase,
                organ(5),
                names=f"IMG-0004-{{:05d}}{at}.dcm",
            )
        write_series(root / patient / "T2SPIR" / "DICOM_anon", organ(4), names="IMG-{:05d}.dcm")
        for at, mask in enumerate(organ(5) > 0):
            picture(root / patient / "T1DUAL" / "Ground" / f"IMG-0004-{at:05d}1.png", 63 * mask)
        for at, mask in enumerate(organ(4) > 0):
            picture(root / patient / "T2SPIR" / "Ground" / f"IMG-{at:05d}.png", 252 * mask)


def organ(slices: int) -> np.ndarray:
    """Return slices with a bright box that wanders, so that each differs from every other."""
    values = np.zeros((slices, 40, 32), np.int16)
    for at in range(slices):
        values[at, 3 + 5 * at : 13 + 5 * at, 6 + at : 20 + at] = 900
    return values


def dicom(root: Path, write_series: Callable[..., None]) -> None:
    for case in ("scan_1", "scan_2"):
        write_series(root / case, organ(3))
        write_volume(
            root / case / "label.nii.gz",
            read_volume(root / case).on_grid((organ(3) > 0).astype(np.uint8)),
        )


def junk(root: Path) -> None:
    """Leave in a folder what systems and people leave in folders."""
    for place in [root, *(one for one in root.rglob("*") if one.is_dir())]:
        (place / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
        (place / "._hidden.nii.gz").write_bytes(b"\0")
    (root / "README.md").write_text("about")
    (root / "__MACOSX").mkdir()
    (root / ".git").mkdir()


MADE: dict[str, tuple[str, Callable[..., None]]] = {
    "BraTS 2015": ("brats", brats_2015),
    "BraTS 2018": ("brats", brats_old),
    "BraTS 2017": ("brats", lambda root: brats_old(root, "17")),
    "BraTS 2021": ("brats", brats_2021),
    "BraTS 2023": ("brats", brats_2023),
    "BIDS": ("bids", bids),
    "MALC": ("train-test", train_test),
    "subject slices": ("slices", subject_slices),
    "kaggle_3m": ("kaggle", kaggle),
    "CHAOS CT": ("chaos", chaos_ct),
    "CHAOS MR": ("chaos", chaos_mr),
    "DICOM": ("dicom", dicom),
}


@pytest.fixture
def make(tmp_path: Path, write_series: Callable[..., None]) -> Callable[[str], Path]:
    """Make a data set in its layout, with junk."""

    def make_one(title: str) -> Path:
        root = tmp_path / "data"
        maker = MADE[title][1]
        needs_series = maker in (chaos_ct, chaos_mr, dicom)
        maker(root, write_series) if needs_series else maker(root)
        junk(root)
        return root

    return make_one


@pytest.mark.parametrize("title", MADE)
def test_a_data_set_is_recognised_by_its_own_layout_alone(
    title: str, make: Callable[[str], Path]
) -> None:
    root = make(title)

    fitting = [name for name, part in in_order() if part().fit(root).missing is None]

    # The slices of CHAOS CT are DICOM folders as well; its own layout comes first.
    also = ["dicom"] if title == "CHAOS CT" else []
    assert fitting == [MADE[title][0], *also]


@pytest.mark.parametrize("title", MADE)
def test_every_volume_of_a_data_set_is_read_on_one_grid(
    title: str, make: Callable[[str], Path], tmp_path: Path
) -> None:
    project = Project.create(tmp_path / "project", recognise(make(title)))

    for case in project.cases:
        assert case.label is not None
        label = read_volume(case.label, labels=True)
        assert 0 < label.data.max() < 12
        for path in case.images.values():
            assert grid_of(path).difference(label.grid) is None


@pytest.mark.parametrize("title", MADE)
def test_a_data_set_is_split_by_patient(
    title: str, make: Callable[[str], Path], tmp_path: Path
) -> None:
    cohort = recognise(make(title))
    for seed in range(3):
        project = Project.create(tmp_path / str(seed), cohort, seed=seed)

        sets = defaultdict(set)
        for case in project.cases:
            sets[case.patient].add(case.set)
        assert all(len(one) == 1 for one in sets.values())
        assert {"train", "val"} <= {one for some in sets.values() for one in some}


def test_every_layout_has_a_data_set_here_or_in_the_other_tests() -> None:
    assert set(LAYOUTS) == {name for name, _ in MADE.values()} | {
        "decathlon", "nnunet", "folders",
    }  # fmt: skip


def patients(cohort: Cohort) -> dict[str, str]:
    return {case.name: case.patient for case in cohort.cases}


def label_of(project: Project, case: str) -> np.ndarray:
    return read_volume(project.case(case).label, labels=True).data[0]


@pytest.mark.parametrize(
    ("title", "whole", "core", "enhancing"),
    [
        ("BraTS 2015", [1, 2, 3, 4], [1, 3, 4], [4]),
        ("BraTS 2018", [1, 2, 4], [1, 4], [4]),
        ("BraTS 2021", [1, 2, 4], [1, 4], [4]),
        ("BraTS 2023", [1, 2, 3], [1, 3], [3]),
    ],
)
def test_the_regions_of_brats_have_the_values_of_its_year(
    title: str,
    whole: list[int],
    core: list[int],
    enhancing: list[int],
    make: Callable[[str], Path],
    tmp_path: Path,
) -> None:
    cohort = recognise(make(title))

    project = Project.create(tmp_path / "project", cohort)
    assert project.regions.to_json() == {"WT": whole, "TC": core, "ET": enhancing}
    assert sorted(project.classes) == whole
    assert project.channels == ("T1", "T1c", "T2", "FLAIR")
    assert cohort.warnings == ()


def test_the_scans_of_a_brats_patient_share_the_patient(make: Callable[[str], Path]) -> None:
    assert patients(recognise(make("BraTS 2015"))) == {
        "brats_2013_pat0001_1": "brats_2013_pat0001",
        "brats_tcia_pat101_0001": "brats_tcia_pat101",
        "brats_tcia_pat101_0002": "brats_tcia_pat101",
    }


def test_the_time_points_of_a_later_brats_patient_share_the_patient(
    make: Callable[[str], Path],
) -> None:
    assert patients(recognise(make("BraTS 2023"))) == {
        "BraTS-GLI-00000-000": "BraTS-GLI-00000",
        "BraTS-GLI-00005-000": "BraTS-GLI-00005",
        "BraTS-GLI-00005-001": "BraTS-GLI-00005",
    }


def test_a_brats_case_without_one_of_the_images_is_left_out_with_its_name(
    make: Callable[[str], Path],
) -> None:
    root = make("BraTS 2021")
    (root / "BraTS2021_00000" / "BraTS2021_00000_t1ce.nii.gz").unlink()

    cohort = recognise(root)

    assert [case.name for case in cohort.cases] == ["BraTS2021_00002"]
    assert "1 case lacks one of the images" in cohort.warnings[0]


def test_bids_sessions_are_cases_with_the_images_that_all_have_and_the_names_of_the_table(
    make: Callable[[str], Path],
) -> None:
    root = make("BIDS")
    volume(root / "sub-02/ses-1/anat/sub-02_ses-1_ce-gd_T1w.nii.gz")

    cohort = recognise(root)

    assert patients(cohort)["sub-01_ses-2"] == "sub-01"
    assert cohort.channels == ("FLAIR", "T1w")
    assert cohort.classes == {1: "grey", 2: "csf"}
    assert cohort.warnings == ("Not every case has ce-gd_T1w, so it is left out.",)


def test_of_several_kinds_of_bids_labels_one_is_taken_and_the_others_are_told(
    make: Callable[[str], Path],
) -> None:
    root = make("BIDS")
    for name in ("sub-01_ses-1", "sub-01_ses-2"):
        place = root / "derivatives" / "lesions" / name.split("_")[0] / name.split("_")[1] / "anat"
        volume(place / f"{name}_label-lesion_mask.nii.gz", 1)

    cohort = recognise(root)

    assert cohort.cases[0].label.name == "sub-01_ses-1_dseg.nii.gz"
    assert "manual/dseg is taken; lesions/label-lesion_mask is not" in cohort.warnings[0]


def test_a_bids_mask_is_named_by_its_label(make: Callable[[str], Path]) -> None:
    root = make("BIDS")
    for file in root.rglob("*dseg*"):
        new = file.name.replace("_dseg", "_label-lesion_mask")
        file.unlink() if file.suffix == ".tsv" else file.rename(file.with_name(new))

    cohort = recognise(root)

    assert cohort.classes == {1: "lesion"}
    assert all(case.label for case in cohort.cases)


def test_own_test_cases_are_never_learned_from(make: Callable[[str], Path]) -> None:
    cohort = recognise(make("MALC"))

    assert [case.name for case in cohort.cases if case.is_test] == ["1003_3"]


def test_the_given_sets_of_slices_are_the_sets_of_the_project(
    make: Callable[[str], Path], tmp_path: Path
) -> None:
    project = Project.create(tmp_path / "project", recognise(make("subject slices")))

    assert {case.name: case.set for case in project.cases} == {
        "Subj_1": "train", "Subj_2": "train", "Subj_3": "val", "Subj_10": "train",
        "Subj_21": "test",
    }  # fmt: skip
    names = {1: "liver", 2: "right kidney", 3: "left kidney", 4: "spleen"}
    assert project.classes == names


def test_slices_make_a_volume_in_the_order_of_their_numbers_with_the_last_one(
    make: Callable[[str], Path], tmp_path: Path
) -> None:
    project = Project.create(tmp_path / "project", recognise(make("subject slices")))

    image = read_volume(project.case("Subj_10").images["image"])
    label = label_of(project, "Subj_10")
    assert image.data[0, :, 3, 0].tolist() == [10 * at for at in range(1, 12)]
    assert label[:, 3, 0].tolist() == [1] * 10 + [4]
    assert (label[:, 0, 8] == 2).all()
    assert "1 mm" in str(image.storage.extra["warnings"])


def test_a_subject_with_slices_in_two_sets_is_only_checked_on(
    make: Callable[[str], Path], tmp_path: Path
) -> None:
    root = make("subject slices")
    for kind in ("Img", "GT"):
        picture(root / "val" / kind / "Subj_1slice_12.png", grey(63))

    cohort = recognise(root)

    project = Project.create(tmp_path / "project", cohort)
    assert {case.name: case.set for case in project.cases if case.patient == "Subj_1"} == {
        "Subj_1-train": "val",
        "Subj_1-val": "val",
    }
    assert "Slices of Subj_1 are in train and in val" in cohort.warnings[0]


def test_greys_between_those_of_the_classes_are_refused_with_their_number(
    make: Callable[[str], Path], tmp_path: Path
) -> None:
    root = make("subject slices")
    picture(root / "train" / "GT" / "Subj_2slice_3.png", grey(63, 90))
    project = Project.create(tmp_path / "project", recognise(root))

    # Looking at some of the masks may miss it; reading the label does not.
    with pytest.raises(VolumeError, match=r"6 pixels of the mask .* such as 90"):
        label_of(project, "Subj_2")


def test_the_colours_of_kaggle_are_three_images_of_one_case(
    make: Callable[[str], Path], tmp_path: Path
) -> None:
    project = Project.create(tmp_path / "project", recognise(make("kaggle_3m")))

    case = project.case("TCGA_CS_4941_19960909")
    assert list(case.images) == ["pre-contrast", "FLAIR", "post-contrast"]
    assert len(set(case.images.values())) == 1
    image = read_images(case.images)
    assert image.data.shape == (3, 12, 7, 9)
    assert image.data[:, 11, 3, 0].tolist() == [12, 24, 36]
    assert label_of(project, case.name)[:, 3, 0].tolist() == [0] * 11 + [1]


@pytest.mark.parametrize("title", ["CHAOS CT", "CHAOS MR"])
def test_the_masks_of_chaos_lie_on_what_they_were_drawn_on(
    title: str, make: Callable[[str], Path], tmp_path: Path
) -> None:
    project = Project.create(tmp_path / "project", recognise(make(title)))

    for case in project.cases:
        (path,) = case.images.values()
        image = read_volume(path)
        assert np.array_equal(label_of(project, case.name) > 0, image.data[0] > 0)


def test_files_that_count_against_the_positions_are_turned(
    make: Callable[[str], Path], tmp_path: Path
) -> None:
    cohort = recognise(make("CHAOS CT"))

    project = Project.create(tmp_path / "project", cohort)
    assert "are not named as their slices" in cohort.warnings[0]
    assert "the edges in the images agree" in cohort.warnings[0]
    # The first file lies highest, so its mask is the last slice of the volume.
    assert label_of(project, "1")[-1, 3, 6] == 1


def test_masks_in_the_reverse_order_are_left_out_and_told(make: Callable[[str], Path]) -> None:
    root = make("CHAOS CT")
    for patient in ("1", "2"):
        masks = sorted((root / patient / "Ground").glob("*.png"))
        contents = [one.read_bytes() for one in masks]
        for one, content in zip(masks, reversed(contents), strict=True):
            one.write_bytes(content)

    cohort = recognise(root)

    assert [case.name for case in cohort.cases if case.label] == ["10"]
    assert any("1, 2" in one and "better in the reverse" in one for one in cohort.warnings)


def test_a_missing_mask_of_chaos_leaves_its_case_unlabelled(make: Callable[[str], Path]) -> None:
    root = make("CHAOS CT")
    (root / "2" / "Ground" / "liver_GT_003.png").unlink()

    cohort = recognise(root)

    assert [case.name for case in cohort.cases if case.label is None] == ["2"]
    assert any("of 2 are not as many as the slices" in one for one in cohort.warnings)


def test_the_nearest_layout_is_named_with_what_it_lacks(make: Callable[[str], Path]) -> None:
    root = make("BIDS")
    for place in ("derivatives", "sub-01", "sub-02", "sub-10"):
        for file in (root / place).rglob("*.nii.gz"):
            file.unlink()

    with pytest.raises(LayoutError, match=r"BIDS .*, but sub-01 holds no image such as anat"):
        recognise(root)


def test_two_data_sets_in_one_folder_are_both_named(
    tmp_path: Path, write_series: Callable[..., None]
) -> None:
    chaos_ct(tmp_path / "Train_Sets" / "CT", write_series)
    chaos_mr(tmp_path / "Train_Sets" / "MR", write_series)

    with pytest.raises(LayoutError, match="Its folders CT, MR hold cases; choose one of them"):
        recognise(tmp_path / "Train_Sets")
