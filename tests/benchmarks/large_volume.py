"""Time and memory of opening a volume larger than one wants in memory, in every format.

    python tests/benchmarks/large_volume.py [gigabytes] [folder]

Each format is opened in a process of its own, whose memory is counted beyond that of the same
process with everything imported and nothing opened. Caches of the system are warm; ``.nii.gz`` is
unpacked once, and then found in the cache.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

SIDE = 512
FORMATS = (".nii", ".nrrd", ".mha", ".mhd", ".ome.zarr", ".nii.gz")

CHILD = """
import json, os, sys, time
import numpy as np
import dask.array
from napari_attnseg.io import open_volume, opening, sampled
from pathlib import Path

def resident():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    children = 0
    for one in Path("/proc/self/task").glob("*/children"):
        for pid in one.read_text().split():
            children += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return (pages + children) * os.sysconf("SC_PAGE_SIZE")

def peak():
    line = next(x for x in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in x)
    return int(line.split()[1]) << 10

before, peak_before = resident(), peak()
told = {}
start = time.perf_counter()
volume = open_volume(sys.argv[1])
told["open"] = time.perf_counter() - start
assert volume.is_lazy
d, h, w = volume.shape_dhw
for name, index in (("axial", (0, d // 2)), ("sagittal", (0, slice(None), slice(None), w // 2)),
                    ("coronal", (0, slice(None), h // 2)), ("axial again", (0, d // 3))):
    start = time.perf_counter()
    plane = np.asarray(volume.data[index])
    told[name] = time.perf_counter() - start
start = time.perf_counter()
sampled(volume)
told["contrast"] = time.perf_counter() - start
told["MB"] = (resident() - before) / 1e6
told["peak MB"] = (peak() - peak_before) / 1e6
print(json.dumps(told))
"""


def make(path: Path, planes: int) -> None:
    """Write a volume of planes that differ, without ever holding it whole."""
    import dask.array as da

    from napari_attnseg import Volume, write_volume
    from napari_attnseg.volume import Storage

    j, i = np.indices((SIDE, SIDE))
    base = ((np.sin(i / 40) + np.cos(j / 55)) * 700).astype(np.int16)
    noise = np.random.default_rng(0).integers(-30, 30, (SIDE, SIDE)).astype(np.int16)

    def plane(block_info: dict) -> np.ndarray:
        k = block_info[None]["array-location"][1][0]
        return (np.roll(base, k, 1) + np.roll(noise, 7 * k, 0))[None, None] + np.int16(k)

    chunks = (1, (1,) * planes, SIDE, SIDE)
    data = da.map_blocks(plane, chunks=((1,), chunks[1], (SIDE,), (SIDE,)), dtype=np.int16)
    kind = {".nrrd": "nrrd", ".mha": "metaimage", ".mhd": "metaimage"}.get(path.suffix)
    extra = {"encoding": "raw", "placing": {}}
    storage = Storage(format=kind, dtype="int16", extra=extra) if kind else None
    affine = np.diag([-0.6, -0.6, 0.5, 1.0])
    write_volume(path, Volume(data, affine, storage))


def main() -> None:
    gigabytes = float(sys.argv[1]) if len(sys.argv) > 1 else 2.0
    planes = int(gigabytes * 1e9 / (SIDE * SIDE * 2))
    with tempfile.TemporaryDirectory(dir=sys.argv[2] if len(sys.argv) > 2 else None) as folder:
        environment = {**os.environ, "ATTNSEG_CACHE": str(Path(folder) / "cache")}
        for suffix in FORMATS:
            path = Path(folder) / f"large{suffix}"
            start = time.perf_counter()
            make(path, planes)
            print(f"{suffix:10} written in {time.perf_counter() - start:.1f} s", flush=True)
            for _ in range(2):
                command = [sys.executable, "-c", CHILD, str(path)]
                done = subprocess.run(
                    command, env=environment, capture_output=True, text=True, check=False
                )
                if done.returncode:
                    print(done.stderr[-2000:])
                    continue
                told = json.loads(done.stdout)
                facts = (f"{name} {value:.2f}" for name, value in told.items())
                print(f"{suffix:10} {'  '.join(facts)}", flush=True)


if __name__ == "__main__":
    main()
