from __future__ import annotations

import numpy as np
import pytest

from napari_attnseg.preprocessing.label_values import renumbered, value_counts


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "uint64", "float32", "bool"])
def test_counts_are_those_of_a_plain_count(dtype) -> None:
    label = np.random.default_rng(0).integers(0, 2, size=(3, 4, 5)).astype(dtype)

    counts = value_counts(label)

    assert counts == {0: int((label == 0).sum()), 1: int((label == 1).sum())}


@pytest.mark.parametrize("large", [137, 65_535, 65_536, 2**40])
def test_values_get_their_numbers_however_large(large) -> None:
    label = np.array([[[0, large, 7, 7, large]]], dtype=np.int64)

    result = renumbered(label, {0: 0, 7: 2, large: 1, 9: 3})

    assert result.tolist() == [[[0, 1, 2, 2, 1]]]
    assert result.dtype == np.uint8
    assert value_counts(label) == {0: 1, 7: 2, large: 2}
