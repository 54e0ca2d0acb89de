"""Time and memory of the sliding window against MONAI's, on the same network in the same run.

    python tests/benchmarks/sliding_window.py [--size 96 128 112] [--patch 48 64 56] [--repeat 3]

Both get as many windows as their own overlap of one half gives, so besides the whole the time
outside the network is printed, per voxel of a window. Only ratios mean something: times depend on
what else the machine does.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from napari_attnseg.config import ModelConfig
from napari_attnseg.inference.sliding import sliding_window, strongest_class
from napari_attnseg.models import SegmentationModel, build_model


class Timed(nn.Module):
    """A network that notes how long it ran and how often."""

    def __init__(self, model: SegmentationModel) -> None:
        super().__init__()
        self.model = model
        self.dims, self.size_multiple = model.dims, model.size_multiple
        self.context_margin = model.context_margin
        self.seconds, self.calls = 0.0, 0

    def forward(self, x: Tensor) -> Tensor:
        start = time.perf_counter()
        out = self.model(x)
        self.seconds += time.perf_counter() - start
        self.calls += 1
        return out


class Pointwise(nn.Module):
    """Stands for a network that costs nothing: shows the machinery alone."""

    dims, size_multiple, context_margin = 3, (8, 8, 8), (0, 0, 0)

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.linspace(-1, 1, classes).reshape(1, -1, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


def ours(model: Any, x: Tensor, patch: tuple[int, int, int]) -> Tensor:
    """Return the label map by this project's sliding window."""
    steps = sliding_window(model, x, patch)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return strongest_class(end.value)


def monai(model: Any, x: Tensor, patch: tuple[int, int, int]) -> Tensor:
    """Return the label map as MONAI's users make it."""
    from monai.inferers import sliding_window_inference

    with torch.inference_mode():
        logits = sliding_window_inference(x, patch, 1, model, overlap=0.5, mode="gaussian")
        return logits.argmax(dim=1)[0]


def measure(name: str, make: Callable[[], Any], x: Tensor, arguments: argparse.Namespace) -> None:
    """Print the median ratio of times, run in turns, and how far the masks agree."""
    patch = tuple(arguments.patch)
    ratios, masks = [], []
    for _ in range(arguments.repeat):
        seconds = []
        for run in (ours, monai):
            model = make().eval()
            start = time.perf_counter()
            mask = run(model, x, patch)
            whole = time.perf_counter() - start
            inside = getattr(model, "seconds", 0.0)
            seconds.append((whole, whole - inside, getattr(model, "calls", 0)))
            masks.append(mask.long())
        ratios.append((seconds[1][0] / seconds[0][0], seconds[1][1] / seconds[0][1]))
        print(f"  ours {seconds[0]}, MONAI {seconds[1]} (all, outside the network, windows)")
    whole, outside = (statistics.median(one[at] for one in ratios) for at in (0, 1))
    agree = float((masks[0] == masks[1]).float().mean())
    print(
        f"{name}: MONAI takes {whole:.2f} x the time, {outside:.2f} x outside the network; ",
        end="",
    )
    print(f"{agree:.2%} of voxels agree")


def main() -> None:
    """Measure the machinery with few and many classes, and a whole prediction."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, nargs=3, default=(96, 128, 112))
    parser.add_argument("--patch", type=int, nargs=3, default=(48, 64, 56))
    parser.add_argument("--repeat", type=int, default=3)
    arguments = parser.parse_args()
    x = torch.randn(1, 1, *arguments.size)
    for classes in (5, 25):
        measure(f"machinery, {classes} classes", lambda c=classes: Pointwise(c), x, arguments)
    config = ModelConfig(preset="tiny", out_channels=5)
    torch.manual_seed(0)
    network = build_model(config)
    measure("tiny 3-D U-Net", lambda: Timed(network), x, arguments)


if __name__ == "__main__":
    main()
