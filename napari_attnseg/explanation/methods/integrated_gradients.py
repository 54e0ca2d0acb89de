"""Integrated gradients (Sundararajan et al., 2017, arXiv:1703.01365)."""

from __future__ import annotations

from dataclasses import dataclass

from napari_attnseg.config import Config, setting
from napari_attnseg.explanation.contract import METHODS, InputMethod, Painted, View, Work
from napari_attnseg.explanation.integrate import integral, integral_work
from napari_attnseg.explanation.perturb import FILLINGS, filling

INCOMPLETE = 0.05


@dataclass(frozen=True)
class Way(Config):
    """From where, and in how many steps."""

    steps: int = setting(16, help="Points between baseline and image", minimum=1, maximum=512)
    baseline: str = setting("blurred", help="Image of nothing", choices=FILLINGS)


@METHODS.register("integrated-gradients")
class IntegratedGradients(InputMethod):
    """How each voxel's difference from a blurred image adds up to the score's difference.

    ``(x - b) ∫ ∂y(b + t (x - b))/∂x dt``, summed over images. The baseline is blurred as wide as
    the target: a network that normalises each image sees the same in all multiples of it, so that
    the way from 0 teaches nothing.
    """

    title = "Integrated gradients"
    Options = Way

    def work(self, view: View) -> int:
        return integral_work(view, self.options.steps)

    def steps(self, view: View) -> Work[Painted]:
        base = filling(view, self.options.baseline)
        found = yield from integral(view, base, self.options.steps)
        facts = {
            "completeness_error": found.error,
            "score": found.score,
            "baseline_score": found.baseline,
        }
        remarks: tuple[str, ...] = ()
        if found.error > INCOMPLETE:
            remarks = (
                f"The map misses {found.error:.0%} of the difference that it should add up to; "
                "use more steps, or another baseline.",
            )
        return Painted(found.values, facts, remarks)
