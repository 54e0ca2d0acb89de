"""Attention between positions whose memory grows with their number, not with its square."""

from __future__ import annotations

import math
from typing import Any

import torch.nn.functional as F
from torch import Tensor


def pool_tokens(x: Tensor, most: int) -> Tensor:
    """Return a map averaged to at most so many positions, by the same step along each axis."""
    sizes, step = tuple(x.shape[2:]), 1
    while math.prod(-(-size // step) for size in sizes) > max(1, most):
        step += 1
    if step == 1:
        return x
    pool: Any = F.adaptive_avg_pool3d if x.ndim == 5 else F.adaptive_avg_pool2d
    return pool(x, tuple(-(-size // step) for size in sizes))


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Return, for each query, the mean of values weighted by ``softmax(query . key)``.

    Args:
        query: ``(B, c, d, h, w)``, or without d.
        key: ``(B, c, d', h', w')``.
        value: ``(B, C, d', h', w')``.

    Returns:
        ``(B, C, d, h, w)``.
    """
    channels = value.shape[1]
    width = max(query.shape[1], channels)
    # Zeros change no product; kernels that make no N x N matrix want one width for all.
    q, k, v = (_tokens(one, width) for one in (query, key, value))
    attended = F.scaled_dot_product_attention(q, k, v, scale=1.0)  # (B, 1, N, width)
    return attended[:, 0, :, :channels].transpose(1, 2).reshape(-1, channels, *query.shape[2:])


def _tokens(x: Tensor, width: int) -> Tensor:
    tokens = x.flatten(2).transpose(1, 2)  # (B, N, c)
    return F.pad(tokens, (0, width - x.shape[1])).unsqueeze(1).contiguous()  # (B, 1, N, width)
