"""How sure a network is of a region, asked again and again while the image is changed."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import cast

import numpy as np
import torch
from torch import Tensor

from napari_attnseg.axes import Size
from napari_attnseg.explanation.contract import ExplainError
from napari_attnseg.inference.device import precision_context
from napari_attnseg.inference.sliding import device_of, evaluating, forward_window
from napari_attnseg.inference.window import Canvas, WindowPlan
from napari_attnseg.models import SegmentationModel

Box = tuple[slice, slice, slice]


class Subject:
    """A network, an image and a region that stays as it is.

    The score is the mean over the region of ``Σ_k c_k p_k``, where p are the probabilities of the
    stitched logits and c the coefficients of the target: the mean probability of one class, or
    the difference of two. Only windows that reach the region are run; nothing else matters to it.

    Args:
        model: The network.
        x: ``(1, C, D, H, W)``.
        plan: The windows of a prediction.
        region: Boolean ``(D, H, W)``; not empty.
        coefficients: By network channel.

    Raises:
        ExplainError: If the region is empty.
    """

    def __init__(
        self,
        model: SegmentationModel,
        x: Tensor,
        plan: WindowPlan,
        region: Tensor,
        coefficients: Mapping[int, float],
    ) -> None:
        if not bool(region.any()):
            raise ExplainError("The explained region is empty, so there is nothing to check.")
        self.model, self.x, self.plan = model, x, plan
        self.region = region.bool().cpu()
        self.coefficients = dict(coefficients)
        self.starts = [start for start in plan if self._touches(start)]
        self.reach = self._reach()
        self._box = _bounds(self.region)
        self._canvas = Canvas(plan)
        self._changed: Tensor | None = None

    @property
    def image(self) -> np.ndarray:
        """The part of the image that the network sees of the region, ``(C, d, h, w)``."""
        return cast("np.ndarray", self.x[0][(slice(None), *self.reach)].numpy())

    @property
    def mask(self) -> np.ndarray:
        """The region in the part of the image that `image` is."""
        return cast("np.ndarray", self.region[self.reach].numpy())

    def changed(self, image: np.ndarray) -> Tensor:
        """Return the whole input with another content of `reach`.

        It is the same tensor each time, since volumes are large and many changes are tried.
        """
        if self._changed is None:
            self._changed = self.x.clone()
        content = torch.from_numpy(np.ascontiguousarray(image)).to(self._changed)
        self._changed[0][(slice(None), *self.reach)] = content
        return self._changed

    def score(
        self, x: Tensor | None = None, model: SegmentationModel | None = None
    ) -> Generator[None, None, float]:
        """Yield after each window, and return the score of an input.

        Args:
            x: Instead of the image; of its shape.
            model: Instead of the network.
        """
        total = None
        for start in self.starts:
            logits = self._logits(self.x if x is None else x, start, model or self.model)
            if total is None:
                sizes = [one.stop - one.start for one in self._box]
                total = torch.zeros((logits.shape[0], *sizes))
            self._add(total, logits, start)
            yield
        inside = cast("Tensor", total)[:, self.region[self._box]]  # (K, M)
        probabilities = inside.double().softmax(dim=0).mean(dim=1)
        return float(sum(c * float(probabilities[k]) for k, c in self.coefficients.items()))

    def _logits(self, x: Tensor, start: Size, model: SegmentationModel) -> Tensor:
        device = device_of(model)
        window = self.plan.cut(x, start).to(device)
        with torch.inference_mode(), precision_context(device, "float32"), evaluating(model):
            return forward_window(model, window, self.plan)[0].float().cpu()

    def _add(self, total: Tensor, logits: Tensor, start: Size) -> None:
        """Add a window's weighted logits, as far as they lie in the box around the region."""
        here, kept = [], []
        for axis, box in enumerate(self._box):
            low = max(box.start, start[axis])
            high = min(box.stop, start[axis] + self.plan.window[axis])
            here.append(slice(low - box.start, max(low, high) - box.start))
            kept.append(slice(low - start[axis], max(low, high) - start[axis]))
        weight = self._canvas.weight(start)[tuple(kept)]
        total[(slice(None), *here)] += logits[(slice(None), *kept)] * weight

    def _touches(self, start: Size) -> bool:
        pairs = zip(start, self.plan.window, strict=True)
        return bool(self.region[tuple(slice(at, at + n) for at, n in pairs)].any())

    def _reach(self) -> Box:
        ends = []
        for axis in range(3):
            first = [start[axis] for start in self.starts]
            margin, size = self.plan.margin[axis], self.plan.size[axis]
            low = max(0, min(first) - margin)
            high = min(size, max(first) + self.plan.window[axis] + margin)
            ends.append(slice(low, high))
        return cast("Box", tuple(ends))


def _bounds(region: Tensor) -> Box:
    found = []
    for axis in range(3):
        others = [one for one in range(3) if one != axis]
        at = torch.nonzero(region.any(dim=others[1]).any(dim=others[0])).flatten()
        found.append(slice(int(at[0]), int(at[-1]) + 1))
    return cast("Box", tuple(found))
