"""Replace a network's parameters by random ones, from its output to its input.

The cascade of Adebayo et al. (2018, arXiv:1810.03292). Every parameter is replaced, those that
belong to no layer included; running statistics of normalisations stay as they are.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from napari_attnseg.inference.sliding import device_of, evaluating, forward_window
from napari_attnseg.inference.window import WindowPlan
from napari_attnseg.models import SegmentationModel


@dataclass(frozen=True)
class Group:
    """Modules that are made random together.

    Args:
        name: Where in the network.
        modules: Dotted names of those that hold parameters themselves.
    """

    name: str
    modules: tuple[str, ...]


def groups(model: SegmentationModel, x: Tensor, plan: WindowPlan) -> list[Group]:
    """Return all modules with parameters, last in execution first.

    What does not run, such as heads that only training uses, comes with the first group.

    Args:
        model: Left as it was found.
        x: An input of it, ``(1, C, D, H, W)``.
        plan: Windows over that.
    """
    own = {name: one for name, one in model.named_modules() if _has_parameters(one)}
    finished: list[str] = []
    with _noting(own, finished), evaluating(model), torch.inference_mode():
        window = plan.cut(x, next(iter(plan))).to(device_of(model))
        forward_window(model, window, plan)
    last_first = list(dict.fromkeys(reversed(finished)))
    found: dict[str, list[str]] = {}
    for name in last_first:
        found.setdefault(_place(name), []).append(name)
    idle = [name for name in own if name not in set(finished)]
    if not found:
        return [Group("network", tuple(idle))] if idle else []
    next(iter(found.values())).extend(idle)
    return [Group(name, tuple(modules)) for name, modules in found.items()]


def scrambled(
    model: SegmentationModel, order: list[Group], seed: int
) -> Iterator[tuple[str, SegmentationModel]]:
    """Yield a copy of a network with one group of modules after the other made random.

    The network itself is not touched. It is always the same copy, which grows more random.

    Args:
        model: The network.
        order: From `groups`.
        seed: Of the random parameters.
    """
    other = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(seed)
    done: set[int] = set()
    for group in order:
        for name in group.modules:
            for parameter in other.get_submodule(name).parameters(recurse=False):
                if id(parameter) not in done:  # one that two modules share
                    done.add(id(parameter))
                    randomise(parameter, generator)
        yield group.name, other


def randomise(parameter: Tensor, generator: torch.Generator) -> None:
    """Draw a parameter anew from a normal distribution of its own mean and deviation, in place.

    One that is the same everywhere, such as a single number, is drawn with its own size as
    deviation, or 1 where it is 0: it could not change otherwise.
    """
    with torch.no_grad():
        values = parameter.detach().float().cpu()
        spread = float(values.std()) if values.numel() > 1 else 0.0
        middle = float(values.mean()) if values.numel() else 0.0
        if spread == 0:
            spread = abs(middle) or 1.0
        drawn = middle + spread * torch.randn(values.shape, generator=generator)
        parameter.copy_(drawn.to(parameter))


def _has_parameters(module: nn.Module) -> bool:
    return next(module.parameters(recurse=False), None) is not None


def _place(name: str) -> str:
    """Return the part of a network that a module belongs to, such as ``"decoder1"``."""
    words = name.split(".")
    if words[0] == "stages":
        return words[1]
    return " ".join(words[:2]) if len(words) > 1 and words[1].isdecimal() else words[0]


@contextmanager
def _noting(modules: dict[str, nn.Module], finished: list[str]) -> Iterator[None]:
    def note(name: str) -> Any:
        # What uses a parameter of its own last is what a module does after its children.
        return lambda *_: finished.append(name)

    handles = [one.register_forward_hook(note(name)) for name, one in modules.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
