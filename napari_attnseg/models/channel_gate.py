"""The channel weights that are part of a published residual block, whatever else attends."""

from __future__ import annotations

from torch import Tensor, nn

from napari_attnseg.models.blocks import broadcast


class ChannelGate(nn.Module):
    """Squeeze and excitation: ``x * sigmoid(W2 leaky(W1 mean(x) + b1) + b2)``.

    Args:
        channels: C.
        reduction: C over the number of hidden units, of which there is at least one.
    """

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        hidden = max(1, channels // reduction)
        self.squeeze = nn.Linear(channels, hidden)
        self.act = nn.LeakyReLU(0.01)
        self.excite = nn.Linear(hidden, channels)
        self.gate = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        weights = self.gate(self.excite(self.act(self.squeeze(x.flatten(2).mean(dim=2)))))
        return x * broadcast(weights, x)
