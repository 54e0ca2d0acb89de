"""Time Dice of all classes against MONAI and plain masks, in one run.

    python tests/benchmarks/overlap.py [repetitions]

A ratio above 1 means that napari_attnseg is faster; results are compared before they count.
"""

from __future__ import annotations

import sys
import time
import tracemalloc
from collections.abc import Callable
from statistics import median

import numpy as np
import torch
from monai.metrics import DiceMetric
from monai.networks.utils import one_hot
from scipy.ndimage import gaussian_filter

from napari_attnseg.metrics import overlap

SHAPE = (160, 256, 256)
VALUES = range(1, 6)


def label_maps() -> tuple[np.ndarray, np.ndarray]:
    """Return a reference of 5 classes and a prediction that is a little off."""
    random = np.random.default_rng(0)
    smooth = gaussian_filter(random.normal(size=SHAPE).astype(np.float32), 12)
    levels = np.array([0.2, 0.6, 1.0, 1.4, 1.8]) * smooth.std()
    near = smooth + 0.1 * smooth.std() * random.normal(size=SHAPE)
    first, second = (np.digitize(one, levels).astype(np.uint8) for one in (near, smooth))
    return first, second


def by_masks(prediction: np.ndarray, reference: np.ndarray) -> list[float]:
    scores = []
    for value in VALUES:
        first, second = prediction == value, reference == value
        scores.append(2 * float((first & second).sum()) / float(first.sum() + second.sum()))
    return scores


def by_monai(prediction: np.ndarray, reference: np.ndarray) -> list[float]:
    tensors = (torch.from_numpy(one)[None, None] for one in (prediction, reference))
    channels = (one_hot(one, len(VALUES) + 1) for one in tensors)
    return DiceMetric(include_background=False)(*channels)[0].tolist()


def ours(prediction: np.ndarray, reference: np.ndarray) -> list[float | None]:
    return [one.dice for one in overlap(prediction, reference, list(VALUES)).values()]


def main() -> None:
    repetitions = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    maps = label_maps()
    contestants: dict[str, Callable] = {"ours": ours, "masks": by_masks, "MONAI": by_monai}
    assert np.allclose(ours(*maps), by_masks(*maps))
    assert np.allclose(ours(*maps), by_monai(*maps), atol=1e-5)
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(repetitions):
        for name, run in contestants.items():
            start = time.perf_counter()
            run(*maps)
            seconds[name].append(time.perf_counter() - start)
    tracemalloc.start()
    ours(*maps)
    print(f"our peak memory {tracemalloc.get_traced_memory()[1] / 1e6:.1f} MB")
    for name, times in seconds.items():
        ratio = median(times) / median(seconds["ours"])
        print(f"{name:6} {median(times) * 1000:8.1f} ms   {ratio:6.1f} x")


if __name__ == "__main__":
    main()
