"""How like the map of the whole volume in one window is the one that windows are stitched to.

    python tests/benchmarks/stitching.py RUN CASE... [--class 1] [--layers encoder1 bottleneck]

For a trained run, cases, every method and three settings of windows: the correlation between the
stitched map and that of one window that holds the whole volume, and for Grad-CAM also with weights
of each window's own, which other programs stitch.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from napari_attnseg.explanation import METHODS
from napari_attnseg.explanation.catalogue import make_method
from napari_attnseg.explanation.contract import ExplainError, weighted_sum
from napari_attnseg.explanation.stitch import Stitcher, stitched_map
from napari_attnseg.explanation.target import Target
from napari_attnseg.inference import load_run
from napari_attnseg.inference.predict import network_input
from napari_attnseg.inference.sliding import evaluating, strongest_class, windows_for
from napari_attnseg.io import read_volume
from napari_attnseg.preprocessing import preprocess

SETTINGS = ((1.0, 0.5), (0.75, 0.25), (0.75, 0.5))
"""Window sizes as a fraction of the run's own, and the overlap of neighbours."""
CHEAP: dict[str, dict[str, Any]] = {
    "occlusion": {"count": 64},
    "integrated-gradients": {"steps": 8},
    "modality": {"steps": 8},
    "smooth-grad": {"samples": 4},
}


def made(view: Stitcher, how: Any) -> np.ndarray:
    steps = stitched_map(view, how)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value.values.numpy()


def own_weights(view: Stitcher) -> np.ndarray:
    """Return Grad-CAM with weights of each window's own, blended."""
    total: Tensor | None = None
    with evaluating(view.model):
        for start in view.starts():
            capture = view.capture(start)
            canvas = view.grid_of(capture.activations)
            total = canvas.empty(1) if total is None else total
            alpha = capture.gradients.mean(dim=(2, 3, 4))
            painted = weighted_sum(alpha, capture.activations)[0]
            canvas.add(total, start, painted, is_weighted=True)
    assert total is not None
    return total[0].numpy()


def alike(a: np.ndarray, b: np.ndarray) -> float:
    d, h, w = (min(sizes) for sizes in zip(a.shape, b.shape, strict=True))
    pair = [one[:d, :h, :w].ravel() for one in (a, b)]
    return float(np.corrcoef(pair)[0, 1])


def compare(run: Any, case: str, value: int, layers: list[str], methods: list[str]) -> None:
    model = run.model
    x = network_input(preprocess(read_volume(case), run.plan))
    size = tuple(x.shape[2:])
    with evaluating(model), torch.inference_mode():
        labels = strongest_class(model(x)[0])
    target = Target(labels == run.class_index(value), {run.class_index(value): 1.0})
    whole = windows_for(model, size, size)
    for layer in layers:
        for method in methods:
            how = make_method(method, CHEAP.get(method))
            if how.is_input and layer != layers[0]:
                continue
            try:
                name = how.layer_for(model, layer)
                one = made(Stitcher(model, x, whole, name, target), how)
            except ExplainError as error:
                print(f"{layer:12} {method:22} {error}")
                continue
            row = []
            for share, overlap in SETTINGS:
                patch = [max(8, round(share * n)) for n in run.plan.patch_size]
                plan = windows_for(model, size, patch, overlap)
                windows = made(Stitcher(model, x, plan, name, target), how)
                text = f"{alike(windows, one):6.3f} ({len(plan):2} windows)"
                if method == "grad-cam":
                    own = own_weights(Stitcher(model, x, plan, name, target))
                    text += f" own weights {alike(own, one):6.3f}"
                row.append(text)
            print(f"{Path(case).name:24} {name:12} {method:22} {'  '.join(row)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run")
    parser.add_argument("cases", nargs="+")
    parser.add_argument("--class", dest="value", type=int, default=1)
    parser.add_argument("--layers", nargs="+", default=["encoder1", "bottleneck", "decoder1"])
    parser.add_argument("--methods", nargs="+", default=sorted(METHODS))
    asked = parser.parse_args()
    run = load_run(asked.run, device="cpu")
    print("windows: " + ", ".join(f"{s:.0%} of the run's, overlap {o:.0%}" for s, o in SETTINGS))
    for case in asked.cases:
        compare(run, case, asked.value, asked.layers, asked.methods)


if __name__ == "__main__":
    main()
