"""Class activation maps of the presence head (Zhou et al., 2016, arXiv:1512.04150)."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from napari_attnseg.explanation.contract import (
    METHODS,
    ExplainError,
    NotSuitedError,
    TwoPassMethod,
    View,
    Work,
)
from napari_attnseg.explanation.layers import default_layer
from napari_attnseg.inference.sliding import device_of, evaluating
from napari_attnseg.models import SegmentationModel
from napari_attnseg.models.attention.presence import PresenceAttention


@METHODS.register("cam")
class CAM(TwoPassMethod):
    """The presence head's own map of a class: only for networks with class activation attention.

    ``L(u) = Σ_k W_ck A_k(u)``, where W is what the network learned to tell from the features
    whether class c is there. No gradient, and no region: it is of the class anywhere.
    """

    title = "Class activation map"
    remarks = ("This is where the network sees the class anywhere, whatever region was chosen.",)

    def layer_for(self, model: SegmentationModel, layer: str | None) -> str:
        heads = self._heads(model)
        if not heads:
            raise ExplainError(
                "A class activation map needs a network with class activation attention "
                "(presence); choose another method, such as HiResCAM."
            )
        if layer is None:
            preferred = default_layer(model)
            return preferred if preferred in heads else next(iter(heads))
        if layer not in heads:
            raise ExplainError(
                f"There is no presence head on {layer!r}; this network has one on "
                f"{', '.join(heads)}."
            )
        return layer

    def module_for(self, model: SegmentationModel, layer: str) -> nn.Module:
        return self._heads(model)[self.layer_for(model, layer)]

    def weights_work(self, view: View) -> int:
        return 0

    def weights(self, view: View) -> Work[Tensor]:
        yield from ()
        scored = view.activations(view.everywhere[0]).shape[1]
        weights = torch.zeros(scored)
        for index, coefficient in view.target.coefficients.items():
            if not 1 <= index <= scored:
                raise NotSuitedError(
                    "The presence head knows no background; choose another class or method."
                )
            weights[index - 1] = coefficient
        return weights

    @cached_property
    def _found(self) -> dict[int, dict[str, nn.Module]]:
        return {}

    def _heads(self, model: SegmentationModel) -> dict[str, nn.Module]:
        """Return the linear heads by the layer that each looks at, in the order of execution."""
        if id(model) not in self._found:
            self._found[id(model)] = _heads_of(model)
        return self._found[id(model)]


def _heads_of(model: SegmentationModel) -> dict[str, nn.Module]:
    heads = [one.head for one in model.modules() if isinstance(one, PresenceAttention)]
    if not heads:
        return {}
    outputs: list[tuple[str, Tensor]] = []
    found: dict[str, nn.Module] = {}

    def note_layer(name: str) -> Callable[[nn.Module, Any, Tensor], None]:
        return lambda module, args, output: outputs.append((name, output))

    def note_head(module: nn.Module, args: Any) -> None:
        found.update({name: module for name, output in outputs if output is args[0]})

    handles = [
        model.layer(one).register_forward_hook(note_layer(one)) for one in model.layer_names
    ]
    handles += [head.register_forward_pre_hook(note_head) for head in heads]
    size = [2 * n for n in model.size_multiple]
    try:
        with evaluating(model), torch.no_grad():
            model(torch.zeros((1, model.config.in_channels, *size), device=device_of(model)))
    finally:
        for handle in handles:
            handle.remove()
    return found
