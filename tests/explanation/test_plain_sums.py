"""Every method against slow, plain sums over the same windows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Any, cast

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.ndimage import map_coordinates
from torch import Tensor

from napari_attnseg.explanation import METHODS
from napari_attnseg.explanation.catalogue import make_method
from napari_attnseg.explanation.stitch import RawMap, Stitcher, stitched_map
from napari_attnseg.explanation.target import Target
from napari_attnseg.inference.sliding import windows_for
from napari_attnseg.inference.window import WindowPlan
from napari_attnseg.models import SegmentationModel

PATCH = (8, 12, 16)
SIZES = ((11, 18, 16), (8, 21, 19))
ROUNDED = ("ablation-cam", "integrated-gradients", "modality")
"""Small differences of scores, which float32 rounds to about 1e-5 of the largest."""
OPTIONS: dict[str, dict[str, Any]] = {
    "occlusion": {"size": 7, "step": 6, "baseline": "zero"},
    "integrated-gradients": {"steps": 2, "baseline": "zero"},
    "modality": {"steps": 2, "baseline": "zero"},
    "smooth-grad": {"samples": 2, "noise": 0.2, "seed": 3},
    "seg-xres-cam": {"window": 2},
    "ablation-cam": {"to": "mean"},
}


def bell(window: int, starts: tuple[int, ...], cells: int, stride: float, offset: float) -> Any:
    """Return for each start the weights of its cells, by the formula, one value at a time."""
    raw = [
        np.exp(-0.5 * ((offset + stride * u - (window - 1) / 2) / (window / 8)) ** 2)
        for u in range(cells)
    ]
    total: dict[int, float] = {}
    for start in starts:
        for u in range(cells):
            at = round(start / stride) + u
            total[at] = total.get(at, 0.0) + raw[u]
    return {s: [raw[u] / total[round(s / stride) + u] for u in range(cells)] for s in starts}


def outer(bells: list[Any], start: tuple[int, int, int]) -> np.ndarray:
    d, h, w = (np.array(bells[axis][start[axis]]) for axis in range(3))
    return cast("np.ndarray", d[:, None, None] * h[:, None] * w)


@dataclass
class Plain:
    """A network on a volume by its windows, with whole graphs and nothing skipped."""

    model: SegmentationModel
    x: Tensor
    region: Tensor
    plan: WindowPlan
    layer: str

    def windows(self, x: Tensor) -> Any:
        ends = [s[-1] + n for s, n in zip(self.plan.starts, self.plan.window, strict=True)]
        more = [max(0, end - n) for end, n in zip(ends, self.plan.size, strict=True)]
        pads = [p for n in more[::-1] for p in (0, n)]
        padded, inside = F.pad(x, pads, mode="replicate"), F.pad(self.region, pads)
        rows = list(zip(self.plan.window, self.plan.starts, strict=True))
        full = [bell(n, s, n, 1.0, 0.0) for n, s in rows]
        for start in self.plan:
            at = tuple(slice(s, s + n) for s, n in zip(start, self.plan.window, strict=True))
            weights = torch.from_numpy(outer(full, start)) * inside[at] / self.region.sum()
            yield start, padded[(..., *at)], weights

    def score(self, x: Tensor) -> Tensor:
        parts = [(self.model(seen)[0, 1].double() * w).sum() for _, seen, w in self.windows(x)]
        return torch.stack(parts).sum()

    def gradient(self, x: Tensor) -> np.ndarray:
        leaf = x.clone().requires_grad_()
        return torch.autograd.grad(self.score(leaf), leaf)[0][0].double().numpy()

    def captures(self, module: Any = None) -> Any:
        """Return start, activations and gradients ``(C, d, h, w)`` of every window."""
        found = []
        for start, seen, weights in self.windows(self.x):
            kept: list[Tensor] = []
            module = module or self.model.layer(self.layer)
            handle = module.register_forward_hook(lambda *a: kept.append(a[2]))  # noqa: B023
            score = (self.model(seen)[0, 1].double() * weights).sum()
            handle.remove()
            gradient = torch.autograd.grad(score, kept[0], allow_unused=True)[0]
            gradient = torch.zeros_like(kept[0]) if gradient is None else gradient
            found.append(
                (start, kept[0][0].detach().double().numpy(), gradient[0].double().numpy())
            )
        return found

    @property
    def grid(self) -> Any:
        return self.model.layer_grid(self.layer, self.plan.window)

    def place(self, start: Any, cells: Any) -> Any:
        rows = zip(start, self.grid.stride_dhw, cells, strict=True)
        return (slice(None), *(slice(round(s / st), round(s / st) + n) for s, st, n in rows))

    def summed(self, found: Any) -> np.ndarray:
        """Return the plain sum of values ``(C, d, h, w)`` of windows."""
        cells = found[0][1].shape[1:]
        rows = zip(self.plan.starts, self.grid.stride_dhw, cells, strict=True)
        size = [round(starts[-1] / stride) + n for starts, stride, n in rows]
        total = np.zeros((len(found[0][1]), *size))
        for start, values in found:
            total[self.place(start, cells)] += values
        return total

    def averaged(self, found: Any) -> np.ndarray:
        """Return the mean of values of windows, weighted by the windows' Gaussians."""
        cells = found[0][1].shape[1:]
        rows = zip(
            self.plan.window, self.plan.starts, cells, self.grid.stride_dhw, self.grid.offset_dhw,
            strict=True,
        )  # fmt: skip
        low = [bell(*row) for row in rows]
        return self.summed([(start, values * outer(low, start)) for start, values in found])

    def field(self) -> np.ndarray:
        return self.averaged([(start, a) for start, a, _ in self.captures()])


