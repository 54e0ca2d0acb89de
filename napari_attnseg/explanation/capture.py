"""Take one layer's activations and gradients from one forward pass, and leave no trace."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn

from napari_attnseg.explanation.error import ExplainError
from napari_attnseg.inference.device import precision_context
from napari_attnseg.models import SegmentationModel
from napari_attnseg.models.grid import MoveBack

Forward = Callable[[], Tensor]
ForwardOf = Callable[[Tensor], Tensor]
Score = Callable[[Tensor], Tensor]


class _Reached(Exception):  # noqa: N818 - control flow, not an error
    """The layer has given its output; the rest of the network is not needed."""


def activations_and_gradients(
    forward: Forward, layer: nn.Module, score: Score, *, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return a layer's output and the gradient of a score with respect to it, both detached.

    The graph begins at the layer: what comes before it is computed without one, and no gradient
    of a parameter is made.

    Args:
        forward: Runs the network and returns its logits.
        layer: A module that runs once in it.
        score: From logits to a scalar.
        device: Of the network.

    Raises:
        ExplainError: If the score does not depend on the layer.
    """
    outputs: list[Tensor] = []

    def begin_graph(_: nn.Module, args: Any, output: Tensor) -> Tensor:
        if not isinstance(output, Tensor):
            raise ExplainError("This layer gives more than one tensor; choose another one.")
        outputs.append(output.detach().requires_grad_())
        torch.set_grad_enabled(True)  # until the no_grad below ends
        return outputs[-1]

    handle = layer.register_forward_hook(begin_graph)
    try:
        with torch.inference_mode(False), torch.no_grad(), _exact(device):
            value = score(forward())
            if not outputs:
                raise ExplainError("This layer did not run in the forward pass; choose another.")
            # autograd.grad, unlike backward, leaves the .grad of every parameter alone.
            (gradient,) = torch.autograd.grad(value, outputs[-1])
    except RuntimeError as error:
        if "does not require grad" in str(error) or "to not have been used" in str(error):
            raise ExplainError(
                "The class score does not depend on this layer; choose another."
            ) from error
        raise
    finally:
        handle.remove()
    return outputs[-1].detach(), gradient.detach()


def activations_only(forward: Forward, layer: nn.Module, *, device: torch.device) -> Tensor:
    """Return a layer's output without running what comes after it.

    Raises:
        ExplainError: If the layer does not run.
    """
    outputs: list[Tensor] = []

    def leave(_: nn.Module, args: Any, output: Tensor) -> None:
        outputs.append(output)
        raise _Reached

    handle = layer.register_forward_hook(leave)
    try:
        with torch.inference_mode(False), torch.no_grad(), _exact(device):
            forward()
    except _Reached:
        return outputs[0]
    finally:
        handle.remove()
    raise ExplainError("This layer did not run in the forward pass; choose another.")


def input_gradients(
    forward: ForwardOf, x: Tensor, score: Score, *, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return the gradients of scores with the input, and the scores, both detached.

    Args:
        forward: From an input to the network's logits.
        x: ``(n, C, d, h, w)``; the gradients have its shape.
        score: From logits to the scores ``(n,)``, each of which depends on its sample only.
        device: Of the network.
    """
    with torch.inference_mode(False), torch.enable_grad(), _exact(device):
        leaf = x.clone().requires_grad_()
        values = score(forward(leaf))
        (gradient,) = torch.autograd.grad(values.sum(), leaf)
    return gradient.detach(), values.detach().double().cpu()


@contextmanager
def changed_output(
    layer: nn.Module, count: int, change: Callable[[Tensor, int], None]
) -> Iterator[None]:
    """Change what a layer gives for each of several equal windows in another way.

    Args:
        layer: A module that runs once in the network.
        count: Windows in the batch.
        change: Given the part of the output that belongs to a window, and its number in the
            batch; changes it in place.
    """

    def alter(_: nn.Module, args: Any, output: Tensor) -> Tensor:
        if not isinstance(output, Tensor):
            raise ExplainError("This layer gives more than one tensor; choose another one.")
        changed = output.clone()
        for index, part in enumerate(changed.chunk(count)):
            change(part, index)
        return changed

    handle = layer.register_forward_hook(alter)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def without_graph(device: torch.device) -> Iterator[None]:
    """Run a network in float32 proper, for its values alone."""
    with torch.inference_mode(False), torch.no_grad(), _exact(device):
        yield


@contextmanager
def _exact(device: torch.device) -> Iterator[None]:
    """Compute in float32 proper: half precision loses gradients, and TF32 is no float32."""
    with precision_context(device, "float32"):
        if device.type != "cuda":
            yield
            return
        matmul = torch.backends.cuda.matmul
        convolutions, products = torch.backends.cudnn.allow_tf32, matmul.allow_tf32
        torch.backends.cudnn.allow_tf32 = matmul.allow_tf32 = False
        try:
            yield
        finally:
            torch.backends.cudnn.allow_tf32, matmul.allow_tf32 = convolutions, products


def in_place(
    model: SegmentationModel, layer: str, moves: Sequence[MoveBack], tensor: Tensor
) -> Tensor:
    """Return what a layer gave at the place of the image, where the network had moved that.

    Args:
        model: The network.
        layer: Of it; other names are of modules that have no known place.
        moves: From `SegmentationModel.moves` around the forward pass.
        tensor: As the layer gave it.
    """
    if moves and layer in model.layers:
        return moves[-1](tensor, model.layers[layer].grid)
    return tensor


def as_logits(output: Any) -> Tensor:
    """Return the logits at full resolution from whatever a network returns.

    Deep supervision gives them first in a list; training outputs have them as ``logits``.
    """
    if isinstance(output, Tensor):
        return output
    if hasattr(output, "logits"):
        return cast("Tensor", output.logits)
    if isinstance(output, dict):
        return cast(
            "Tensor", output["logits"] if "logits" in output else next(iter(output.values()))
        )
    return cast("Tensor", output[0])
