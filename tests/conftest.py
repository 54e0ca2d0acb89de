from __future__ import annotations

import os
from pathlib import Path

import pytest

# Two tests run at a time; one thread each is fastest overall.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("NAPARI_CONFIG", "")

SHARED_DATA = Path(__file__).parent.parent.parent / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of real volumes, which stands beside the checkout where it exists."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the real volumes in ../shared/data are not on this machine")
    return SHARED_DATA