def weighted(plain: Plain, alpha: np.ndarray) -> np.ndarray:
    """Return channels times their weights, ``(C,)`` or ``(C, d, h, w)``, averaged."""
    maps = []
    for start, a, _ in plain.captures():
        here = alpha[plain.place(start, a.shape[1:])] if alpha.ndim == 4 else alpha
        here = here if alpha.ndim == 4 else here[:, None, None, None]
        maps.append((start, (here * a).sum(axis=0, keepdims=True)))
    return plain.averaged(maps)[0]


def hires_cam(plain: Plain) -> np.ndarray:
    return plain.summed([(s, (g * a).sum(0, keepdims=True)) for s, a, g in plain.captures()])[0]


def layer_cam(plain: Plain) -> np.ndarray:
    found = [(s, (g.clip(0) * a).sum(0, keepdims=True)) for s, a, g in plain.captures()]
    return plain.summed(found)[0]


def grad_cam(plain: Plain) -> np.ndarray:
    gradients = plain.summed([(s, g) for s, _, g in plain.captures()])
    return weighted(plain, gradients.mean(axis=(1, 2, 3)))


def grad_cam_plus_plus(plain: Plain) -> np.ndarray:
    g = plain.summed([(s, g) for s, _, g in plain.captures()])
    whole = plain.field().sum(axis=(1, 2, 3))[:, None, None, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = np.where(g == 0, 0, g**2 / (2 * g**2 + whole * g**3))
    return weighted(plain, (shares * g.clip(0)).sum(axis=(1, 2, 3)))


def xgrad_cam(plain: Plain) -> np.ndarray:
    products = sum((g * a).sum(axis=(1, 2, 3)) for _, a, g in plain.captures())
    whole = plain.field().sum(axis=(1, 2, 3))
    return weighted(plain, products / np.where(whole == 0, 1, whole))


def seg_xres_cam(plain: Plain) -> np.ndarray:
    g = plain.summed([(s, g) for s, _, g in plain.captures()])
    pooled = np.zeros_like(g)
    for d, h, w in product(*(range(0, n, 2) for n in g.shape[1:])):
        block = (slice(None), slice(d, d + 2), slice(h, h + 2), slice(w, w + 2))
        pooled[block] = g[block].mean(axis=(1, 2, 3), keepdims=True)
    return weighted(plain, pooled)


def ablation_cam(plain: Plain) -> np.ndarray:
    means = plain.field().mean(axis=(1, 2, 3))
    drops = []
    with torch.no_grad():
        score = float(plain.score(plain.x))
        for k, mean in enumerate(means):

            def ablate(
                module: Any, args: Any, output: Tensor, k: int = k, b: Any = mean
            ) -> Tensor:
                output = output.clone()
                output[:, k] = float(b)
                return output

            handle = plain.model.layer(plain.layer).register_forward_hook(ablate)
            drops.append(score - float(plain.score(plain.x)))
            handle.remove()
    return weighted(plain, np.array(drops))


def score_cam(plain: Plain) -> np.ndarray:
    field, grid = plain.field(), plain.grid
    voxels = np.indices(plain.x.shape[2:])
    rows = zip(voxels, grid.offset_dhw, grid.stride_dhw, strict=True)
    at = np.stack([(one - offset) / stride for one, offset, stride in rows])
    scores = []
    for one in field:
        low, high = one.min(), one.max()
        mask = map_coordinates((one - low) / (high - low or 1.0), at, order=1, mode="nearest")
        with torch.no_grad():
            scores.append(float(plain.score(plain.x * torch.from_numpy(mask).float())))
    alpha = np.exp(np.array(scores) - max(scores))
    return weighted(plain, alpha / alpha.sum())


def cam(plain: Plain) -> np.ndarray:
    deepest = max(
        (one for one in plain.model.modules() if type(one).__name__ == "PresenceAttention"),
        key=lambda one: one.head.in_channels,
    )
    return plain.averaged([(s, a[:1]) for s, a, _ in plain.captures(deepest.head)])[0]


def occlusion(plain: Plain) -> np.ndarray:
    shape = plain.x.shape[2:]
    total, times = np.zeros(shape), np.zeros(shape)
    with torch.no_grad():
        score = float(plain.score(plain.x))
        for corner in product(*(range(0, max(1, n - 7 + 6), 6) for n in shape)):
            block = tuple(slice(at, at + 7) for at in corner)
            covered = plain.x.clone()
            covered[(..., *block)] = 0
            total[block] += score - float(plain.score(covered))
            times[block] += 1
    return total / times


def integrated_gradients(plain: Plain) -> np.ndarray:
    t = 0.5 / 3**0.5  # the two points of Gauss and Legendre lie so far from the middle
    mean = (plain.gradient(plain.x * (0.5 - t)) + plain.gradient(plain.x * (0.5 + t))) / 2
    return (plain.x[0].numpy() * mean).sum(axis=0)


def smooth_grad(plain: Plain) -> np.ndarray:
    generator, found = torch.Generator().manual_seed(3), []
    for _ in range(2):
        noise = torch.randn(plain.x.shape, generator=generator)
        spread = float(plain.x.max() - plain.x.min())
        found.append(plain.gradient(plain.x + 0.2 * spread * noise))
    return np.mean(found, axis=0).sum(axis=0)


PLAIN: dict[str, Callable[[Plain], np.ndarray]] = {
    "ablation-cam": ablation_cam,
    "cam": cam,
    "grad-cam": grad_cam,
    "grad-cam++": grad_cam_plus_plus,
    "hires-cam": hires_cam,
    "integrated-gradients": integrated_gradients,
    "layer-cam": layer_cam,
    "modality": integrated_gradients,
    "occlusion": occlusion,
    "score-cam": score_cam,
    "seg-xres-cam": seg_xres_cam,
    "smooth-grad": smooth_grad,
    "xgrad-cam": xgrad_cam,
}


def finish(steps: Any) -> tuple[Any, list[Any]]:
    reports = []
    while True:
        try:
            reports.append(next(steps))
        except StopIteration as end:
            return end.value, reports


def test_every_method_has_its_plain_sum() -> None:
    assert set(PLAIN) == set(METHODS)


@pytest.mark.parametrize("method", sorted(METHODS))
@pytest.mark.parametrize(("size", "layer"), zip(SIZES, ("encoder1", "bottleneck"), strict=True))
def test_windows_add_up_to_a_slow_plain_sum(
    suited: Any, method: str, layer: str, size: tuple[int, int, int]
) -> None:
    layer = "bottleneck" if method == "cam" else layer
    dtype = torch.float64 if method in ROUNDED else torch.float32
    model, x = suited().to(dtype), torch.randn(1, 1, *size, dtype=dtype)
    region = torch.zeros(size, dtype=torch.bool)
    region[2:6, 3:9, 3:12] = True
    plan = windows_for(model, size, PATCH)
    how = make_method(method, OPTIONS.get(method))
    name = how.layer_for(model, layer)

    stitcher = Stitcher(model, x, plan, name, Target(region, {1: 1.0}))
    result, reports = finish(stitched_map(stitcher, how))

    expected = PLAIN[method](Plain(model, x, region, plan, layer))
    values = cast("RawMap", result).values.numpy()
    assert len(plan) > 1
    assert values.shape == expected.shape
    assert np.abs(values - expected).max() < 1e-5 * np.abs(expected).max()
    assert [one.done for one in reports] == list(range(1, len(reports) + 1))
    assert {one.total for one in reports} == {len(reports)}
