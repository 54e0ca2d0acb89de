"""Time reading and writing of .nii.gz against nibabel and SimpleITK, in one run.

    python tests/benchmarks/read_write.py [repetitions]

The contestants take turns, so that a busy machine is busy for all of them; ratios are of medians,
of the time that passed and of the processor's time, which other programs change little. Every
result is compared with nibabel's before it counts, headers included. A ratio above 1 means that
napari_attnseg is faster.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import nibabel as nib
import numpy as np
import SimpleITK
from scipy.ndimage import gaussian_filter

from napari_attnseg import Volume, read_volume, write_volume

SHAPE = (160, 256, 256)
AFFINE = np.diag([0.8, 0.8, 1.25, 1.0])
OURS = "napari_attnseg"


def volumes() -> dict[str, np.ndarray]:
    """Return a volume with the entropy of a CT, and a label map of 5 classes."""
    random = np.random.default_rng(0)
    smooth = gaussian_filter(random.normal(size=SHAPE).astype(np.float32), 12)
    image = (smooth / smooth.std() * 250 + random.normal(scale=4, size=SHAPE)).astype(np.int16)
    image[smooth < 0] = -1024
    classes = np.digitize(smooth / smooth.std(), [0.2, 0.6, 1.0, 1.4, 1.8])
    return {"image": image, "label": classes.astype(np.uint8)}


def readers(path: Path) -> dict[str, Callable[[], np.ndarray]]:
    """Return what reads a file into an array (D, H, W)."""
    return {
        OURS: lambda: read_volume(path).data[0],
        "nibabel": lambda: np.asanyarray(nib.load(path).dataobj).T,
        "nibabel get_fdata": lambda: nib.load(path).get_fdata().T,
        "SimpleITK": lambda: SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path))),
    }


def writers(data: np.ndarray, folder: Path) -> dict[str, Callable[[], None]]:
    """Return what writes an array (D, H, W) to ``folder``."""
    ours = Volume(data[None], AFFINE)
    theirs = nib.Nifti1Image(data.T, AFFINE)
    itk = SimpleITK.GetImageFromArray(data)
    return {
        OURS: lambda: write_volume(folder / f"{OURS}.nii.gz", ours) and None,
        "nibabel": lambda: nib.save(theirs, folder / "nibabel.nii.gz"),
        "SimpleITK": lambda: SimpleITK.WriteImage(itk, str(folder / "SimpleITK.nii.gz"), True),
    }


def take_turns(
    contestants: dict[str, Callable], repetitions: int
) -> dict[str, tuple[float, float]]:
    """Return the median seconds of each: passed, and of the processor."""
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in contestants}
    for _ in range(repetitions):
        for name, run in contestants.items():
            start, used = time.perf_counter(), time.process_time()
            run()
            seconds[name].append((time.perf_counter() - start, time.process_time() - used))
    return {
        name: (median(one for one, _ in times), median(one for _, one in times))
        for name, times in seconds.items()
    }


def show(
    what: str, seconds: dict[str, tuple[float, float]], sizes: dict[str, int] | None = None
) -> None:
    """Print passed and processor milliseconds with their ratios to ours, and sizes."""
    for name, (passed, used) in seconds.items():
        mine = seconds[OURS]
        size = f"  {sizes[name] / 1e6:6.2f} MB" if sizes and name in sizes else ""
        print(
            f"{what:12} {name:18} {passed * 1000:8.1f} ms {passed / mine[0]:5.2f} x   processor "
            f"{used * 1000:8.1f} ms {used / mine[1]:5.2f} x{size}"
        )


def require_same_header(ours: Path, theirs: Path) -> None:
    """Stop if a header differs from nibabel's in anything that bears on voxels or place."""
    mine, other = nib.load(ours).header, nib.load(theirs).header
    for name in mine:
        # Neither of us scales; nibabel says so with NaN, and leaves the unit of time open.
        if name not in ("scl_slope", "scl_inter", "xyzt_units", "sform_code", "qform_code"):
            assert np.array_equal(mine[name], other[name]), name
    assert np.array_equal(nib.load(ours).affine, nib.load(theirs).affine)


def main() -> None:
    repetitions = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name, data in volumes().items():
            path = folder / f"{name}.nii.gz"
            nib.save(nib.Nifti1Image(data.T, AFFINE), path)
            for reader, run in readers(path).items():
                assert np.array_equal(run(), data), reader
            show(f"read {name}", take_turns(readers(path), repetitions))
            times = take_turns(writers(data, folder), repetitions)
            for writer in times:
                saved = nib.load(folder / f"{writer}.nii.gz")
                assert np.array_equal(np.asanyarray(saved.dataobj).T, data), writer
            require_same_header(folder / f"{OURS}.nii.gz", folder / "nibabel.nii.gz")
            sizes = {one: (folder / f"{one}.nii.gz").stat().st_size for one in times}
            show(f"write {name}", times, sizes)


if __name__ == "__main__":
    main()
