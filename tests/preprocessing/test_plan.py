from __future__ import annotations

import json
import math

import numpy as np
import pytest

from napari_attnseg.config import ConfigError
from napari_attnseg.preprocessing.fingerprint import ChannelFacts, Fingerprint
from napari_attnseg.preprocessing.plan import Plan, is_ct_name, make_plan

GIB = 2**30


def facts(shape, spacing, *, cases=3, names=("T1",), voxels=(1000, 10, 10)) -> Fingerprint:
    channels = tuple(
        ChannelFacts(
            name=name,
            foreground=(10.0, 50.0, 120.0, 55.0, 20.0),
            cases=((0.0, 40.0, 100.0, 0.0),) * cases,
        )
        for name in names
    )
    return Fingerprint(
        shapes_dhw=(shape,) * cases,
        spacings_dhw=(spacing,) * cases,
        channels=channels,
        class_values=(0, 7, 137)[: len(voxels)],
        class_voxels=voxels,
        class_cases=(cases,) * len(voxels),
    )


HIPPOCAMPUS = facts((36, 50, 35), (1.0, 1.0, 1.0))
SPLEEN = facts((26, 166, 164), (5.0, 0.795, 0.795), names=("CT",))
CORD = facts((9, 54, 49), (7.5, 0.5, 0.5))
BRAIN = facts((155, 240, 240), (1.0, 1.0, 1.0), names=("T1", "FLAIR"))
ABDOMEN = facts((700, 512, 512), (1.0, 0.75, 0.75), names=("CT",))
COHORTS = {
    "hippocampus": HIPPOCAMPUS,
    "spleen": SPLEEN,
    "cord": CORD,
    "brain": BRAIN,
    "abdomen": ABDOMEN,
    "one slice": facts((1, 300, 260), (1.0, 0.4, 0.4)),
    "a sagittal slice": facts((300, 260, 1), (0.4, 0.4, 1.0)),
    "a thread": facts((2, 3, 90), (1.0, 1.0, 1.0)),
    "a voxel": facts((1, 1, 1), (1.0, 1.0, 1.0)),
    "a speck": facts((3, 4, 5), (1.0, 1.0, 1.0)),
}
cohorts = pytest.mark.parametrize("cohort", COHORTS.values(), ids=COHORTS.keys())
settings = pytest.mark.parametrize(
    ("device", "dims"), [("cpu", 3), ("cpu", 2), ("cuda", 3), ("cuda", 2)]
)


@cohorts
@settings
def test_every_plan_can_be_built_and_survives_json(cohort, device, dims) -> None:
    plan = make_plan(cohort, dims=dims, device=device, memory_bytes=8 * GIB)

    assert Plan.from_dict(json.loads(json.dumps(plan.to_dict()))) == plan
    assert len(plan.widths) == len(plan.strides) == len(plan.kernels)
    assert plan.strides[0] == (1, 1, 1)
    assert all(n % m == 0 for n, m in zip(plan.patch_size, plan.size_multiple, strict=True))
    assert plan.memory_bytes <= 8 * GIB
    assert plan.size_multiple[0] == 1 or dims == 3
    assert len(plan.widths) >= 2


