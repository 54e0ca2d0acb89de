"""Time logits on the network's grid -> label map on the input's grid, against the usual way.

The usual way, which nnU-Net's export takes, enlarges every class in float64 and then takes the
largest: skimage's resize of order 1 where scikit-image is installed, scipy's zoom on the same grid
otherwise. The second peer is torch's own interpolation of all classes with argmax.

    python tests/benchmarks/restore_labels.py [--classes 25] [--small] [--repeat 3]
"""

from __future__ import annotations

import argparse
import resource
import statistics
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import scipy.ndimage
import torch
import torch.nn.functional as F

from napari_attnseg.preprocessing.pipeline import restore_labels
from napari_attnseg.preprocessing.plan import ChannelPlan, Plan
from napari_attnseg.volume import Grid


def smooth_logits(classes: int, shape: tuple[int, int, int]) -> torch.Tensor:
    """Return logits with regions like organs, float16, as a sliding window leaves them."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randn(1, classes, *(max(2, n // 12) for n in shape), generator=generator)
    return (F.interpolate(coarse, shape, mode="trilinear")[0] * 8).half()


def per_class_float64(logits: torch.Tensor, shape: tuple[int, int, int]) -> np.ndarray:
    """Enlarge each class by spline interpolation of order 1 in float64, then argmax."""
    enlarged = np.zeros((logits.shape[0], *shape))
    for index, one in enumerate(logits.float().numpy().astype(np.float64)):
        enlarged[index] = scipy_or_skimage(one, shape)
    return enlarged.argmax(axis=0).astype(np.uint8)


def scipy_or_skimage(one: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """Resize with half-pixel centres, as scikit-image does."""
    try:
        from skimage.transform import resize
    except ImportError:
        factors = [a / b for a, b in zip(shape, one.shape, strict=True)]
        return scipy.ndimage.zoom(one, factors, order=1, mode="nearest", grid_mode=True)
    return resize(one, shape, order=1, mode="edge", anti_aliasing=False, clip=True)


def torch_argmax(logits: torch.Tensor, shape: tuple[int, int, int]) -> np.ndarray:
    """Enlarge all classes in float32 and take torch's argmax."""
    enlarged = F.interpolate(logits[None].float(), shape, mode="trilinear")[0]
    return enlarged.argmax(dim=0).to(torch.uint8).numpy()


class PeakMemory:
    """Peak resident memory in MB above that at the start, polled by a thread."""

    def __enter__(self) -> PeakMemory:
        self.start = self.peak = resident_mb()
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.poll)
        self.thread.start()
        return self

    def poll(self) -> None:
        """Look every 2 ms."""
        while not self.stop.wait(0.002):
            self.peak = max(self.peak, resident_mb())

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.thread.join()
        self.extra = self.peak - self.start


def resident_mb() -> float:
    """Return the resident memory of this process."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 2**20


def memory_of(function: Callable[[], np.ndarray]) -> float:
    """Return the extra memory of one call in MB."""
    with PeakMemory() as memory:
        function()
    return memory.extra


def timed(function: Callable[[], np.ndarray]) -> tuple[np.ndarray, float, float]:
    """Return the result, the wall and the processor seconds of one call."""
    began, used = time.perf_counter(), time.process_time()
    result = function()
    return result, time.perf_counter() - began, time.process_time() - used


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--classes", type=int, nargs="+", default=[5, 25])
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--small", action="store_true")
    arguments = parser.parse_args()
    scale = 2 if arguments.small else 1
    native = Grid(tuple(n // scale for n in (160, 256, 256)), np.diag([0.8, 0.8, 1.25, 1]) * scale)
    shape = tuple(n // scale for n in (100, 160, 160))
    target = tuple(
        n * mm / m for n, mm, m in zip(native.shape_dhw, native.spacing_dhw, shape, strict=True)
    )
    plan = Plan(channels=(ChannelPlan(),), spacing_dhw=target)
    for classes in arguments.classes:
        logits = smooth_logits(classes, shape)
        ways = {
            "this package": lambda x=logits, k=classes: restore_labels(
                x, native, plan, range(1, k)
            ).data[0],
            "torch, argmax": lambda x=logits: torch_argmax(x, native.shape_dhw),
            "per class, float64": lambda x=logits: per_class_float64(x, native.shape_dhw),
        }
        extra = {name: memory_of(way) for name, way in ways.items()}
        runs: dict[str, list[tuple[np.ndarray, float, float]]] = {name: [] for name in ways}
        for _ in range(arguments.repeat):
            for name, way in ways.items():
                runs[name].append(timed(way))
        report(f"{classes} classes, {shape} -> {native.shape_dhw}", runs, extra)


def report(
    title: str,
    runs: dict[str, list[tuple[np.ndarray, float, float]]],
    extra: dict[str, float],
) -> None:
    """Print medians, and ratios to the first way, of wall and of processor time."""
    print(f"{title}, {torch.get_num_threads()} threads")
    medians = {
        name: [statistics.median(one[at] for one in results) for at in (1, 2)]
        for name, results in runs.items()
    }
    first = next(iter(runs))
    ours, mine = runs[first][0][0], medians[first]
    for name, (wall, cpu) in medians.items():
        same = (runs[name][0][0] == ours).mean()
        print(
            f"  {name:19s} wall {wall:7.3f} s ({wall / mine[0]:5.1f}x)  cpu {cpu:7.3f} s "
            f"({cpu / mine[1]:5.1f}x)  {extra[name]:6.0f} MB  agrees {same:.5f}"
        )


if __name__ == "__main__":
    main()
