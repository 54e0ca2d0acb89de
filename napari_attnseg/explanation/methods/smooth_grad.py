"""SmoothGrad (Smilkov et al., 2017, arXiv:1706.03825)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from napari_attnseg.config import Config, setting
from napari_attnseg.explanation.contract import METHODS, InputMethod, Painted, View, Work


@dataclass(frozen=True)
class Noise(Config):
    """Which noise."""

    samples: int = setting(8, help="Noisy images", minimum=1, maximum=512)
    noise: float = setting(
        0.15, help="Of the noise: deviation over the range of the image", minimum=0.0, maximum=2.0
    )
    times_input: bool = setting(False, help="Whether to multiply by the image")
    seed: int = setting(0, help="Of the noise", minimum=0)


@METHODS.register("smooth-grad")
class SmoothGrad(InputMethod):
    """The mean gradient over noisy copies of the image: where a brighter voxel raises the score.

    ``(1/n) Σ_i ∂y(x + ε_i)/∂x``, signed, summed over images.
    """

    title = "SmoothGrad"
    Options = Noise

    def work(self, view: View) -> int:
        return self.options.samples * len(view.starts())

    def steps(self, view: View) -> Work[Painted]:
        total = torch.zeros(view.x.shape[1:])
        generator = torch.Generator().manual_seed(self.options.seed)
        for _ in range(self.options.samples):
            noisy = view.x.cpu() + self._noise(view.x.cpu(), generator)
            for start in view.starts():
                inside = view.inside(start)
                gradients, _ = view.gradients(start, noisy[(..., *inside)])
                total[(slice(None), *inside)] += gradients[0].cpu()
                yield
        mean = total / self.options.samples
        if self.options.times_input:
            mean = mean * view.x[0].cpu()
        return Painted(mean.sum(dim=0))

    def _noise(self, x: Tensor, generator: torch.Generator) -> Tensor:
        spread = x.amax(dim=(2, 3, 4), keepdim=True) - x.amin(dim=(2, 3, 4), keepdim=True)
        return torch.randn(x.shape, generator=generator) * spread * self.options.noise
