"""Reads damaged files one after another and tells what came of each, a line of JSON a file.

    python worker.py SEEDS SEED START COUNT

A crash ends this process and no other; whoever started it knows from the last line how far it got.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import mutations
import numpy as np

from napari_attnseg import read_volume
from napari_attnseg.io import VolumeError, open_volume
from napari_attnseg.volume import Volume

ALLOWANCE = 64 << 20
SECONDS = 5.0
READERS: tuple[Callable[[Path], Volume], ...] = (
    read_volume,
    partial(read_volume, labels=True),
    lambda path: open_volume(path, larger_than=0).loaded(),
)
LONGEST_SENTENCE = 400
STATUS = Path("/proc/self/status")
REFERENCES = Path("/proc/self/clear_refs")


def main() -> None:
    folder, seed, start, count = Path(sys.argv[1]), *map(int, sys.argv[2:5])
    os.environ["ATTNSEG_CACHE"] = str(folder.parent / "cache")
    places = json.loads((folder / "seeds.json").read_text())
    names = sorted(places)
    warnings.filterwarnings("error", module="napari_attnseg")
    # What is loaded at the first reading is not the price of a file.
    for name in names:
        read_volume(folder / places[name])
    for index in range(start, start + count):
        name = names[index % len(names)]
        # Told first, so that it is known which file ended this process.
        tell(index=index, seed=name)
        tell(index=index, seed=name, **one(folder, name, places[name], seed, index))


def tell(**facts: object) -> None:
    print(json.dumps(facts), flush=True)  # noqa: T201 - the supervisor reads it


def one(folder: Path, name: str, place: str, seed: int, index: int) -> dict[str, object]:
    """Damage a copy of a seed, read it, and return what came of it; kept if that is a problem."""
    random = np.random.default_rng((seed, index))
    scratch = folder.parent / f"damaged-{seed}-{index}"
    shutil.copytree(folder / Path(place).parts[0], scratch / Path(place).parts[0])
    how = mutations.damage(scratch, random)
    path = scratch / place
    honest = sum(one.stat().st_size for one in (folder / Path(place).parts[0]).rglob("*"))
    start_memory, start = peak(), time.perf_counter()
    result, problem = outcome(path, READERS[int(random.integers(len(READERS)))])
    seconds = time.perf_counter() - start
    grown = peak(new=False) - start_memory
    if grown > ALLOWANCE + 2 * honest:
        problem = problem or f"took {grown >> 20} MB"
    if seconds > SECONDS:
        # What takes long because the machine is busy does not do so twice.
        start = time.perf_counter()
        outcome(path, read_volume)
        seconds = time.perf_counter() - start
        problem = problem or (f"took {seconds:.1f} s" if seconds > SECONDS else "")
    if not problem:
        shutil.rmtree(scratch)
    return {"how": how, "result": result, "problem": problem, "seconds": seconds, "grown": grown}


def outcome(path: Path, read: Callable[[Path], Volume]) -> tuple[str, str]:
    try:
        volume = read(path)
    except VolumeError as error:
        return f"refused: {error}", wrong_with_sentence(str(error), path)
    except Exception:  # noqa: BLE001 - whatever it is, it is the finding
        return "raised", traceback.format_exc(limit=-4)
    return "read", wrong_with(volume)


def wrong_with_sentence(text: str, path: Path) -> str:
    is_named = any(one.name in text for one in (path, path.parent, *path.parent.rglob("*")))
    is_sentence = text.endswith(".") and text.isprintable() and len(text) <= LONGEST_SENTENCE
    if "free memory" in text:
        return f"asked for too much: {text}"
    return "" if is_named and is_sentence else f"no sentence: {text!r}"


def wrong_with(volume: Volume) -> str:
    if not (volume.data.ndim == 4 and volume.data.size and np.isfinite(volume.affine).all()):
        return "no volume"
    if volume.data.dtype.kind not in "uif" or not volume.data.dtype.isnative:
        return f"voxels of type {volume.data.dtype}"
    volume.data.max()
    return ""


def peak(*, new: bool = True) -> int:
    """Return the most memory held since the last count began; 0 where it is not told."""
    if not STATUS.exists():
        return 0
    if new:
        REFERENCES.write_text("5")
    line = next(one for one in STATUS.read_text().splitlines() if one.startswith("VmHWM"))
    return int(line.split()[1]) << 10


if __name__ == "__main__":
    main()
