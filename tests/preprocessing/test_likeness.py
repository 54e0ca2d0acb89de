from __future__ import annotations

import numpy as np
import pytest

from napari_attnseg.preprocessing.fingerprint import fingerprint
from napari_attnseg.preprocessing.pipeline import unlike
from napari_attnseg.preprocessing.plan import Plan, make_plan
from napari_attnseg.volume import Volume

SPACING = np.diag([1.0, 1.0, 1.5, 1.0])


def head(seed=0, shape=(20, 25, 30), affine=SPACING) -> Volume:
    rng = np.random.default_rng(seed)
    data = rng.gamma(2.0, 50.0, size=shape) * rng.uniform(0.5, 50)
    return Volume(data[None], affine)


@pytest.fixture(scope="module")
def learned() -> Plan:
    return make_plan(fingerprint([(head(seed), None) for seed in range(4)]), memory_bytes=2**30)


@pytest.fixture(scope="module")
def learned_ct() -> Plan:
    scans = [head(seed).replace(data=head(seed).data / 50 - 500) for seed in range(4)]
    facts = fingerprint([(scan, None) for scan in scans], channels=["CT"])
    return make_plan(facts, memory_bytes=2**30)


@pytest.mark.parametrize("orientation", ["RAS", "PIR", "LSA"])
def test_a_usual_case_gives_no_warning(orientation, learned) -> None:
    assert unlike(head(9).reoriented(orientation), learned) == []


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (head(affine=np.diag([1.0, 1.0, 5.0, 1.0])), "Voxels of 5 x 1 x 1 mm"),
        (head(shape=(1, 25, 30)), "a single slice"),
        (head(shape=(20, 25, 200)), "more or less of the body"),
        (head().replace(data=-head().data), "another sequence or modality"),
        (head().replace(data=np.full((1, 20, 25, 30), 7)), "nothing to see"),
        (head().replace(data=np.full((1, 20, 25, 30), np.nan)), "15,000 of 15,000 voxels"),
    ],
)
def test_an_unusual_case_is_told_in_a_sentence(image, message, learned) -> None:
    assert any(message in warning for warning in unlike(image, learned))


def test_ct_that_is_not_in_hounsfield_units_is_told(learned_ct) -> None:
    scan = head(8).replace(data=head(8).data / 50 - 500)
    rescaled = scan.replace(data=(scan.data + 500) / 4000)

    assert unlike(scan, learned_ct) == []
    assert any("Hounsfield" in warning for warning in unlike(rescaled, learned_ct))
