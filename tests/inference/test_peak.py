"""Peak memory as the system counts it, against allocations of a known size."""

from __future__ import annotations

import pytest
import torch

from napari_attnseg.inference.peak import watching_memory

CPU = torch.device("cpu")


@pytest.mark.parametrize("megabytes", [40, 120])
def test_the_peak_is_what_was_held_at_a_time(megabytes: int) -> None:
    with watching_memory(CPU) as peak:
        first = torch.ones(megabytes * 250_000)
        second = first + 1
        del first, second

    if peak.taken_bytes is None:
        pytest.skip("this system cannot forget an earlier, higher peak")
    assert peak.taken_bytes == pytest.approx(2 * megabytes * 1e6, rel=0.1, abs=4e6)


def test_a_lower_peak_is_seen_after_a_higher_one() -> None:
    with watching_memory(CPU):
        torch.ones(100_000_000 // 4)
    with watching_memory(CPU) as peak:
        torch.ones(10_000_000 // 4)

    if peak.taken_bytes is None:
        pytest.skip("this system cannot forget an earlier, higher peak")
    assert peak.taken_bytes == pytest.approx(1e7, rel=0.2, abs=4e6)
