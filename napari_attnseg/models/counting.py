"""What a network computes and holds, counted without computing it."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from napari_attnseg.config import ModelConfig
from napari_attnseg.models.build import build_model
from napari_attnseg.models.contract import ModelOutput, SegmentationModel

OPTIMISER_COPIES = 3
"""Adam's two moments and the averaged weights, beside the weights and their gradients."""


@dataclass(frozen=True)
class Counted:
    """What one window or one step needs.

    Args:
        multiply_adds: Of convolutions and matrix products in one forward pass.
        window_bytes: Most memory that a forward pass of one window holds, with the weights.
        step_bytes: The same for a training step, with gradients and optimiser.
    """

    multiply_adds: int
    window_bytes: int
    step_bytes: int


def count(config: ModelConfig, patch_size: Sequence[int], batch_size: int) -> Counted:
    """Return what a network needs, without making any weights.

    Tensors are followed from where they are made to where they are let go; what the libraries
    take for themselves meanwhile is not seen.

    Args:
        config: Of the network.
        patch_size: Voxels of a window along D, H and W.
        batch_size: Patches of a training step; a window is one.

    Raises:
        ModelError: If it cannot be built.
    """
    # Unlike tensors on the meta device these pass for tensors of a CPU, as autocast wants them.
    with FakeTensorMode():
        model = build_model(config)
        margin = model.context_margin
        window = _input(config, [n + 2 * m for n, m in zip(patch_size, margin, strict=True)])
        patches = _input(config, patch_size, batch_size)
        with torch.no_grad(), _flop_counter() as counter:
            _forward(model, window)
        with torch.no_grad(), LiveBytes() as in_window:
            _forward(model, window)
        with LiveBytes() as in_step:
            _step(model, patches)
    weights = sum(one.nbytes for one in (*model.parameters(), *model.buffers()))
    return Counted(
        multiply_adds=counter.get_total_flops() // 2,
        window_bytes=weights + in_window.peak,
        step_bytes=weights * (1 + OPTIMISER_COPIES) + in_step.peak,
    )


class LiveBytes(TorchDispatchMode):
    """Follows the memory of the tensors that operations make while this is entered.

    ``peak`` is the most bytes that they held at a time.
    """

    def __init__(self) -> None:
        super().__init__()
        self.peak = 0
        self._held = 0
        self._known: dict[int, Any] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = {_storage_key(one) for one in tree_leaves((args, kwargs)) if _is_tensor(one)}
        result = func(*args, **(kwargs or {}))
        for one in tree_leaves(result):
            if _is_tensor(one) and _storage_key(one) not in given:
                self._note(one)
        return result

    def _note(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._known:
            return
        size = storage.nbytes()
        self._held += size
        self.peak = max(self.peak, self._held)
        self._known[key] = weakref.finalize(storage, self._forget, key, size)

    def _forget(self, key: int, size: int) -> None:
        self._held -= size
        del self._known[key]


def _flop_counter() -> FlopCounterMode:
    def attention_on_a_cpu(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
        return int(sdpa_flop_count(query, key, value))

    # The counter knows the attention kernels of GPUs only.
    kernel = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    return FlopCounterMode(display=False, custom_mapping={kernel: attention_on_a_cpu})


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Tensor)


def _storage_key(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def _input(config: ModelConfig, size: Sequence[int], batch_size: int = 1) -> Tensor:
    return torch.empty((batch_size, config.in_channels, *size))


def _forward(model: SegmentationModel, window: Tensor) -> None:
    model.eval()
    model(window, has_context=any(model.context_margin))


def _step(model: SegmentationModel, patches: Tensor) -> None:
    model.train()
    size = (patches.shape[0], *patches.shape[2:])
    target = torch.zeros(size, dtype=torch.int64)
    output = cast("ModelOutput", model(patches))
    model.auxiliary_loss(output, target, F.cross_entropy).backward()
