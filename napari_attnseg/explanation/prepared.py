"""A case as a run's network sees it."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from napari_attnseg.axes import Size
from napari_attnseg.config import PredictConfig
from napari_attnseg.inference import Run, WindowReport, sliding_window
from napari_attnseg.inference.predict import bind_channels, network_input, precision_for
from napari_attnseg.inference.sliding import ShouldStop, never, windows_for
from napari_attnseg.inference.window import WindowPlan
from napari_attnseg.preprocessing import preprocess
from napari_attnseg.volume import Grid, Volume


@dataclass(frozen=True, eq=False)
class Prepared:
    """A case on the grid of a network, with the windows of a prediction.

    Args:
        run: Whose network it is.
        image: All images of the case, in the run's order.
        grid: Of `x`.
        x: ``(1, C, D, H, W)``.
        plan: The windows.
        settings: That the windows are those of.
    """

    run: Run
    image: Volume
    grid: Grid
    x: Tensor
    plan: WindowPlan
    settings: PredictConfig

    def logits(
        self, device: torch.device, should_stop: ShouldStop = never
    ) -> Generator[WindowReport, None, Tensor | None]:
        """Yield after every window, and return ``(K, D, H, W)``, or None if stopped.

        Args:
            device: That the network is on.
            should_stop: Asked between windows.
        """
        return sliding_window(
            self.run.model,
            self.x,
            self.run.plan.patch_size,
            overlap=self.settings.overlap,
            precision=precision_for(self.run, device, self.settings.precision),
            should_stop=should_stop,
        )


def prepare(run: Run, volume: Volume, settings: PredictConfig | None = None) -> Prepared:
    """Return a case on the grid of a run's network.

    Args:
        run: From `load_run`.
        volume: All images of the case.
        settings: Of a prediction, whose windows are taken.

    Raises:
        InputError: If the volume's channels are not those of the run.
    """
    settings = settings or PredictConfig()
    image = bind_channels(run, volume)
    made = preprocess(image, run.plan)
    x = network_input(made)
    size = cast("Size", tuple(x.shape[2:]))
    plan = windows_for(run.model, size, run.plan.patch_size, settings.overlap)
    return Prepared(run, image, made.grid, x, plan, settings)
