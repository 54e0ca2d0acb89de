"""Whatever is done to a file, it is read or refused with a sentence, fast and in little memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

FILES = 2000
SUPERVISOR = Path(__file__).with_name("supervisor.py")


def test_no_damaged_file_crashes_hangs_or_takes_memory(tmp_path):
    done = subprocess.run(
        [sys.executable, str(SUPERVISOR), str(tmp_path / "fuzz"), str(FILES), "0"],
        capture_output=True,
        text=True,
        timeout=280,
    )

    assert done.returncode == 0, done.stderr[-4000:]
    found = json.loads(done.stdout)
    told = "\n".join(json.dumps(one, indent=1) for one in found["problems"][:10])
    assert not found["problems"], f"{len(found['problems'])} of {FILES}:\n{told}"
    assert found["read"] + found["refused"] == FILES
    # Damage that is always or never noticed would test nothing.
    for name, counts in found["seeds"].items():
        assert counts["refused"] >= 5, name
    assert found["read"] > FILES / 10
