"""Whether a map is better than random, in plain words, and how that was decided."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.stats import t

LEAST_MARGIN = 0.005
"""Half a percent of probability; a smaller difference matters to nobody."""

CONFIDENCE = 0.95

WORDS = ("better", "no better", "worse", "unknown")


def verdict(road: dict[str, Any] | None) -> dict[str, Any]:
    """Return what the results of the measure "road" say.

    An order and its reverse are equally likely to be random, so random maps have a mean of zero.
    The map is better, or worse, where its value is further from zero than 95 % of random ones
    would be: Student's t times the deviation of those that were tried.

    Args:
        road: From `Measure.to_json`; None if it was not finished.
    """
    if road is None or road.get("value") is None:
        return {
            "word": "unknown",
            "sentence": "Not decided: the check did not come so far.",
            "how": "",
        }
    bars = {bar["name"]: bar for bar in road["rows"]}
    value, mask = float(road["value"]), float(bars["oracle"]["value"])
    randoms = np.array(bars["random"]["values"], dtype=np.float64)
    spread = float(np.sqrt(np.mean(randoms**2)))
    reached = float(t.ppf((1 + CONFIDENCE) / 2, len(randoms))) * spread
    margin = max(LEAST_MARGIN, reached)
    word = "better" if value > margin else "worse" if value < -margin else "no better"
    numbers = f"{value:+.3f}; random maps 0 ± {margin:.3f}, the mask itself {mask:+.3f}"
    return {
        "word": word,
        "sentence": f"{_SENTENCES[word]} (ROAD {numbers}).",
        "how": (
            f"{len(randoms)} random maps were filled in like this one, and 95 % of such maps stay "
            f"within {reached:.3f} of zero; less than {LEAST_MARGIN:.3f} does not count. So it is "
            f"better than random above {margin:.3f}, and worse under {-margin:.3f}."
        ),
        "value": value,
        "random": float(randoms.mean()),
        "margin": margin,
        "oracle": mask,
    }


_SENTENCES = {
    "better": "Better than random: the network loses certainty where this map says it should",
    "no better": "No better than random: this map does not tell what the network needs",
    "worse": (
        "Worse than random: the network needs what this map marks least, so the map may be "
        "inverted; look at its negative values"
    ),
}