@settings
def test_nothing_is_pooled_below_four_voxels(device, dims) -> None:
    for cohort in (HIPPOCAMPUS, SPLEEN, CORD, BRAIN, ABDOMEN):
        plan = make_plan(cohort, dims=dims, device=device, memory_bytes=8 * GIB)

        pooled = zip(plan.patch_size, plan.size_multiple, strict=True)
        assert all(n // m >= 4 for n, m in pooled if m > 1)


@cohorts
@settings
def test_less_memory_makes_smaller_patches(cohort, device, dims) -> None:
    large = make_plan(cohort, dims=dims, device=device, memory_bytes=8 * GIB)

    small = make_plan(cohort, dims=dims, device=device, memory_bytes=GIB // 2)

    assert small.memory_bytes <= max(GIB // 2, 0)
    assert math.prod(small.patch_size) <= math.prod(large.patch_size)


def test_small_volumes_fill_a_patch_with_hardly_any_padding() -> None:
    plan = make_plan(HIPPOCAMPUS, memory_bytes=4 * GIB)

    assert plan.patch_size == (32, 48, 32)
    assert plan.batch_size == 2
    assert plan.widths == (16, 32, 64, 128)


def test_anisotropic_volumes_stay_anisotropic() -> None:
    plan = make_plan(SPLEEN, memory_bytes=4 * GIB)

    assert plan.spacing_dhw == (5.0, 0.795, 0.795)
    depth, height, width = plan.patch_size
    assert depth * 3 < height == width
    assert plan.strides[1:3] == ((1, 2, 2), (1, 2, 2))
    assert plan.kernels[0] == (1, 3, 3)
    assert plan.kernels[-1] == (3, 3, 3)


def test_an_axis_is_pooled_only_when_its_voxels_are_nearly_the_finest() -> None:
    plan = make_plan(CORD, memory_bytes=4 * GIB)

    spacing = np.array(plan.spacing_dhw)
    for stride in plan.strides[1:]:
        pooled = np.array(stride) > 1
        assert (spacing[pooled] <= 2 * spacing[pooled].min()).all()
        spacing = spacing * stride


def test_slices_lie_along_d_whatever_the_plane_of_the_scan() -> None:
    sagittal = make_plan(facts((200, 210, 30), (0.5, 0.5, 4.0)), dims=2, memory_bytes=GIB)
    coronal = make_plan(facts((200, 30, 210), (0.5, 4.0, 0.5)), memory_bytes=GIB)

    assert (sagittal.orientation, sagittal.spacing_dhw) == ("ASR", (4.0, 0.5, 0.5))
    assert sagittal.shape_dhw == (30, 200, 210)
    assert (coronal.orientation, coronal.spacing_dhw) == ("RSA", (4.0, 0.5, 0.5))
    assert (sagittal.left_right_axis, coronal.left_right_axis) == (0, 2)


def test_the_thickness_of_a_lone_slice_does_not_matter() -> None:
    plan = make_plan(COHORTS["a sagittal slice"], dims=2, memory_bytes=GIB)

    assert plan.orientation == "ASR"
    assert plan.shape_dhw == (1, 300, 260)
    assert plan.patch_size[0] == 1


def test_a_2d_network_sees_whole_slices() -> None:
    plan = make_plan(SPLEEN, dims=2, memory_bytes=4 * GIB)

    assert plan.patch_size[1] >= 166
    assert plan.patch_size[2] >= 164
    assert 1 <= plan.patch_size[0] <= 26


def test_mixed_slice_distances_lean_to_the_finer() -> None:
    mixed = SPLEEN.replace(spacings_dhw=((2.0, 0.8, 0.8), (5.0, 0.8, 0.8), (5.0, 0.8, 0.8)))

    plan = make_plan(mixed, memory_bytes=4 * GIB)

    assert 2.0 <= plan.spacing_dhw[0] < 5.0
    assert plan.spacing_dhw[1:] == (0.8, 0.8)


def test_a_cpu_sees_huge_volumes_coarser_but_never_by_more_than_two() -> None:
    plan = make_plan(ABDOMEN, memory_bytes=8 * GIB)

    assert max(plan.spacing_dhw) <= 1.5
    assert min(plan.spacing_dhw) > 1.0


def test_a_network_is_wider_where_there_is_a_gpu() -> None:
    cpu = make_plan(BRAIN, memory_bytes=16 * GIB)
    gpu = make_plan(BRAIN, memory_bytes=16 * GIB, device="cuda")

    assert math.prod(cpu.patch_size) <= 64**3
    assert math.prod(gpu.patch_size) > 4 * math.prod(cpu.patch_size)
    assert gpu.widths[0] > cpu.widths[0]


def test_ct_is_normalised_by_the_cohort_and_all_else_by_the_case() -> None:
    ct, t1 = make_plan(
        facts((30, 40, 50), (1, 1, 1), names=("CT", "T1")), memory_bytes=GIB
    ).channels

    assert (ct.kind, ct.low, ct.high, ct.mean, ct.std) == ("ct", 10.0, 120.0, 55.0, 20.0)
    assert t1.kind == "zscore"


@pytest.mark.parametrize(
    ("name", "expected"),
    [("CT", True), ("ct_abdomen", True), ("CTA", True), ("T1", False), ("PET-CT", False)],
)
def test_ct_is_known_by_its_name(name, expected) -> None:
    assert is_ct_name(name) is expected


def test_class_values_may_have_gaps_and_rare_ones_are_sought() -> None:
    rare = make_plan(facts((30, 40, 50), (1, 1, 1), voxels=(99_000, 900, 100)), memory_bytes=GIB)
    common = make_plan(facts((30, 40, 50), (1, 1, 1), voxels=(50, 25, 25)), memory_bytes=GIB)

    assert rare.class_values == (7, 137)
    assert rare.class_frequencies == (0.009, 0.001)
    assert rare.foreground_fraction > common.foreground_fraction


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("orientation", "LPS"),
        ("spacing_dhw", (2.0, 1.5, 1.5)),
        ("patch_size", (10, 20, 30)),
        ("batch_size", 7),
        ("widths", (8, 16)),
        ("widths", (8, 16, 16, 16, 16, 16)),
        ("strides", ((1, 1, 1), (1, 2, 2), (2, 2, 2))),
        ("kernels", ((3, 3, 3),) * 4),
        ("dims", 2),
        ("foreground_fraction", 0.9),
    ],
)
def test_anything_can_be_overridden(name, value) -> None:
    plan = make_plan(HIPPOCAMPUS, memory_bytes=GIB, overrides={name: value})

    assert getattr(plan, name) == value
    assert len(plan.widths) == len(plan.strides)


def test_what_depends_on_an_override_follows_it() -> None:
    plan = make_plan(HIPPOCAMPUS, memory_bytes=GIB, overrides={"spacing_dhw": [2.0, 2.0, 2.0]})

    assert plan.shape_dhw == (18, 25, 18)
    assert plan.patch_size == (16, 24, 16)


def test_an_override_of_none_is_no_override() -> None:
    plan = make_plan(HIPPOCAMPUS, memory_bytes=GIB, overrides={"patch_size": None})

    assert plan.patch_size == (32, 48, 32)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ({"patchsize": (1, 2, 3)}, "Did you mean 'patch_size'"),
        ({"orientation": "RRA"}, "orientation is 'RRA'"),
        ({"spacing_dhw": (0.0, 1.0, 1.0)}, "three positive numbers"),
        ({"batch_size": 0}, "smallest allowed is 1"),
        ({"widths": (8, 16), "strides": ((1, 1, 1),) * 3}, "2 widths and 3 strides"),
    ],
)
def test_an_impossible_override_is_refused(override, message) -> None:
    with pytest.raises(ConfigError, match=message):
        make_plan(HIPPOCAMPUS, memory_bytes=GIB, overrides=override)


def test_without_a_number_the_machine_is_asked_for_its_memory() -> None:
    assert make_plan(HIPPOCAMPUS).memory_bytes > 0
