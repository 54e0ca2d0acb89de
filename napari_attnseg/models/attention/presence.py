"""Class activation maps of a presence head as attention (Zhou et al. 2016, arXiv 1512.04150)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_attnseg.axes import CHANNEL
from napari_attnseg.losses import IGNORE_INDEX
from napari_attnseg.models.attention import ATTENTION, AttentionModule
from napari_attnseg.models.blocks import broadcast, check_choice, conv, resize
from napari_attnseg.models.contract import AuxiliaryOutput
from napari_attnseg.models.recording import AttentionMap

POOLINGS = ("avg", "lse")
SHARPNESS = 4.0


class PresenceScores(AuxiliaryOutput):
    """Marks logits of which classes are there, ``(B, K - 1)``, learned from the label map."""

    def loss(self, tensor: Tensor, target: Tensor) -> Tensor:
        """Return the mean cross-entropy of presence.

        A class that is nowhere to be seen, where part of the map is not labelled, may be there
        or not, and does not count.
        """
        classes = range(1, tensor.shape[1] + 1)
        voxels = target.flatten(1)
        is_there = torch.stack([(voxels == one).any(dim=1) for one in classes], dim=1)  # (B, K-1)
        is_known = is_there | ~(voxels == IGNORE_INDEX).any(dim=1, keepdim=True)
        losses = F.binary_cross_entropy_with_logits(
            tensor.float(), is_there.float(), reduction="none"
        )
        return (losses * is_known).sum() / is_known.sum().clamp(min=1)


@ATTENTION.register("presence")
class PresenceAttention(AttentionModule):
    """Raises in a skip connection what tells that a class is there.

    A linear head on the coarser map g, ``p = sigmoid(pool(W g) + b)``, learns which classes the
    label map holds. Its class activation maps ``m = relu(W g)``, each over its maximum, weighed by
    p, raise the skip: ``y = x * (1 + max_k(p_k m_k / max(m_k)))``; class activation maps are those
    of Zhou et al. 2016.

    Args:
        channels: C of the skip x.
        dims: 2 or 3.
        context_channels: Channels of the coarser map g; as x when None.
        classes: Classes of the network, with the background.
        pooling: ``"avg"``, the mean, as published, says little where instance normalisation
            fixes the means of g; ``"lse"``, ``log(mean(exp(4 z))) / 4``, lies between mean and
            maximum, and learns from where a class is seen (Pinheiro and Collobert 2015).
        weight: Of the loss of presence in the whole loss.
    """

    title = "Class activation attention"
    sites = ("skip",)
    default_sites = ("skip",)
    kinds = ("spatial",)
    needs_context = True

    def __init__(
        self,
        channels: int,
        *,
        dims: int = 3,
        context_channels: int | None = None,
        classes: int = 2,
        pooling: str = "lse",
        weight: float = 0.1,
    ) -> None:
        super().__init__()
        check_choice("pooling", pooling, POOLINGS)
        self.pooling = pooling
        scored = max(1, classes - 1)
        self.head = conv(dims, context_channels or channels, scored, 1, bias=False)
        self.bias = nn.Parameter(torch.zeros(scored))
        self.presence = PresenceScores(weight)
        self.gate = nn.Sigmoid()
        self.map = AttentionMap("spatial")
        self.class_maps = nn.ModuleList(
            AttentionMap("spatial", f"class{one}", None) for one in range(1, scored + 1)
        )

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        if context is None:
            raise ValueError("Class activation attention needs the coarser map as context.")
        activation = self.head(context)  # (B, K - 1, d', h', w')
        scores = self.presence(self._pool(activation.flatten(2)) + self.bias)
        self._show(activation, x)
        raised = activation.relu()
        highest = raised.flatten(2).amax(dim=2).clamp(min=1e-6)
        certain = broadcast(self.gate(scores) / highest, raised)
        weights = (raised * certain).amax(dim=CHANNEL, keepdim=True)  # (B, 1, d', h', w')
        return x * (1 + self.map(resize(weights, x.shape[2:])))

    def _pool(self, activation: Tensor) -> Tensor:
        if self.pooling == "avg":
            return activation.mean(dim=2)
        whole = (SHARPNESS * activation).logsumexp(dim=2)
        return (whole - math.log(activation.shape[2])) / SHARPNESS

    def _show(self, activation: Tensor, x: Tensor) -> None:
        for index, mark in enumerate(self.class_maps):
            if mark.is_recording:
                mark(resize(activation[:, index : index + 1], x.shape[2:]))
