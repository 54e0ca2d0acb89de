"""What HiResCAM of one class costs, beside the prediction of the same volume, and beside captum.

    python tests/benchmarks/explain_speed.py [--size 160 160 128] [--patch 128 128 128]

A U-Net of 32 to 320 channels, an untrained one, at the default layer. Each measurement has a
process of its own, so that its memory is its own. ``explain`` is all of it: prediction, frozen
mask and map. The target fills a box of a third of each side, so that windows which miss it are
left out as they would be.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from typing import Any, cast

import torch
from torch import Tensor, nn

from napari_attnseg.axes import Size
from napari_attnseg.config import ModelConfig
from napari_attnseg.explanation.catalogue import make_method
from napari_attnseg.explanation.layers import default_layer
from napari_attnseg.explanation.stitch import Stitcher, stitched_map
from napari_attnseg.explanation.target import Target
from napari_attnseg.inference.sliding import sliding_window, windows_for
from napari_attnseg.models import SegmentationModel, build_model

WIDTHS = [32, 64, 128, 256, 320, 320]


def network() -> SegmentationModel:
    torch.manual_seed(0)
    strides = [[1] * 3] + [[2] * 3] * (len(WIDTHS) - 1)
    options = {"widths": WIDTHS, "strides": strides, "kernels": [[3] * 3] * len(WIDTHS)}
    config = ModelConfig("unet3d", out_channels=4, preset="plan", options=options)
    return build_model(config).eval()


def finish(steps: Any) -> Any:
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def target_in(size: Size) -> Target:
    region = torch.zeros(size, dtype=torch.bool)
    region[tuple(slice(n // 3, 2 * n // 3) for n in size)] = True
    return Target(region, {1: 1.0})


def predict(model: SegmentationModel, x: Tensor, patch: Size) -> None:
    finish(sliding_window(model, x, patch))


def explain(model: SegmentationModel, x: Tensor, patch: Size) -> None:
    predict(model, x, patch)
    only_map(model, x, patch)


def only_map(model: SegmentationModel, x: Tensor, patch: Size) -> None:
    size = cast("Size", tuple(x.shape[2:]))
    plan = windows_for(model, size, patch)
    view = Stitcher(model, x, plan, default_layer(model), target_in(size))
    print(f"{len(view.starts())} of {len(plan)} windows", file=sys.stderr)
    finish(stitched_map(view, make_method("hires-cam")))


def ours_one_window(model: SegmentationModel, x: Tensor, patch: Size) -> None:
    one = x[..., : patch[0], : patch[1], : patch[2]]
    only_map(model, one, patch)


class Scores(nn.Module):
    """Sums of logits over a region, which captum explains."""

    def __init__(self, model: nn.Module, region: Tensor) -> None:
        super().__init__()
        self.model, self.region = model, region

    def forward(self, x: Tensor) -> Tensor:
        return cast("Tensor", (self.model(x) * self.region).flatten(2).sum(dim=2))


def captum_one_window(model: SegmentationModel, x: Tensor, patch: Size) -> None:
    from captum.attr import LayerGradientXActivation

    one = x[..., : patch[0], : patch[1], : patch[2]]
    scores = Scores(model, target_in(cast("Size", tuple(one.shape[2:]))).region)
    layer = model.layer(default_layer(model))
    LayerGradientXActivation(scores, layer).attribute(one, target=1).sum(dim=1)


WORK = {
    one.__name__: one for one in (predict, explain, only_map, ours_one_window, captum_one_window)
}


def measure(what: str, size: Size, patch: Size) -> dict[str, float]:
    """Return seconds, by the wall and by the processor, and how much memory it took, in MB."""
    model, x = network(), torch.randn(1, 1, *size)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    wall, cpu = time.perf_counter(), time.process_time()
    WORK[what](model, x, patch)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"seconds": wall, "cpu_seconds": cpu, "megabytes": (after - before) / 1024}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", nargs=3, type=int, default=[160, 160, 128])
    parser.add_argument("--patch", nargs=3, type=int, default=[128, 128, 128])
    parser.add_argument("--only", choices=WORK)
    asked = parser.parse_args()
    if asked.only:
        print(json.dumps(measure(asked.only, tuple(asked.size), tuple(asked.patch))))
        return
    found = {}
    for what in WORK:
        command = [sys.executable, __file__, "--only", what, "--size", *map(str, asked.size)]
        command += ["--patch", *map(str, asked.patch)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found[what] = json.loads(done.stdout)
        note = done.stderr.strip().splitlines()[-1:]
        row = "  ".join(f"{key} {value:8.1f}" for key, value in found[what].items())
        print(f"{what:18} {row}  {' '.join(note)}", flush=True)
    for a, b in (("explain", "predict"), ("ours_one_window", "captum_one_window")):
        ratios = {key: found[a][key] / found[b][key] for key in found[a]}
        row = "  ".join(f"{key} x{value:.2f}" for key, value in ratios.items())
        print(f"{a} over {b}: {row}")


if __name__ == "__main__":
    main()
