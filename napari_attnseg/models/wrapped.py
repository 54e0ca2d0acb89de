"""Networks of other libraries: their parts in this one's places, and their weights."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from napari_attnseg.models import blocks
from napari_attnseg.models.contract import ModelError, SegmentationModel

_SAFE: dict[type[nn.Module], type[nn.Module]] = {
    nn.BatchNorm2d: blocks.BatchNorm2d,
    nn.BatchNorm3d: blocks.BatchNorm3d,
    nn.InstanceNorm2d: blocks.InstanceNorm2d,
    nn.InstanceNorm3d: blocks.InstanceNorm3d,
    nn.GroupNorm: blocks.GroupNorm,
}


def with_safe_norms(network: nn.Module) -> nn.Module:
    """Return the network, whose normalisations now also train on a single voxel."""
    for module in network.modules():
        safe = _SAFE.get(type(module))
        if safe is not None:
            # Only what happens to a single voxel differs, so weights and settings stay.
            module.__class__ = safe
    return network


class WrappedModel(SegmentationModel):
    """A network made of another library's parts, which knows what they are called there."""

    def note_names(self, network: nn.Module) -> None:
        """Remember what the weights are called in the network that they were taken from."""
        theirs = {id(one): name for name, one in _tensors(network).items()}
        self.their_names = {
            ours: theirs[id(one)] for ours, one in _tensors(self).items() if id(one) in theirs
        }

    def load_theirs(self, weights: Mapping[str, Tensor]) -> None:
        """Take weights from a state dict of the wrapped network, as its library saves it.

        Attention that was added keeps its own weights.

        Raises:
            ModelError: If a weight is missing, or has another shape.
        """
        state = self.state_dict()
        for ours, name in self.their_names.items():
            if name not in weights:
                raise ModelError(
                    f"The weights have no {name!r}; take those of the same kind of network."
                )
            if weights[name].shape != state[ours].shape:
                raise ModelError(
                    f"{name!r} is {tuple(weights[name].shape)}, but this network needs "
                    f"{tuple(state[ours].shape)}; build it with the same options."
                )
            state[ours] = weights[name]
        self.load_state_dict(state)


def _tensors(network: nn.Module) -> dict[str, Tensor]:
    return dict(network.named_parameters()) | dict(network.named_buffers())
