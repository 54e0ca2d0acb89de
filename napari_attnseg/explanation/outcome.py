"""How the results of two networks on one case differ."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from napari_attnseg.inference.sliding import strongest_class


class Outcome:
    """What a network says of a case.

    Args:
        values: Class value of each network channel.
        logits: ``(K, D, H, W)``.
    """

    def __init__(self, values: tuple[int, ...], logits: Tensor) -> None:
        self.labels = strongest_class(logits)
        self.values = values
        self.means = self._mean_probabilities(logits)

    def compare(self, logits: Tensor) -> dict[str, Any]:
        """Return how other logits of the case differ, JSON-ready.

        Returns:
            ``dice``, mean over classes of the Dice of both masks; ``delta``, by class value the
            change of the mean probability where this network sees the class; ``score``, the
            largest of these.
        """
        labels, means = strongest_class(logits), self._mean_probabilities(logits)
        found = range(1, len(self.values))
        overlaps = [_dice(self.labels == k, labels == k) for k in found]
        known = [one for one in overlaps if one is not None]
        delta = {str(self.values[k]): means[k] - self.means[k] for k in found if k in self.means}
        return {
            "dice": sum(known) / len(known) if known else None,
            "delta": delta,
            "score": max((abs(one) for one in delta.values()), default=0.0),
        }

    def _mean_probabilities(self, logits: Tensor) -> dict[int, float]:
        found = {}
        for k in range(1, len(self.values)):
            mask = self.labels == k
            if mask.any():
                found[k] = float(logits[:, mask].double().softmax(dim=0)[k].mean())
        return found


def _dice(a: Tensor, b: Tensor) -> float | None:
    both = int(a.sum()) + int(b.sum())
    return 2 * int((a & b).sum()) / both if both else None
